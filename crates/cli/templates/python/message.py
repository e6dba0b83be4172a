"""Sends each message on to the queue `next`, in upper case."""

# Modules that are imported here become part of the component. Imports inside functions fail, as a task has no files.
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Failure, Failure_Reject, Failure_Retry, RetryRequest
from wit_world.imports.message import Message
from wit_world.imports.queue import (
    Error_AccessDenied,
    Error_Unavailable,
    OutgoingMessage,
    Queue,
)


class Handler(exports.Handler):
    def handle(self, message: Message) -> None:
        try:
            shout(message)
        except Err as error:
            raise Err(failure(error.value)) from None


def shout(message: Message) -> None:
    body = message.body()
    if not body.strip():
        raise Err(Failure_Reject("the message is blank"))
    outgoing = OutgoingMessage(body.upper(), [], None, None, None)
    print(f"sent {Queue.open('next').send(outgoing)}")


def failure(error: object) -> Failure:
    """Converts an error of a queue: retried is what may work later, when the queue is back or the grant corrected."""
    if isinstance(error, (Failure_Reject, Failure_Retry)):
        return error
    if isinstance(error, (Error_Unavailable, Error_AccessDenied)):
        return Failure_Retry(RetryRequest(None, str(error)))
    return Failure_Reject(str(error))
