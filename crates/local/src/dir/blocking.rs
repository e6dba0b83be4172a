//! Work on tokio's blocking threads, which goes on when the future that waits for it is dropped: so it's told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmrun_runtime::object_store::StoreError;

/// Whether nobody waits for some work any more. What takes long asks now and then.
#[derive(Debug, Default)]
pub(super) struct Abandoned(AtomicBool);

impl Abandoned {
    pub(super) fn abandon(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nobody waits any more; nobody reads it.
    pub(super) fn check(&self, doing: &str, key: &str) -> Result<(), StoreError> {
        match self.0.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(StoreError::Unavailable(format!("cannot {doing} {key:?}: the call was abandoned"))),
        }
    }
}

/// Says so when it's dropped.
struct Waiting(Arc<Abandoned>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Does what blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Abandoned) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let waiting = Waiting(Arc::default());
    let abandoned = Arc::clone(&waiting.0);
    let done = tokio::task::spawn_blocking(move || work(&abandoned)).await;
    done.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("the call was broken off: {error}"))))
}
