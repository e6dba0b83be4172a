// @ts-check
// Sends each message on to the queue `next`, in upper case.
import { Queue } from "wasmrun:task/queue@0.1.0";
import { about, convertErrors, reject } from "./wasmrun-guest.js";

export const handler = { handle: convertErrors(shout) };

// The task ends when this function returns, or the promise that it returns is settled: a timer or another promise that is
// then still open never runs.
/** @param {import("wasmrun:task/message@0.1.0").Message} message */
function shout(message) {
  const body = message.body();
  if (body.trim() === "") throw reject("the message is blank");
  const id = about("queue next", () => Queue.open("next").send({ body: body.toUpperCase(), attributes: [] }));
  console.log(`sent ${id}`);
}
