//! Copies each announced object to the store `output`, under the same key, with content type and metadata. Whatever its
//! size: the task holds a quarter of a MiB of it at a time, and runs within 4 MiB of memory.
//!
//! (Two stores of one service can do better: `Store::copy` moves no bytes through the task. This is how to stream.)

use std::io::Write;

use wasmrun_guest::{Change, Failure, Message, Store, handler, info};

handler!(handle);

const CHUNK_BYTES: usize = 256 << 10;

fn handle(message: Message) -> Result<(), Failure> {
    let output = Store::open("output")?;
    let objects = message.objects();
    if objects.is_empty() {
        return Err(Failure::reject("the message announces no object"));
    }
    for object in objects.iter().filter(|object| object.change != Change::Removed) {
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
