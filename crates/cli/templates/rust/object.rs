//! Writes each announced text in upper case to the store `output`.

use wasmrun_guest::{Failure, Message, Store, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    if message.objects().is_empty() {
        return Err(Failure::reject("the message announces no object"));
    }
    let output = Store::open("output")?;
    for object in message.created_objects() {
        let content = object.get()?.content;
        let text = String::from_utf8(content)
            .map_err(|_| Failure::reject(format!("{} is not UTF-8 text", object.key)))?;
        output
            .new_object(&object.key)
            .content_type("text/plain")
            .put(text.to_uppercase().as_bytes())?;
        info!("wrote {}", object.key);
    }
    Ok(())
}
