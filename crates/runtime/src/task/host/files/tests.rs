//! Tests of files: of the streams of objects, and of files that are written.

use super::types::HostDescriptor;
use super::*;
use crate::model::limits::{Footprint, Limit, Limits};
use crate::ports::memory::MemoryStore;
use crate::ports::object_store::{ObjectStore, PutOptions};
use crate::task::by_key::Scope;
use crate::task::directory::Directory;
use crate::task::grant::{Grants, Mode, StoreGrant};
use crate::task::holds::Holdings;
use crate::task::host::LimitHit;
use crate::task::host::tests::state;
use crate::task::stream::{End, Name, Output};
use std::sync::Arc;
use wasmtime_wasi::p2::{DynInputStream, StreamError as StreamEnd};

/// Writes a megabyte to a file in one call. Returns the limit that ended the task, and how many bytes were accepted.
async fn written(limits: Limits) -> (Option<Limit>, u64) {
    let mut store = state(limits, Grants::default());
    let task = store.data_mut();
    let end = MemoryStore::new("s").write("f", PutOptions::default()).await.expect("a writer");
    let name = Arc::new(Name::new("s".into(), "f".into(), None));
    let holdings = Holdings::new(Footprint { bytes: 2, files: 0 });
    let [hold, of_file] = [0, 1].map(|_| holdings.take_bytes(1).expect("fits"));
    let output = Output::of_pieces(PIECE_BYTES);
    output.connect(&task.streams, End { name, end, hold });
    task.files.write("f", output.clone(), of_file);
    let file = task.table.push(Descriptor { path: "f".into(), found: Found::Written }).expect("fits");
    let ended = match task.write(file, vec![0; 1 << 20], 0).await {
        Err(Fault::Trap(trap)) => trap.downcast_ref().map(|LimitHit(limit)| *limit),
        _ => None,
    };
    (ended, output.accepted())
}

#[tokio::test]
async fn a_large_write_ends_soon_after_a_limit_of_the_task() {
    let (ended, accepted) = written(Limits { write_bytes: 100 << 10, ..Limits::default() }).await;
    assert_eq!(ended, Some(Limit::WriteSize));
    assert!(accepted <= 200 << 10, "{accepted}");
    let (ended, accepted) = written(Limits { store_calls: 3, ..Limits::default() }).await;
    assert_eq!(ended, Some(Limit::StoreCalls));
    assert!(accepted <= 512 << 10, "{accepted}");
    assert_eq!(written(Limits::default()).await, (None, 1 << 20));
}

/// Reads a stream to its end.
async fn rest(task: &mut TaskState, stream: &Resource<DynInputStream>) -> usize {
    let stream = task.table.get_mut(stream).expect("a stream");
    let mut bytes = 0;
    loop {
        stream.ready().await;
        match stream.read(usize::MAX) {
            Ok(read) => bytes += read.len(),
            Err(StreamEnd::Closed) => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn neither_another_stream_of_a_file_nor_the_end_of_its_descriptor_ends_a_stream() {
    const SIZE: usize = 5 * PIECE_BYTES;
    let memory = MemoryStore::new("in");
    memory.insert("f", vec![1; SIZE]);
    let info = memory.head("f", None).await.expect("an object");
    let (alias, scope) = ("input".to_owned(), Scope::All);
    let grant = StoreGrant { alias, store: Arc::new(memory), mode: Mode::ReadOnly, scope };
    let grants = Grants { stores: [("input".into(), grant)].into(), ..Grants::default() };
    let limits = Limits { values_bytes: Limits::VALUES_BYTES, ..Limits::default() };
    let mut store = state(limits, grants);
    let task = store.data_mut();
    let directory = Arc::new(Directory::parse("/in", "input").expect("valid"));
    let file = Descriptor { path: "in/f".into(), found: Found::Object(directory, info) };
    let file = task.table.push(file).expect("fits");
    let open = |file: &Resource<Descriptor>| Resource::new_borrow(file.rep());
    let first = task.read_via_stream(open(&file), 0).await.expect("a stream");
    task.table.get_mut(&first).expect("a stream").ready().await;
    let second = task.read_via_stream(open(&file), 1).await.expect("a stream");
    HostDescriptor::drop(task, file).expect("dropped");
    assert_eq!((rest(task, &first).await, rest(task, &second).await), (SIZE, SIZE - 1));
}
