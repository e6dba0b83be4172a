// Types of the interfaces in wit/ that the program calls.

declare module "wasi:io/streams@0.2.10" {
  export class InputStream {
    /** Returns 1 to `len` bytes. Throws an error with the payload `{ tag: "closed" }` at the end. */
    blockingRead(len: bigint): Uint8Array;
  }

  export class OutputStream {
    /** Writes at most 4 KiB. */
    blockingWriteAndFlush(contents: Uint8Array): void;
  }
}

declare module "wasi:cli/stdin@0.2.10" {
  export function getStdin(): import("wasi:io/streams@0.2.10").InputStream;
}

declare module "wasi:cli/stdout@0.2.10" {
  export function getStdout(): import("wasi:io/streams@0.2.10").OutputStream;
}
