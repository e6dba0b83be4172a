//! Queues with something in them.

use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::ports::queue::Queue;

/// Sends a message so many times, or some more to fill the last batch.
pub async fn fill(queue: &dyn Queue, message: OutgoingMessage, count: usize) {
    let batch = vec![message; MAX_BATCH];
    for _ in 0..count.div_ceil(MAX_BATCH) {
        queue.send(&batch).await;
    }
}
