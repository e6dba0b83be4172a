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

// Returns the announced objects that there are to read: all but the removed ones.
export function createdObjects(message) {
  return message.objects().filter((announced) => announced.change !== "removed");
}

// Returns a `handle` that converts the errors that stores and queues throw: `unavailable` and `access-denied` are
// retried, as they may be gone when the backend is back or the grant corrected; other errors are rejected. Errors of
// the guest itself are left alone, and trap the task. An async function may be given as well: the task waits for its end.
export function convertErrors(handle) {
  return (message) => {
    try {
      const result = handle(message);
      if (typeof result?.then === "function") return result.then(() => {}, (error) => fail(error));
    } catch (error) {
      fail(error);
    }
  };
}

// Returns what `call` returns. If it fails, the reason names an object or a queue:
//
//   about(`${key} in store output`, () => output.put(key, content, options));
export function about(what, call) {
  const failed = (error) => fail(error, `${what}: `);
  try {
    const result = call();
    return typeof result?.then === "function" ? result.then(undefined, failed) : result;
  } catch (error) {
    failed(error);
  }
}

function fail(error, subject = "") {
  throw failure(error, subject);
}

function failure(error, subject) {
  if (error?.tag === "reject" || error?.tag === "retry") return error;
  // A store's or queue's error is the payload of what its call throws.
  const { tag, val } = error?.payload ?? {};
  if (tag === undefined) return error;
  if (tag === "unavailable" || tag === "access-denied") return retry(subject + tag);
  return reject(subject + (val ?? tag));
}
