// Writes its input in upper case.
import { getStdin } from "wasi:cli/stdin@0.2.10";
import { getStdout } from "wasi:cli/stdout@0.2.10";
import type { InputStream, OutputStream } from "wasi:io/streams@0.2.10";

export const run = {
  run(): void {
    let text: string;
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

function readAll(stream: InputStream): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    let chunk: Uint8Array;
    try {
      chunk = stream.blockingRead(65536n);
    } catch (error: any) {
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

// A call takes at most 4 KiB.
function writeAll(stream: OutputStream, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += 4096) {
    stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
  }
}
