//! The calls of a stream to its store, of which one at most is in progress.

use super::{Calls, Ended, Name};
use crate::ports::object_store::StoreError;
use crate::task::calls::StoreCall;
use crate::task::host::object_store::{Error, error_of};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Makes the calls of a stream.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) name: Arc<Name>,
    pub(super) calls: Arc<Mutex<Calls>>,
    pub(super) io: Handle,
}

/// A call in progress. It's counted when this is dropped, also if the guest abandons it.
struct Progress {
    caller: Caller,
    number: u64,
    call: StoreCall,
    answer: Option<Result<u64, StoreError>>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut calls = self.caller.calls.lock();
        let now = Instant::now();
        let times = (calls.since.remove(&self.number).map_or(now, |(since, ..)| since), now);
        let name = self.caller.name.clone();
        calls.ended.push(Ended { name, call: self.call, times, answer: self.answer.take() });
    }
}

impl Caller {
    /// Starts a call to a store.
    pub(super) fn start<P, T>(
        self,
        call: StoreCall,
        mut end: P,
        work: impl for<'a> FnOnce(&'a mut P) -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>
        + Send
        + 'static,
        bytes: fn(&T) -> u64,
    ) -> Line<P, T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        let number = {
            let mut calls = self.calls.lock();
            calls.next += 1;
            let number = calls.next;
            calls.since.insert(number, (Instant::now(), self.name.clone(), call));
            number
        };
        let progress = Progress { caller: self.clone(), number, call, answer: None };
        let running = async move {
            let mut progress = progress;
            let (result, answer) = match work(&mut end).await {
                Ok(value) => {
                    let bytes = bytes(&value);
                    (Ok((end, value)), Ok(bytes))
                }
                Err(error) => (Err(error_of(&error)), Err(error)),
            };
            progress.answer = Some(answer);
            result
        };
        let handle = AbortOnDropHandle::new(self.io.spawn(running));
        Line::Busy(handle, self)
    }
}

/// The host's end of a stream. `P` reads or writes the object, `T` is the result of a call.
#[derive(Default)]
pub(super) enum Line<P, T> {
    /// No call is in progress.
    Idle(P, Caller),
    /// A call is in progress.
    Busy(AbortOnDropHandle<Result<(P, T), Error>>, Caller),
    /// A call has failed, and the guest hasn't been told.
    Failed(Error),
    /// A call has failed, and the guest knows.
    Told(Error),
    /// The object has ended, or no object is connected.
    #[default]
    Closed,
}

impl<P, T> Line<P, T> {
    /// Waits for the call in progress. Returns its result, if there was one and it succeeded.
    pub(super) fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self::Busy(handle, caller) = self else { return Poll::Ready(None) };
        let result = ready!(Pin::new(handle).poll(context));
        let caller = caller.clone();
        match result {
            Ok(Ok((end, value))) => {
                *self = Self::Idle(end, caller);
                Poll::Ready(Some(value))
            }
            Ok(Err(error)) => {
                *self = Self::Failed(error);
                Poll::Ready(None)
            }
            // A call is lost only when its runtime ends.
            Err(_) => {
                *self = Self::Failed(Error::Unavailable);
                Poll::Ready(None)
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Closed | Self::Failed(_) | Self::Told(_))
    }

    /// Takes the error of a failed call, which a guest is told once.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        let Self::Failed(error) = self else { return None };
        let error = error.clone();
        *self = Self::Told(error.clone());
        Some(error)
    }
}
