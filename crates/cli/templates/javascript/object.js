// Writes each announced text in upper case to the store `output`.
import { Store } from "wasmrun:task/object-store@0.1.0";

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
  const objects = message.objects();
  if (objects.length === 0) throw reject("the message announces no object");
  const output = Store.open("output");
  for (const announced of objects) {
    const { content } = Store.open(announced.store).get(announced.key, announced.version);
    let text;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(content);
    } catch {
      throw reject(`${announced.key} is not UTF-8 text`);
    }
    const options = { contentType: "text/plain", metadata: [], condition: { tag: "always" } };
    output.put(announced.key, new TextEncoder().encode(text.toUpperCase()), options);
    console.log(`wrote ${announced.key}`);
  }
}

function reject(reason) {
  return { tag: "reject", val: reason };
}

// Converts an error of a store: retried is what may work later, when the store is back or the grant corrected.
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
