// Sends each message on to the queue `next`, in upper case.
import { Queue } from "wasmrun:task/queue@0.1.0";

export const handler = {
  handle(message) {
    try {
      shout(message);
    } catch (error) {
      throw failure(error);
    }
  },
};

// The task ends when this function returns: a timer or a promise that is then still open never runs.
function shout(message) {
  const body = message.body();
  if (body.trim() === "") throw reject("the message is blank");
  const id = Queue.open("next").send({ body: body.toUpperCase(), attributes: [] });
  console.log(`sent ${id}`);
}

function reject(reason) {
  return { tag: "reject", val: reason };
}

// Converts an error of a queue: retried is what may work later, when the queue is back or the grant corrected.
function failure(error) {
  if (error?.tag === "reject" || error?.tag === "retry") return error;
  const name = error?.payload?.tag ?? error?.tag;
  if (name === "unavailable" || name === "access-denied") {
    return { tag: "retry", val: { delaySeconds: undefined, reason: name } };
  }
  // An error of the guest itself: the task traps, with the error in the dead letter.
  if (name === undefined) throw error;
  return reject(error.payload?.val ?? error.val ?? name);
}
