//! Tests of files that are written.

use super::types::HostDescriptor;
use super::*;
use crate::model::limits::{Footprint, Limit, Limits};
use crate::ports::memory::MemoryStore;
use crate::ports::object_store::{ObjectStore, PutOptions};
use crate::task::grant::Grants;
use crate::task::holds::Holdings;
use crate::task::host::LimitHit;
use crate::task::host::tests::state;
use crate::task::stream::{End, Name, Output};
use std::sync::Arc;

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
    let file = task.table.push(Descriptor::new("f".into(), Found::Written)).expect("fits");
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
