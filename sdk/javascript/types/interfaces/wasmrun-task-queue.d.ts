/// <reference path="./wasmrun-task-message.d.ts" />
declare module 'wasmrun:task/queue@0.1.0' {
  export type Attribute = import('wasmrun:task/message@0.1.0').Attribute;
  /**
   * Reason why a send failed.
   */
  export type Error = ErrorAccessDenied | ErrorInvalidMessage | ErrorUnavailable | ErrorOther;
  /**
   * There is no such grant.
   */
  export interface ErrorAccessDenied {
    tag: 'access-denied',
  }
  /**
   * The queue would always refuse this message; the text says why.
   */
  export interface ErrorInvalidMessage {
    tag: 'invalid-message',
    val: string,
  }
  /**
   * The queue can't be reached or refuses work for now. Return this error: the message is retried later, and the
   * failure isn't counted as the task's.
   */
  export interface ErrorUnavailable {
    tag: 'unavailable',
  }
  /**
   * Any other error, as text.
   */
  export interface ErrorOther {
    tag: 'other',
    val: string,
  }
  /**
   * A message to send.
   */
  export interface OutgoingMessage {
    /**
     * Text of the message. A character that XML 1.0 doesn't allow is an `invalid-message`.
     */
    body: string,
    /**
     * At most ten attributes. The name `wasmrun` is reserved for the worker.
     */
    attributes: Array<Attribute>,
    /**
     * Delay in seconds before the message can be received: at most 900.
     */
    delaySeconds?: number,
    /**
     * Message group, which a FIFO queue requires.
     */
    group?: string,
    /**
     * Deduplication id: a FIFO queue drops a message whose id it received within the last five minutes.
     */
    deduplicationId?: string,
  }
  export type Result<T, E> = { tag: 'ok', val: T } | { tag: 'err', val: E };
  
  export class Queue implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Opens the queue with this alias. The error is `access-denied` if there is none.
    */
    static open(alias: string): Queue;
    /**
    * Sends one message and returns its id. The message is durable when the call returns.
    */
    send(message: OutgoingMessage): string;
    /**
    * Sends at most ten messages. The results are in the order of the messages, and each message can fail on its
    * own.
    */
    sendBatch(messages: Array<OutgoingMessage>): Array<Result<string, Error>>;
    [Symbol.dispose](): void;
  }
}
