/// <reference path="./interfaces/wasmrun-task-handler.d.ts" />
/// <reference path="./interfaces/wasmrun-task-message.d.ts" />
/// <reference path="./interfaces/wasmrun-task-object-store.d.ts" />
/// <reference path="./interfaces/wasmrun-task-queue.d.ts" />
declare module 'wasmrun:task/task@0.1.0' {
  export type * as WasmrunTaskMessage010 from 'wasmrun:task/message@0.1.0'; // import wasmrun:task/message@0.1.0
  export type * as WasmrunTaskObjectStore010 from 'wasmrun:task/object-store@0.1.0'; // import wasmrun:task/object-store@0.1.0
  export type * as WasmrunTaskQueue010 from 'wasmrun:task/queue@0.1.0'; // import wasmrun:task/queue@0.1.0
  export * as handler from 'wasmrun:task/handler@0.1.0'; // export wasmrun:task/handler@0.1.0
}
