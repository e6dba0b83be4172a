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

function readAll(stream) {
  const pieces = [];
  for (;;) {
    let piece;
    try {
      piece = stream.blockingRead(65536n);
    } catch (error) {
      if (error.payload?.tag === "closed") break;
      throw error;
    }
    pieces.push(...piece);
  }
  return new Uint8Array(pieces);
}

// A call takes at most 4 KiB.
function writeAll(stream, bytes) {
  for (let at = 0; at < bytes.length; at += 4096) {
    stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
  }
}
