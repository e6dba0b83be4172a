//! Writes its message into the store `output`, without the SDK: bindings of a smaller world of wasmrun's WIT package.

wit_bindgen::generate!({ path: "../../../wit", world: "task-store" });

use exports::wasmrun::task::handler::{Failure, Guest};
use wasmrun::task::message::Message;
use wasmrun::task::object_store::{Condition, PutOptions, Store};

struct Component;

impl Guest for Component {
    fn handle(message: Message) -> Result<(), Failure> {
        let options = PutOptions {
            content_type: None,
            cache_control: None,
            metadata: Vec::new(),
            condition: Condition::Always,
        };
        Store::open("output")
            .and_then(|store| store.put("message", message.body().as_bytes(), &options))
            .map_err(|error| Failure::Reject(error.to_string()))?;
        Ok(())
    }
}

export!(Component);
