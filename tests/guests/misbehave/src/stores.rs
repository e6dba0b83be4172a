//! Calls the stores, rightly and wrongly.

use std::io::{Error as IoError, Write};

use wasmrun_guest::object_store::{Error, ErrorKind};
use wasmrun_guest::{Condition, Failure, Store, info};

/// A rejection with the WIT's name of the error.
fn named(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::reject("not-found"),
        ErrorKind::AccessDenied => Failure::reject("access-denied"),
        ErrorKind::TooLarge => Failure::reject("too-large"),
        ErrorKind::PreconditionFailed => Failure::reject("precondition-failed"),
        ErrorKind::Unavailable => Failure::retry("unavailable"),
        ErrorKind::Other(why) => Failure::reject(format!("other: {why}")),
    }
}

fn named_io(error: IoError) -> Failure {
    error.downcast::<Error>().map_or_else(Failure::from, named)
}

fn open(alias: &str) -> Result<Store, Failure> {
    Store::open(alias).map_err(named)
}

/// `get [@STORE] KEY`
pub(crate) fn get(alias: &str, key: &str) -> Result<(), Failure> {
    let object = open(alias)?.get(key).map_err(named)?;
    info!("got {} bytes: {}", object.content.len(), String::from_utf8_lossy(&object.content));
    Ok(())
}

/// `head [@STORE] KEY`
pub(crate) fn head(alias: &str, key: &str) -> Result<(), Failure> {
    let info = open(alias)?.head(key).map_err(named)?;
    info!("found {} of {} bytes, {:?}", info.key, info.size, info.content_type);
    Ok(())
}

/// `list [@STORE] PREFIX`
pub(crate) fn list(alias: &str, prefix: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let keys = store.list(prefix).map(|object| object.map(|object| object.key));
    let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(named)?;
    info!("listed {}: {}", keys.len(), keys.join(" "));
    Ok(())
}

/// `delete [@STORE] KEY`
pub(crate) fn delete(alias: &str, key: &str) -> Result<(), Failure> {
    open(alias)?.delete(key).map_err(named)
}

/// `put [@STORE] KEY TEXT`
pub(crate) fn put(alias: &str, key: &str, text: &str) -> Result<(), Failure> {
    let info = open(alias)?.new_object(key).content_type("text/plain").put(text.as_bytes()).map_err(named)?;
    info!("put {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `write-bytes [@STORE] N KEY`: so many bytes through a writer.
pub(crate) fn write_bytes(alias: &str, bytes: u64, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'x'), bytes), &mut writer).map_err(named_io)?;
    let info = writer.finish().map_err(named)?;
    info!("wrote {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `copy A B`: from `input` to `output`.
pub(crate) fn copy(from: &str, to: &str) -> Result<(), Failure> {
    let info = open("input")?.copy(from, &open("output")?, to, Condition::Always).map_err(named)?;
    info!("copied {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `open-readers [@STORE] N KEY`: all of them at once.
pub(crate) fn open_readers(alias: &str, count: usize, key: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let readers = (0..count).map(|_| store.read(key)).collect::<Result<Vec<_>, _>>().map_err(named)?;
    info!("opened {}", readers.len());
    Ok(())
}

/// `open-writers [@STORE] N PREFIX`: all of them at once, each for a key of its own, none finished.
pub(crate) fn open_writers(alias: &str, count: usize, prefix: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let writers = (0..count).map(|index| store.write(&format!("{prefix}{index}")));
    let writers = writers.collect::<Result<Vec<_>, _>>().map_err(named)?;
    info!("opened {}", writers.len());
    Ok(())
}

/// `writer-unfinished [@STORE] KEY`: writes something and drops the writer.
pub(crate) fn writer_unfinished(alias: &str, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    writer.write_all(b"unfinished").map_err(named_io)
}

/// `writer-leaked [@STORE] KEY`: the same, but the writer is still open when the task ends.
pub(crate) fn writer_leaked(alias: &str, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    let written = writer.write_all(b"leaked").map_err(named_io);
    std::mem::forget(writer);
    written
}
