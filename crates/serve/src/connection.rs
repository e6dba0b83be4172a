//! One connection: HTTP/1.1 with keep-alive or HTTP/2 without TLS, whichever the client begins with. It is closed when
//! nothing has happened on it for too long.

use crate::answer::answer;
use crate::server::{ServeOptions, Shared};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

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

/// What happens on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    origin: Instant,
    /// When something last happened, in milliseconds after `origin`.
    last: AtomicU64,
    in_flight: AtomicUsize,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), last: AtomicU64::new(0), in_flight: AtomicUsize::new(0) })
    }

    /// Notes that something happens now.
    pub(crate) fn touch(&self) {
        self.last.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Returns whether the connection carries no request.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until nothing has happened for too long.
    async fn over(&self, options: &ServeOptions) {
        let busy = options.queue_time.saturating_add(options.timeout).saturating_add(STALLED);
        loop {
            let most = if self.is_idle() { IDLE } else { busy };
            let since =
                Duration::from_millis(self.now_ms().saturating_sub(self.last.load(Ordering::Relaxed)));
            let Some(left) = most.checked_sub(since).filter(|left| !left.is_zero()) else { return };
            // An idle connection may become busy and idle again meanwhile.
            tokio::time::sleep(left.min(IDLE)).await;
        }
    }
}

/// A request that a connection carries, until its response was sent.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.touch();
        Self { activity, _permit: None }
    }

    /// Keeps a permit until then.
    pub(crate) fn with(mut self, permit: OwnedSemaphorePermit) -> Self {
        self._permit = Some(permit);
        self
    }

    pub(crate) fn touch(&self) {
        self.activity.touch();
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.touch();
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
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
        .initial_connection_window_size(CONNECTION_WINDOW);
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
            () = activity.over(&shared.options) => {
                tracing::debug!(is_idle = activity.is_idle(), "closed a connection on which nothing happened");
                return;
            }
        }
    }
}
