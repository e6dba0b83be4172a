// Writes each announced text in upper case to the store `output`.
import { Store } from "wasmrun:task/object-store@0.1.0";
import { convertErrors, reject } from "./wasmrun-guest.js";

export const handler = { handle: convertErrors(shout) };

// The task ends when this function returns, or the promise that it returns is settled: a timer or another promise that is
// then still open never runs.
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
    output.put(announced.key, new TextEncoder().encode(text.toUpperCase()), {
      contentType: "text/plain",
      metadata: [],
      condition: { tag: "always" },
    });
    console.log(`wrote ${announced.key}`);
  }
}
