//! Writes the outputs that tests compare: the SHA-256 in hexadecimal and the size of each announced object, under the
//! same key in `output`, or the result of a long computation. The output is the same for each delivery of a message.

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

/// `work KEY ROUNDS`: hashes KEY, and then the hash ROUNDS times, and writes the result under KEY. Well-behaved tasks
/// next to misbehaving ones run this.
pub(crate) fn work(key: &str, rounds: u32) -> Result<(), Failure> {
    let hash = (0..rounds).fold(Sha256::digest(key), |hash, _| Sha256::digest(hash));
    Store::open("output")?.put(key, format!("{hash:x}").as_bytes())?;
    Ok(())
}
