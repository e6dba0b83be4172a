//! The calls of a pipe to its store, of which one at most is in progress.

use super::{Calls, Ended};
use crate::ports::object_store::StoreError;
use crate::task::calls::StoreCall;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Makes the calls of a pipe.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) calls: Arc<Mutex<Calls>>,
    pub(super) io: Handle,
}

impl Caller {
    /// Starts a call to a store. `side` is 0 for input and 1 for output.
    pub(super) fn start<P, T>(
        self,
        side: usize,
        call: StoreCall,
        mut end: P,
        work: impl for<'a> FnOnce(
            &'a mut P,
        )
            -> Pin<Box<dyn Future<Output = std::result::Result<T, StoreError>> + Send + 'a>>
        + Send
        + 'static,
        bytes: fn(&T) -> u64,
    ) -> Line<P, T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        self.calls.lock().since[side] = Some(Instant::now());
        let calls = self.calls.clone();
        let running = async move {
            let answer = work(&mut end).await;
            let mut calls = calls.lock();
            calls.since[side] = None;
            match answer {
                Ok(value) => {
                    calls.ended.push(Ended { call, answer: Ok(bytes(&value)) });
                    Some((end, value))
                }
                Err(error) => {
                    calls.ended.push(Ended { call, answer: Err(error) });
                    None
                }
            }
        };
        let handle = AbortOnDropHandle::new(self.io.spawn(running));
        Line::Busy(handle, self)
    }
}

/// The host's end of a pipe. `P` reads or writes the object, `T` is the result of a call.
#[derive(Default)]
pub(super) enum Line<P, T> {
    /// No call is in progress.
    Idle(P, Caller),
    /// A call is in progress.
    Busy(AbortOnDropHandle<Option<(P, T)>>, Caller),
    /// The object has ended, a call has failed, or no object is connected.
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
            Ok(Some((end, value))) => {
                *self = Self::Idle(end, caller);
                Poll::Ready(Some(value))
            }
            // The task ends when it counts the failed call. A call is lost only when its runtime ends.
            Ok(None) | Err(_) => {
                *self = Self::Closed;
                Poll::Ready(None)
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}
