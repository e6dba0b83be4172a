// @ts-check
// Writes each announced text in upper case to the store `output`.
import { Store } from "wasmrun:task/object-store@0.1.0";
import { about, convertErrors, createdObjects, reject } from "./wasmrun-guest.js";

export const handler = { handle: convertErrors(shout) };

// The task ends when this function returns, or the promise that it returns is settled: a timer or another promise that is
// then still open never runs.
/** @param {import("wasmrun:task/message@0.1.0").Message} message */
function shout(message) {
  if (message.objects().length === 0) throw reject("the message announces no object");
  for (const { store, key, version } of createdObjects(message)) {
    const { content } = about(`${key} in store ${store}`, () => Store.open(store).get(key, version));
    let text;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(content);
    } catch {
      throw reject(`${key} is not UTF-8 text`);
    }
    about(`${key} in store output`, () =>
      Store.open("output").put(key, new TextEncoder().encode(text.toUpperCase()), {
        contentType: "text/plain",
        metadata: [],
        condition: { tag: "always" },
      }),
    );
    console.log(`wrote ${key}`);
  }
}
