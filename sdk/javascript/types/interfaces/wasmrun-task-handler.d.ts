/// <reference path="./wasmrun-task-message.d.ts" />
declare module 'wasmrun:task/handler@0.1.0' {
  /**
   * Handles one message. The message may be delivered more than once, so what the component writes must depend on
   * the message alone.
   */
  export function handle(message: Message): void;
  export type Message = import('wasmrun:task/message@0.1.0').Message;
  /**
   * A request to retry the message later.
   */
  export interface RetryRequest {
    /**
     * Delay in seconds before the retry: at most 43,200. `none`: the worker's backoff decides.
     */
    delaySeconds?: number,
    /**
     * Reason for the logs and the dead-letter queue.
     */
    reason: string,
  }
  /**
   * Reason why a message wasn't completed.
   */
  export type Failure = FailureRetry | FailureReject;
  /**
   * A retry may succeed. So the SDKs convert the errors `unavailable` and `access-denied` of stores and queues:
   * the backend may be back by then, or the operator may have corrected the grant. They reject with any other.
   */
  export interface FailureRetry {
    tag: 'retry',
    val: RetryRequest,
  }
  /**
   * A retry can't succeed. The message and the reason go to the dead-letter queue.
   */
  export interface FailureReject {
    tag: 'reject',
    val: string,
  }
}
