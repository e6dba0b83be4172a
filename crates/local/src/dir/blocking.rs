//! Runs blocking file-system calls on threads.
//!
//! A call goes on when the future that waits for it is dropped, as happens when a task ends. So the call learns that it
//! was abandoned, and the number of abandoned calls is bounded. A separate thread closes and removes files.

use std::mem::needs_drop;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, mpsc};
use tokio::sync::watch;
use wasmrun_runtime::ports::object_store::StoreError;

/// Maximum number of abandoned calls, and of pending drops. At that number, whatever would add another one waits.
const MOST_UNAWAITED: usize = 16;

/// Runs a store's calls on tokio's blocking threads.
#[derive(Debug)]
pub(super) struct Blocking {
    /// Counts the calls that nobody waits for. The bound keeps tasks that end while a disk hangs from leaving ever more
    /// calls behind, each of which holds its content.
    abandoned: Arc<Gate>,
    /// Has a count of its own, so that files that are slow to remove don't delay calls on open files.
    drops: Arc<Drops>,
}

impl Blocking {
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the system refuses a thread.
    pub(super) fn start() -> Result<Self, StoreError> {
        let refused =
            |error| StoreError::Unavailable(format!("cannot start a thread to close files: {error}"));
        Ok(Self { abandoned: Arc::default(), drops: Arc::new(Drops::start().map_err(refused)?) })
    }

    /// Runs `work` on a thread and hands it `files`. If the call is abandoned, neither `files` nor the result is
    /// dropped on the caller's thread, where a slow drop would delay other tasks.
    pub(super) async fn run<F: Send + 'static, T: Send + 'static>(
        &self,
        files: F,
        work: impl FnOnce(F, &Call) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = self.drop_later(files);
        self.abandoned.pass().await;
        let caller = Caller { call: Arc::default(), abandoned: &self.abandoned };
        let (call, drops) = (Arc::clone(&caller.call), Arc::clone(&self.drops));
        let done = tokio::task::spawn_blocking(move || {
            let files = files.into_inner();
            call.check("begin", "")?;
            let value = work(files, &call)?;
            // If the call was abandoned, the value is dropped on this thread, and the call counts as abandoned until
            // then.
            call.check("keep", "")?;
            Ok(DropLater { value: Some(value), drops })
        });
        match done.await {
            Ok(done) => done.map(DropLater::into_inner),
            Err(error) => Err(StoreError::Unavailable(format!("the call was broken off: {error}"))),
        }
    }

    /// Waits until fewer than [`MOST_UNAWAITED`] drops are pending.
    pub(super) async fn catch_up(&self) {
        self.drops.gate.pass().await;
    }

    /// Waits until no abandoned call runs and no drop is pending.
    pub(super) async fn clear_away(&self) {
        self.abandoned.until(|count| count == 0).await;
        self.drops.gate.until(|count| count == 0).await;
    }

    /// Wraps a value, such as a file, that may take a while to close or to remove.
    pub(super) fn drop_later<T: Send + 'static>(&self, value: T) -> DropLater<T> {
        DropLater { value: Some(value), drops: Arc::clone(&self.drops) }
    }
}

/// One call. Its work asks now and then whether the call was abandoned.
#[derive(Debug, Default)]
pub(super) struct Call(OnceLock<Counted>);

impl Call {
    /// Marks the call as abandoned. It counts at the gate until it is over.
    pub(super) fn abandon(&self, abandoned: &Arc<Gate>) {
        self.0.get_or_init(|| Counted::new(abandoned));
    }

    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the call was abandoned. Nobody sees the text.
    pub(super) fn check(&self, doing: &str, key: &str) -> Result<(), StoreError> {
        match self.0.get() {
            None => Ok(()),
            Some(_) => {
                Err(StoreError::Unavailable(format!("cannot {doing} {key:?}: the call was abandoned")))
            }
        }
    }
}

/// The future that waits for a call. Dropped before the call is over, it abandons the call.
struct Caller<'a> {
    call: Arc<Call>,
    abandoned: &'a Arc<Gate>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        // The thread holds the other reference until the call is over.
        if Arc::strong_count(&self.call) > 1 {
            self.call.abandon(self.abandoned);
        }
    }
}

/// A thread that drops the values handed to it, one after the other, until the last sender is gone.
#[derive(Debug)]
struct Drops {
    gate: Arc<Gate>,
    thread: mpsc::Sender<(Box<dyn Send>, Counted)>,
}

impl Drops {
    fn start() -> std::io::Result<Self> {
        let (thread, inbox) = mpsc::channel();
        std::thread::Builder::new()
            .name("dir-drops".into())
            .spawn(move || inbox.into_iter().for_each(drop))?;
        Ok(Self { gate: Arc::default(), thread })
    }
}

/// A value that is dropped on the thread of [`Drops`].
#[derive(Debug)]
pub(super) struct DropLater<T: Send + 'static> {
    /// `Some` until the value is taken or dropped.
    value: Option<T>,
    drops: Arc<Drops>,
}

impl<T: Send + 'static> DropLater<T> {
    pub(super) fn into_inner(mut self) -> T {
        match self.value.take() {
            Some(value) => value,
            None => unreachable!("only drop takes it before"),
        }
    }
}

impl<T: Send + 'static> Deref for DropLater<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("only drop takes it"),
        }
    }
}

impl<T: Send + 'static> Drop for DropLater<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take()
            && needs_drop::<T>()
        {
            // The send succeeds: the thread runs as long as a sender exists.
            let _ = self.drops.thread.send((Box::new(value), Counted::new(&self.drops.gate)));
        }
    }
}

/// Lets a caller pass while its count is below [`MOST_UNAWAITED`].
#[derive(Debug, Default)]
pub(super) struct Gate(watch::Sender<usize>);

impl Gate {
    async fn pass(&self) {
        self.until(|count| count < MOST_UNAWAITED).await;
    }

    async fn until(&self, holds: impl Fn(usize) -> bool) {
        // Fails only if the sender is gone, and `self` owns the sender.
        let _ = self.0.subscribe().wait_for(|&count| holds(count)).await;
    }
}

/// Adds one to the count of a gate until it is dropped.
#[derive(Debug)]
struct Counted(Arc<Gate>);

impl Counted {
    fn new(gate: &Arc<Gate>) -> Self {
        gate.0.send_modify(|count| *count += 1);
        Self(Arc::clone(gate))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::give_up;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Wake, Waker};
    use std::thread::ThreadId;
    use std::time::Duration;

    impl Blocking {
        pub(in crate::dir) fn counts(&self) -> (usize, usize) {
            (*self.abandoned.0.borrow(), *self.drops.gate.0.borrow())
        }

        /// Returns how many callers wait in [`Blocking::catch_up`].
        pub(in crate::dir) fn catching_up(&self) -> usize {
            self.drops.gate.0.receiver_count()
        }

        pub(in crate::dir) async fn rest(&self) {
            tokio::time::timeout(PATIENCE, self.clear_away()).await.unwrap();
        }

        /// Begins the maximum number of abandoned calls. Each hangs until its sender is dropped.
        pub(in crate::dir) async fn fill(&self) -> Vec<mpsc::Sender<()>> {
            let mut hanging = Vec::new();
            for count in 0..MOST_UNAWAITED {
                assert_eq!(self.counts().0, count);
                let (ends, end) = mpsc::channel::<()>();
                let (begins, begun) = tokio::sync::oneshot::channel();
                let call = self.run((), move |(), _| {
                    let _ = begins.send(());
                    let _ = end.recv();
                    Ok(())
                });
                tokio::select! {
                    _ = call => panic!("it hangs"),
                    begun = begun => begun.unwrap(),
                }
                hanging.push(ends);
            }
            hanging
        }

        /// Keeps the thread that drops values busy until the sender is dropped.
        pub(in crate::dir) fn hold_drops(&self) -> mpsc::Sender<()> {
            let (ends, end) = mpsc::channel();
            drop(self.drop_later(Slow(end)));
            ends
        }

        /// Begins the maximum number of pending drops. Each ends when its sender is dropped.
        pub(in crate::dir) fn fill_drops(&self) -> Vec<mpsc::Sender<()>> {
            (0..MOST_UNAWAITED).map(|_| self.hold_drops()).collect()
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A value whose drop lasts until the sender is dropped, or until the test has failed by its timeout.
    struct Slow(mpsc::Receiver<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv_timeout(PATIENCE);
        }
    }

    #[tokio::test]
    async fn calls_that_hang_keep_more_from_beginning_until_one_of_them_is_over() {
        let blocking = Blocking::start().unwrap();
        let mut hanging = blocking.fill().await;
        let mut next = pin!(blocking.run((), |(), _| Ok("done")));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(blocking.abandoned.0.receiver_count(), 1, "it waits, and is not on a thread");
        hanging.pop();
        assert_eq!(next.await.unwrap(), "done");
        drop(hanging);
        blocking.rest().await;
    }

    #[tokio::test]
    async fn a_call_that_is_waited_for_to_its_end_is_never_abandoned() {
        let blocking = Blocking::start().unwrap();
        let counts = blocking.abandoned.0.subscribe();
        blocking.run((), |(), call| call.check("write", "x")).await.unwrap();
        assert!(blocking.run((), |(), _| -> Result<(), StoreError> { panic!("a defect") }).await.is_err());
        assert!(!counts.has_changed().unwrap());
    }

    #[tokio::test]
    async fn what_is_dropped_later_counts_until_it_is_gone() {
        let blocking = Blocking::start().unwrap();
        let (ends, end) = mpsc::channel();
        drop(blocking.drop_later(Slow(end)));
        assert_eq!(blocking.counts(), (0, 1));
        drop(ends);
        blocking.rest().await;
    }

    #[tokio::test]
    async fn files_of_a_call_that_never_begins_are_dropped_on_another_thread() {
        let blocking = Blocking::start().unwrap();
        let hanging = blocking.fill().await;
        let (ends, end) = mpsc::channel();
        let slow = Slow(end);
        give_up(blocking.run(slow, |slow, _| {
            drop(slow);
            Ok(())
        }));
        assert_eq!(blocking.counts(), (MOST_UNAWAITED, 1));
        drop((ends, hanging));
        blocking.rest().await;
    }

    #[tokio::test]
    async fn a_value_that_nobody_takes_is_dropped_on_another_thread() {
        struct Told(mpsc::Sender<()>);
        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                let _ = self.0.send(());
            }
        }
        struct Tells(mpsc::Sender<ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().id());
            }
        }
        let blocking = Blocking::start().unwrap();
        let ((tells, told), (ends, ended)) = (mpsc::channel(), mpsc::channel());
        let (begins, begin) = mpsc::channel::<()>();
        {
            let mut call = pin!(blocking.run((), move |(), _| {
                let _ = begin.recv();
                Ok(Tells(tells))
            }));
            let waker = Waker::from(Arc::new(Told(ends)));
            assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(begins);
            ended.recv_timeout(PATIENCE).unwrap();
        }
        assert_ne!(told.recv_timeout(PATIENCE).unwrap(), std::thread::current().id());
        blocking.rest().await;
    }
}
