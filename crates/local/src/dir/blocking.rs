//! Threads for what blocks. Work goes on when the future that waits for it is dropped, as that of a task that was ended:
//! so it's told, and there is only so much of it.

use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;
use tokio::sync::watch;
use wasmrun_runtime::object_store::StoreError;

/// While a store has so much work that nobody waits for, the next waits until some of that is over. So tasks that are
/// ended on a disk that hangs leave no more behind, call after call, than this: each the content of one call.
pub(super) const MAX_ABANDONED: usize = 16;

/// A store's work on tokio's blocking threads.
#[derive(Debug, Default)]
pub(super) struct Threads {
    abandoned: watch::Sender<usize>,
}

impl Threads {
    /// Does `work` on a thread.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Abandoned) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _ = self.abandoned.subscribe().wait_for(|&abandoned| abandoned < MAX_ABANDONED).await;
        let waiting = Waiting { threads: self, work: Arc::default() };
        let abandoned = Arc::clone(&waiting.work);
        let done = tokio::task::spawn_blocking(move || work(&abandoned)).await;
        done.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("the call was broken off: {error}"))))
    }

    /// Drops on a thread what takes a while to drop. Nobody waits for it.
    pub(super) fn drop_later(self: &Arc<Self>, what: impl Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            let counted = Counted::new(self);
            runtime.spawn_blocking(move || {
                drop(what);
                drop(counted);
            });
        }
    }
}

/// Whether nobody waits for some work any more. What takes long asks now and then.
#[derive(Debug, Default)]
pub(super) struct Abandoned(OnceLock<Counted>);

impl Abandoned {
    pub(super) fn abandon(&self, threads: &Arc<Threads>) {
        self.0.get_or_init(|| Counted::new(threads));
    }

    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if nobody waits any more; nobody reads it.
    pub(super) fn check(&self, doing: &str, key: &str) -> Result<(), StoreError> {
        match self.0.get() {
            None => Ok(()),
            Some(_) => {
                Err(StoreError::Unavailable(format!("cannot {doing} {key:?}: the call was abandoned")))
            }
        }
    }
}

/// One of the store's abandoned, until it's dropped.
#[derive(Debug)]
struct Counted(Arc<Threads>);

impl Counted {
    fn new(threads: &Arc<Threads>) -> Self {
        threads.abandoned.send_modify(|abandoned| *abandoned += 1);
        Self(Arc::clone(threads))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.abandoned.send_modify(|abandoned| *abandoned -= 1);
    }
}

/// Abandons its work if that isn't over when this is dropped.
struct Waiting<'a> {
    threads: &'a Arc<Threads>,
    work: Arc<Abandoned>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The work has the other one until it's over.
        if Arc::strong_count(&self.work) > 1 {
            self.work.abandon(self.threads);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    /// Work that hangs until the sender is dropped, and that nobody waits for.
    async fn hang(threads: &Arc<Threads>) -> mpsc::Sender<()> {
        let (ends, end) = mpsc::channel::<()>();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let work = threads.run(move |_| {
            let _ = begins.send(());
            let _ = end.recv();
            Ok(())
        });
        tokio::select! {
            _ = work => panic!("it hangs"),
            begun = begun => begun.unwrap(),
        }
        ends
    }

    async fn wait_for(threads: &Arc<Threads>, count: usize) {
        threads.abandoned.subscribe().wait_for(|&abandoned| abandoned == count).await.unwrap();
    }

    #[tokio::test]
    async fn work_that_hangs_keeps_more_from_beginning_until_some_of_it_is_over() {
        let threads = Arc::<Threads>::default();
        let mut hanging = Vec::new();
        for count in 0..MAX_ABANDONED {
            wait_for(&threads, count).await;
            hanging.push(hang(&threads).await);
        }
        let mut next = pin!(threads.run(|_| Ok("done")));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(threads.abandoned.receiver_count(), 1, "it waits, and isn't on a thread");
        hanging.pop();
        assert_eq!(next.await.unwrap(), "done");
        drop(hanging);
        wait_for(&threads, 0).await;
    }

    #[tokio::test]
    async fn work_that_is_waited_for_to_its_end_is_never_abandoned() {
        let threads = Arc::<Threads>::default();
        let counts = threads.abandoned.subscribe();
        threads.run(|abandoned| abandoned.check("write", "x")).await.unwrap();
        assert!(threads.run(|_| -> Result<(), StoreError> { panic!("a defect") }).await.is_err());
        assert!(!counts.has_changed().unwrap());
    }

    #[tokio::test]
    async fn what_is_dropped_later_counts_until_it_is_gone() {
        struct Slow(mpsc::Receiver<()>);
        impl Drop for Slow {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let threads = Arc::<Threads>::default();
        let (ends, end) = mpsc::channel::<()>();
        threads.drop_later(Slow(end));
        wait_for(&threads, 1).await;
        drop(ends);
        wait_for(&threads, 0).await;
    }
}
