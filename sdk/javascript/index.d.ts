/// <reference path="./types/task.d.ts" />
import type { FailureReject, FailureRetry, Message } from "wasmrun:task/handler@0.1.0";
import type { AnnouncedObject } from "wasmrun:task/message@0.1.0";

/** Returns what to throw to reject the message: a retry can't succeed. */
export function reject(reason: string): FailureReject;

/** Returns what to throw to retry the message later. Without a delay, the worker's backoff decides. */
export function retry(reason: string, delaySeconds?: number): FailureRetry;

/** Returns the announced objects that there are to read: all but the removed ones. */
export function createdObjects(message: Message): AnnouncedObject[];

/** Returns what `call` returns. If it fails, the reason names `what`, such as an object or a queue. */
export function about<T>(what: string, call: () => T): T;

/**
 * Returns a `handle` that converts the errors that stores and queues throw: `unavailable` and `access-denied` are
 * retried, other errors are rejected. Errors of the guest itself are left alone, and trap the task. The task waits for the
 * end of an async function.
 */
export function convertErrors(
  handle: (message: Message) => void | Promise<void>,
): (message: Message) => void | Promise<void>;
