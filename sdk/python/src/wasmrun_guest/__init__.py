"""Helpers for guests of wasmrun in Python, next to the bindings of their world.

    class Handler(exports.Handler):
        @convert_errors
        def handle(self, message: Message) -> None:
            if not message.body():
                raise reject("the message is empty")
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

# Modules that are imported at the top become part of the component. Imports inside functions fail, as a task has no files.
from componentize_py_types import Err
from wit_world.exports.handler import Failure, Failure_Reject, Failure_Retry, RetryRequest
from wit_world.imports.message import AnnouncedObject, Change, Message


def reject(reason: str) -> Err[Failure]:
    """Returns the exception that rejects the message: a retry can't succeed."""
    return Err(Failure_Reject(reason))


def retry(reason: str, delay_seconds: int | None = None) -> Err[Failure]:
    """Returns the exception that retries the message later. Without a delay, the worker's backoff decides."""
    return Err(Failure_Retry(RetryRequest(delay_seconds, reason)))


def created_objects(message: Message) -> list[AnnouncedObject]:
    """Returns the announced objects that there are to read: all but the removed ones."""
    return [announced for announced in message.objects() if announced.change != Change.REMOVED]


def convert_errors(handle: Callable[..., None]) -> Callable[..., None]:
    """Decorates `handle`: converts the errors that stores and queues raise.

    `unavailable` and `access-denied` are retried: they may be gone when the backend is back or the grant corrected. Other
    errors are rejected. Exceptions of the guest itself are left alone, and trap the task.
    """

    @wraps(handle)
    def converted(*arguments: Any) -> None:
        try:
            handle(*arguments)
        except Err as error:
            raise _failure(error.value) from None

    return converted


@contextmanager
def about(what: str) -> Iterator[None]:
    """Names an object or a queue in the reason, if a call in the block raises an error.

        with about(f"{key} in store output"):
            output.put(key, content, options)
    """
    try:
        yield
    except Err as error:
        raise _failure(error.value, f"{what}: ") from None


def _failure(error: Any, subject: str = "") -> Err[Failure]:
    if isinstance(error, (Failure_Reject, Failure_Retry)):
        return Err(error)
    # Each case of an error has a class of its own, and each interface its own error: `Error_AccessDenied`.
    name = type(error).__name__.removeprefix("Error_")
    case = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
    if case in ("unavailable", "access-denied"):
        return retry(subject + case)
    return reject(subject + getattr(error, "value", case))
