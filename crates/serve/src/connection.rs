//! One connection: HTTP/1.1 with keep-alive or HTTP/2 without TLS, whichever the client begins with. It is closed when
//! nothing has happened on it for too long.

use crate::answer::answer;
use crate::server::{ServeOptions, Shared};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::InspectWriter;

/// Time without a request after which a connection is closed. Longer than the minute for which an Application Load
/// Balancer keeps an idle connection by default: it expects its targets to keep theirs longer
/// ([AWS](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#connection-idle-timeout)).
const IDLE: Duration = Duration::from_secs(75);
/// Time without progress, beyond the longest wait for a guest, after which a connection with a request is closed.
const STALLED: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes: a larger one is answered with 431.
const MOST_HEAD_BYTES: usize = 32 << 10;
/// Requests that one HTTP/2 connection carries at once.
const MOST_STREAMS: u32 = 100;
/// Bytes of bodies that an HTTP/2 client may send ahead: for one request, and for all of a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of a response's body that an HTTP/2 connection holds for a client that doesn't take them, after the task has ended;
/// and one part of a body more.
const SEND_BUFFER: usize = 32 << 10;

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    origin: Instant,
    /// Longest time without progress of a request, in milliseconds.
    busy: u64,
    /// When a request last began or ended, and when bytes were last written, in milliseconds after `origin`.
    last: AtomicU64,
    written: AtomicU64,
    /// When something last happened to each request in flight. One that stalls is not to hide behind others.
    requests: Mutex<Vec<Arc<AtomicU64>>>,
}

impl Activity {
    pub(crate) fn new(options: &ServeOptions) -> Arc<Self> {
        Arc::new(Self::begun(Instant::now(), options.queue_time.saturating_add(options.timeout)))
    }

    fn begun(origin: Instant, longest_task: Duration) -> Self {
        let busy = millis(longest_task.saturating_add(STALLED));
        Self { origin, busy, last: AtomicU64::new(0), written: AtomicU64::new(0), requests: Mutex::default() }
    }

    /// Returns whether the connection carries no request.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.lock().is_empty()
    }

    /// Returns since when the connection has been idle, if it is. The end of a response may still be on its way when its
    /// request is no more in flight: writing counts for as long as a request may take. Later, a client only pings.
    pub(crate) fn idle_since(&self) -> Instant {
        self.origin + Duration::from_millis(self.idle_since_ms())
    }

    fn idle_since_ms(&self) -> u64 {
        let last = self.last.load(Ordering::Relaxed);
        self.written.load(Ordering::Relaxed).clamp(last, last.saturating_add(self.busy))
    }

    fn touch(&self) {
        self.last.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        millis(self.origin.elapsed())
    }

    /// Returns how long the connection may go on as it is, at most: zero if it is to be closed.
    fn left(&self) -> Duration {
        let stalled = self.requests.lock().iter().map(|last| last.load(Ordering::Relaxed)).min();
        let (since, most) = match stalled {
            Some(last) => (last, self.busy),
            None => (self.idle_since_ms(), millis(IDLE)),
        };
        Duration::from_millis(most.saturating_sub(self.now_ms().saturating_sub(since)))
    }

    /// Waits until nothing has happened for too long: on the connection, or of one of its requests.
    async fn over(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            // An idle connection may become busy and idle again meanwhile.
            tokio::time::sleep(left.min(IDLE)).await;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A request that a connection carries, until its response was handed to the connection.
#[derive(Debug)]
pub(crate) struct InFlight {
    progress: Progress,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Notes when something happens to a request.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    activity: Arc<Activity>,
    last: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn touch(&self) {
        self.last.store(self.activity.now_ms(), Ordering::Relaxed);
    }
}

impl InFlight {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        activity.touch();
        let last = Arc::new(AtomicU64::new(activity.now_ms()));
        activity.requests.lock().push(last.clone());
        Self { progress: Progress { activity, last }, _permit: None }
    }

    /// Keeps a permit until then.
    pub(crate) fn with(mut self, permit: OwnedSemaphorePermit) -> Self {
        self._permit = Some(permit);
        self
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Progress { activity, last } = &self.progress;
        activity.touch();
        activity.requests.lock().retain(|other| !Arc::ptr_eq(other, last));
    }
}

/// Answers the requests of a connection until it ends.
pub(crate) async fn serve(stream: TcpStream, shared: Arc<Shared>, activity: Arc<Activity>) {
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        service_fn(move |request| answer(shared.clone(), InFlight::new(activity.clone()), request))
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MOST_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let stream = InspectWriter::new(stream, {
        let activity = activity.clone();
        move |_: &[u8]| activity.written.store(activity.now_ms(), Ordering::Relaxed)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ends = false;
    loop {
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(error, "a connection failed");
                }
                return;
            }
            () = shared.ends.cancelled(), if !ends => {
                ends = true;
                connection.as_mut().graceful_shutdown();
            }
            () = activity.over() => {
                tracing::debug!(is_idle = activity.is_idle(), "closed a connection on which nothing happened");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The activity of a connection that began this long ago, and on which a request may take 60 s.
    fn begun(ago: Duration) -> Arc<Activity> {
        let origin = Instant::now().checked_sub(ago).expect("a time");
        Arc::new(Activity::begun(origin, 30 * SECOND))
    }

    #[test]
    fn a_request_that_stalls_does_not_hide_behind_others_on_its_connection() {
        let activity = begun(200 * SECOND);
        assert!(activity.left().is_zero() && activity.is_idle(), "nothing has happened for 200 s");
        let (stalled, other) = (InFlight::new(activity.clone()), InFlight::new(activity.clone()));
        assert!(activity.left() > 30 * SECOND && !activity.is_idle());
        stalled.progress().last.store(100_000, Ordering::Relaxed);
        other.progress().touch();
        drop(InFlight::new(activity.clone()));
        assert!(activity.left().is_zero());
        stalled.progress().touch();
        assert!(!activity.left().is_zero());
        drop((stalled, other));
        assert!(activity.left() > IDLE / 2 && activity.is_idle());
    }

    #[test]
    fn what_is_written_keeps_an_idle_connection_for_as_long_as_a_request_may_take() {
        let writes = |ago: Duration| {
            let activity = begun(ago);
            activity.written.store(activity.now_ms(), Ordering::Relaxed);
            activity
        };
        let answering = writes(100 * SECOND);
        assert!(answering.left() > 30 * SECOND, "the end of its response is on its way");
        assert!(writes(136 * SECOND).left().is_zero(), "it only pings");
        assert!(answering.idle_since() > begun(100 * SECOND).idle_since());
    }
}
