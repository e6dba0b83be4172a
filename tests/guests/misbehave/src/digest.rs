//! What a test compares outputs by: each announced object's SHA-256, in hexadecimal, and its size, under the same key
//! in `output`; or the end of a long computation. The same for each delivery of a message.

use sha2::{Digest, Sha256};
use wasmrun_guest::{AnnouncedObject, Change, Failure, Store};

const CHUNK_BYTES: usize = 256 << 10;

pub(crate) fn write(objects: &[AnnouncedObject]) -> Result<(), Failure> {
    let output = Store::open("output")?;
    for object in objects.iter().filter(|object| object.change != Change::Removed) {
        let mut reader = object.read()?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        loop {
            let chunk = reader.chunk(CHUNK_BYTES)?;
            if chunk.is_empty() {
                break;
            }
            hash.update(&chunk);
            size += chunk.len();
        }
        let line = format!("{:x} {size}\n", hash.finalize());
        output.new_object(&object.key).content_type("text/plain").put(line.as_bytes())?;
    }
    Ok(())
}

/// `work KEY ROUNDS`: what a neighbour of misbehaving tasks does; the key's hash's hash's hash and so on, written under
/// that key.
pub(crate) fn work(key: &str, rounds: u32) -> Result<(), Failure> {
    let hash = (0..rounds).fold(Sha256::digest(key), |hash, _| Sha256::digest(hash));
    Store::open("output")?.put(key, format!("{hash:x}").as_bytes())?;
    Ok(())
}
