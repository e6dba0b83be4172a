"""Writes each announced text in upper case to the store `output`."""

# Modules that are imported here become part of the component. Imports inside functions fail, as a task has no files.
from wasmrun_guest import about, convert_errors, created_objects, reject
from wit_world import exports
from wit_world.imports.message import Message
from wit_world.imports.object_store import Condition_Always, PutOptions, Store


class Handler(exports.Handler):
    @convert_errors
    def handle(self, message: Message) -> None:
        if not message.objects():
            raise reject("the message announces no object")
        for announced in created_objects(message):
            with about(f"{announced.key} in store {announced.store}"):
                content = Store.open(announced.store).get(announced.key, announced.version).content
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                raise reject(f"{announced.key} is not UTF-8 text") from None
            options = PutOptions(
                content_type="text/plain", cache_control=None, metadata=[], condition=Condition_Always()
            )
            with about(f"{announced.key} in store output"):
                Store.open("output").put(announced.key, text.upper().encode("utf-8"), options)
            print(f"wrote {announced.key}")
