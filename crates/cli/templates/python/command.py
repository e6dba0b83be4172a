"""Writes its input in upper case."""

import sys

from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        content = sys.stdin.buffer.read()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            print("the input is not UTF-8 text", file=sys.stderr)
            sys.exit(1)
        sys.stdout.buffer.write(text.upper().encode("utf-8"))
        sys.stdout.flush()
