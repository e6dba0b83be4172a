// Helpers for guests of wasmrun in JavaScript:
//
//   export const handler = {
//     handle: convertErrors((message) => {
//       if (message.body() === "") throw reject("the message is empty");
//     }),
//   };

// Returns what to throw to reject the message: a retry can't succeed.
export function reject(reason) {
  return { tag: "reject", val: reason };
}

// Returns what to throw to retry the message later. Without a delay, the worker's backoff decides.
export function retry(reason, delaySeconds) {
  return { tag: "retry", val: { delaySeconds, reason } };
}

// Returns a `handle` that converts the errors that stores and queues throw: `unavailable` and `access-denied` are
// retried, as they may be gone when the backend is back or the grant corrected; other errors are rejected. Errors of
// the guest itself are left alone, and trap the task. An async function may be given as well: the task waits for its end.
export function convertErrors(handle) {
  return (message) => {
    try {
      const result = handle(message);
      if (typeof result?.then === "function") return result.then(() => {}, fail);
    } catch (error) {
      fail(error);
    }
  };
}

function fail(error) {
  throw failure(error);
}

function failure(error) {
  if (error?.tag === "reject" || error?.tag === "retry") return error;
  // A store's or queue's error is the payload of what its call throws.
  const { tag, val } = error?.payload ?? {};
  if (tag === undefined) return error;
  if (tag === "unavailable" || tag === "access-denied") return retry(tag);
  return reject(val ?? tag);
}
