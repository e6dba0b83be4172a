//! Calls the stores, in valid and invalid ways.

use std::hash::{BuildHasher, RandomState};
use std::io::{Error as IoError, Write};

use wasmrun_guest::object_store::{Error, ErrorKind};
use wasmrun_guest::{Condition, Failure, Store, info};

/// Converts an error to a failure with the name that the WIT gives the error.
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

/// `get [@STORE] KEY`: gets an object and logs its content.
pub(crate) fn get(alias: &str, key: &str) -> Result<(), Failure> {
    let object = open(alias)?.get(key).map_err(named)?;
    info!("got {} bytes: {}", object.content.len(), String::from_utf8_lossy(&object.content));
    Ok(())
}

/// `head [@STORE] KEY`: logs the size, content type and cache control of an object.
pub(crate) fn head(alias: &str, key: &str) -> Result<(), Failure> {
    let info = open(alias)?.head(key).map_err(named)?;
    let (content_type, cache_control) = (info.content_type, info.cache_control);
    info!("found {} of {} bytes, {content_type:?}, {cache_control:?}", info.key, info.size);
    Ok(())
}

/// `list [@STORE] PREFIX`: logs all keys with the prefix.
pub(crate) fn list(alias: &str, prefix: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let keys = store.list(prefix).map(|object| object.map(|object| object.key));
    let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(named)?;
    info!("listed {}: {}", keys.len(), keys.join(" "));
    Ok(())
}

/// `list-none [@STORE] PREFIX`: lists with a limit of 0, and completes if the page is empty.
pub(crate) fn list_none(alias: &str, prefix: &str) -> Result<(), Failure> {
    let page = open(alias)?.list_page(prefix, None, 0).map_err(named)?;
    let is_none = page.objects.is_empty() && page.continuation.is_none();
    if is_none { Ok(()) } else { Err(Failure::reject(format!("{} objects", page.objects.len()))) }
}

/// `put-like A B`: copies object A of `input` to B in `output` by get and put, with its content type, cache
/// control and metadata.
pub(crate) fn put_like(from: &str, to: &str) -> Result<(), Failure> {
    let object = open("input")?.get(from).map_err(named)?;
    open("output")?.new_object(to).like(&object.info).put(&object.content).map_err(named)?;
    Ok(())
}

/// `delete [@STORE] KEY`: deletes an object.
pub(crate) fn delete(alias: &str, key: &str) -> Result<(), Failure> {
    open(alias)?.delete(key).map_err(named)
}

/// `put [@STORE] KEY TEXT`: puts an object with the content TEXT.
pub(crate) fn put(alias: &str, key: &str, text: &str) -> Result<(), Failure> {
    let info = open(alias)?.new_object(key).content_type("text/plain").put(text.as_bytes()).map_err(named)?;
    info!("put {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `put-nonce [@STORE] KEY…`: puts one random number into all of these objects, and into its own object `nonces/NUMBER`.
pub(crate) fn put_nonce(alias: &str, keys: &str) -> Result<(), Failure> {
    let nonce = format!("{:016x}", RandomState::new().hash_one(0));
    let own = format!("nonces/{nonce}");
    for key in keys.split(' ').chain([own.as_str()]) {
        open(alias)?.put(key, nonce.as_bytes()).map_err(named)?;
    }
    Ok(())
}

/// `put-new [@STORE] KEY TEXT`: puts an object only if the key doesn't exist.
pub(crate) fn put_new(alias: &str, key: &str, text: &str) -> Result<(), Failure> {
    open(alias)?.new_object(key).if_absent().put(text.as_bytes()).map_err(named)?;
    Ok(())
}

/// `range FROM LENGTH KEY`: gets a range of an object in `input`.
pub(crate) fn range(offset: u64, length: u64, key: &str) -> Result<(), Failure> {
    let content = open("input")?.get_range(key, offset, length).map_err(named)?;
    info!("got {}", String::from_utf8_lossy(&content));
    Ok(())
}

/// `write-bytes [@STORE] N KEY`: writes N bytes through a writer.
pub(crate) fn write_bytes(alias: &str, bytes: u64, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'x'), bytes), &mut writer).map_err(named_io)?;
    let info = writer.finish().map_err(named)?;
    info!("wrote {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `write-cached [@STORE] N KEY VALUE`: writes N bytes through a writer, with VALUE as cache control.
pub(crate) fn write_cached(alias: &str, bytes: u64, key: &str, value: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let mut writer = store.new_object(key).cache_control(value).write().map_err(named)?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'x'), bytes), &mut writer).map_err(named_io)?;
    let info = writer.finish().map_err(named)?;
    info!("wrote {} of {} bytes, {:?}", info.key, info.size, info.cache_control);
    Ok(())
}

/// `copy A B`: copies an object from `input` to `output`.
pub(crate) fn copy(from: &str, to: &str) -> Result<(), Failure> {
    let info = open("input")?.copy(from, &open("output")?, to, Condition::Always).map_err(named)?;
    info!("copied {} of {} bytes", info.key, info.size);
    Ok(())
}

/// `open-readers [@STORE] N KEY`: holds N readers open at the same time.
pub(crate) fn open_readers(alias: &str, count: usize, key: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let readers = (0..count).map(|_| store.read(key)).collect::<Result<Vec<_>, _>>().map_err(named)?;
    info!("opened {}", readers.len());
    Ok(())
}

/// `open-writers [@STORE] N PREFIX`: holds N writers open at the same time, each for its own key, and finishes none.
pub(crate) fn open_writers(alias: &str, count: usize, prefix: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let writers = (0..count).map(|index| store.write(&format!("{prefix}{index}")));
    let writers = writers.collect::<Result<Vec<_>, _>>().map_err(named)?;
    info!("opened {}", writers.len());
    Ok(())
}

/// `writer-unfinished [@STORE] KEY`: writes some content and drops the writer.
pub(crate) fn writer_unfinished(alias: &str, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    writer.write_all(b"unfinished").map_err(named_io)
}

/// `writer-leaked [@STORE] KEY`: writes some content, and leaves the writer open when the task ends.
pub(crate) fn writer_leaked(alias: &str, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    let written = writer.write_all(b"leaked").map_err(named_io);
    std::mem::forget(writer);
    written
}

/// `exit-half-way KEY`: writes some content, and exits with status 0 while the writer is open.
pub(crate) fn exit_half_way(key: &str) -> Result<(), Failure> {
    let mut writer = open("output")?.write(key).map_err(named)?;
    writer.write_all(b"half").map_err(named_io)?;
    std::process::exit(0);
}

/// `read-again [@STORE] KEY`: gets the same object without end.
pub(crate) fn read_again(alias: &str, key: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    loop {
        store.get(key).map_err(named)?;
    }
}

/// `write-on [@STORE] KEY`: writes one object without end.
pub(crate) fn write_on(alias: &str, key: &str) -> Result<(), Failure> {
    let mut writer = open(alias)?.write(key).map_err(named)?;
    let piece = vec![b'x'; 1 << 20];
    loop {
        writer.write_all(&piece).map_err(named_io)?;
    }
}

/// `copy-again A B`: copies an object from `input` to `output` without end. The content doesn't pass through this task.
pub(crate) fn copy_again(from: &str, to: &str) -> Result<(), Failure> {
    let (input, output) = (open("input")?, open("output")?);
    loop {
        input.copy(from, &output, to, Condition::Always).map_err(named)?;
    }
}

/// `metadata [@STORE] N BYTES`: puts an object with N metadata entries, each with a value of BYTES bytes.
pub(crate) fn metadata(alias: &str, entries: usize, bytes: usize) -> Result<(), Failure> {
    let store = open(alias)?;
    let value = "x".repeat(bytes);
    let object =
        (0..entries).fold(store.new_object("metadata"), |object, n| object.metadata(n.to_string(), &value));
    object.put(b"").map_err(named)?;
    Ok(())
}

/// `absurd-ranges [@STORE] KEY`: gets ranges that begin or end beyond the object. Completes if each returns exactly the
/// bytes that exist.
pub(crate) fn absurd_ranges(alias: &str, key: &str) -> Result<(), Failure> {
    let store = open(alias)?;
    let size = store.head(key).map_err(named)?.size;
    for (offset, length) in
        [(0, u64::MAX), (1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1), (size, 1), (0, 0)]
    {
        let content = store.get_range(key, offset, length).map_err(named)?;
        if content.len() as u64 != size.saturating_sub(offset).min(length) {
            return Err(Failure::reject(format!("{} bytes at {offset}", content.len())));
        }
    }
    Ok(())
}
