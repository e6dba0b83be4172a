"""Sends each message on to the queue `next`, in upper case."""

# Modules that are imported here become part of the component. Imports inside functions fail, as a task has no files.
from wasmrun_guest import about, convert_errors, reject
from wit_world import exports
from wit_world.imports.message import Message
from wit_world.imports.queue import OutgoingMessage, Queue


class Handler(exports.Handler):
    @convert_errors
    def handle(self, message: Message) -> None:
        body = message.body()
        if not body.strip():
            raise reject("the message is blank")
        outgoing = OutgoingMessage(body.upper(), [], None, None, None)
        with about("queue next"):
            print(f"sent {Queue.open('next').send(outgoing)}")
