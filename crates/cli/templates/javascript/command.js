// @ts-check
// Writes its input in upper case.
import { getStdin } from "wasi:cli/stdin@0.2.10";
import { getStdout } from "wasi:cli/stdout@0.2.10";

export const run = {
  run() {
    let text;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(readAll(getStdin()));
    } catch {
      console.error("the input is not UTF-8 text");
      // The exit code is 1.
      throw undefined;
    }
    writeAll(getStdout(), new TextEncoder().encode(text.toUpperCase()));
  },
};

/** @param {import("wasi:io/streams@0.2.10").InputStream} stream */
function readAll(stream) {
  const chunks = [];
  let length = 0;
  for (;;) {
    let chunk;
    try {
      chunk = stream.blockingRead(65536n);
    } catch (/** @type {any} */ error) {
      if (error.payload?.tag === "closed") break;
      throw error;
    }
    chunks.push(chunk);
    length += chunk.length;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * A call takes at most 4 KiB.
 *
 * @param {import("wasi:io/streams@0.2.10").OutputStream} stream
 * @param {Uint8Array} bytes
 */
function writeAll(stream, bytes) {
  for (let at = 0; at < bytes.length; at += 4096) {
    stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
  }
}
