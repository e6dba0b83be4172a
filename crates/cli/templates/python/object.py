"""Writes each announced text in upper case to the store `output`."""

# Modules that are imported here become part of the component. Imports inside functions fail, as a task has no files.
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.handler import Failure, Failure_Reject, Failure_Retry, RetryRequest
from wit_world.imports.message import Message
from wit_world.imports.object_store import (
    Condition_Always,
    Error_AccessDenied,
    Error_Unavailable,
    PutOptions,
    Store,
)


class Handler(exports.Handler):
    def handle(self, message: Message) -> None:
        try:
            shout(message)
        except Err as error:
            raise Err(failure(error.value)) from None


def shout(message: Message) -> None:
    objects = message.objects()
    if not objects:
        raise Err(Failure_Reject("the message announces no object"))
    output = Store.open("output")
    for announced in objects:
        content = Store.open(announced.store).get(announced.key, announced.version).content
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise Err(Failure_Reject(f"{announced.key} is not UTF-8 text")) from None
        options = PutOptions(
            content_type="text/plain", cache_control=None, metadata=[], condition=Condition_Always()
        )
        output.put(announced.key, text.upper().encode("utf-8"), options)
        print(f"wrote {announced.key}")


def failure(error: object) -> Failure:
    """Converts an error of a store: retried is what may work later, when the store is back or the grant corrected."""
    if isinstance(error, (Failure_Reject, Failure_Retry)):
        return error
    if isinstance(error, (Error_Unavailable, Error_AccessDenied)):
        return Failure_Retry(RetryRequest(None, str(error)))
    return Failure_Reject(str(error))
