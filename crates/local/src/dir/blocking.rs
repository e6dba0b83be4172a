//! Work on tokio's blocking threads, which goes on when the future that waits for it is dropped: so it's told, and counts as
//! its task's until it's over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmrun_runtime::leftover::Leftover;
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
    let leftover = Leftover::begins();
    // What nobody waits for any more is dropped on that thread as well, and the leftover after it.
    match tokio::task::spawn_blocking(move || (work(&abandoned), leftover)).await {
        Ok((done, _)) => done,
        Err(error) => Err(StoreError::Unavailable(format!("the call was broken off: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use wasmrun_runtime::leftover::Leftovers;

    #[tokio::test]
    async fn a_call_that_hangs_counts_as_its_tasks_after_it_was_abandoned() {
        let (hangs, disk) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let (task, call) = (Leftovers::default(), {
            let (began, answers) = (hangs.0, disk.1);
            blocking(move |abandoned| {
                began.send(()).expect("somebody waits for it");
                let _ = answers.recv();
                abandoned.check("write", "key")
            })
        });
        let call = tokio::spawn(task.of(call));
        tokio::task::spawn_blocking(move || hangs.1.recv()).await.expect("no panic").expect("it began");
        call.abort();
        assert!(call.await.expect_err("abandoned").is_cancelled());
        assert!(!task.is_empty());
        drop(disk.0);
        task.gone().await;
    }
}
