//! Copies each announced object to the store `output`, under the same key, with its content type, cache control and
//! metadata. The task holds 256 KiB of an object at a time, whatever its size, and runs within 4 MiB of memory.
//!
//! (Between two stores of one service, `Store::copy` is better: it moves no bytes through the task. This guest shows
//! how to stream.)

use std::io::Write;

use wasmrun_guest::{Failure, Message, Store, handler, info};

handler!(handle);

const CHUNK_BYTES: usize = 256 << 10;

fn handle(message: Message) -> Result<(), Failure> {
    let output = Store::open("output")?;
    if message.objects().is_empty() {
        return Err(Failure::reject("the message announces no object"));
    }
    for object in message.created_objects() {
        let mut reader = object.read()?;
        let mut writer = output.new_object(&object.key).like(&reader.info()).write()?;
        loop {
            let chunk = reader.chunk(CHUNK_BYTES)?;
            if chunk.is_empty() {
                break;
            }
            writer.write_all(&chunk)?;
        }
        let copied = writer.finish()?;
        info!("{}: {} bytes", copied.key, copied.size);
    }
    Ok(())
}
