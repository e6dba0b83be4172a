//! The server of a service: its address, its connections, and their end.

use crate::body::AheadBytes;
use crate::connection::{Activity, serve};
use crate::requests::RequestQueue;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::coop::unconstrained;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::engine::heap;

/// Pause after a failed accept: if the process has no free file descriptor, one may become free.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that the system accepts ahead.
const BACKLOG: u32 = 1024;
/// Number of connections that hold memory worth returning to the system.
const MANY: usize = 256;
/// Time in which a client that keeps its connection is told with a response that the connection ends. After that, idle
/// connections are closed: a request that is just on its way would be lost.
const LAST_RESPONSES: Duration = Duration::from_millis(500);

/// How requests are served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Maximum number of connections. For one more, the one that was idle for longest is closed.
    pub connections: usize,
    /// How long a request may wait for an instance.
    pub queue_time: Duration,
    /// Longest time of a task.
    pub timeout: Duration,
    /// Largest body of a request, in bytes, where the client says its size.
    pub request_bytes: u64,
    /// Whether traces of tasks are exported: messages then hold the method and path of their requests.
    pub is_traced: bool,
}

/// Is told the status of each response that the server gives itself.
pub type OnError = Box<dyn Fn(u16) + Send + Sync>;

/// A server that listens on an address and doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// What the connections share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<RequestQueue>,
    pub(crate) options: ServeOptions,
    /// The server's address: the authority of requests that name none.
    pub(crate) address: SocketAddr,
    pub(crate) on_error: OnError,
    /// Set when each response is the last one of its connection.
    pub(crate) stopping: AtomicBool,
    /// Cancelled when idle connections are closed.
    pub(crate) ends: CancellationToken,
    /// A permit for each request that is read or answered: as many as connections, as one of HTTP/2 carries many.
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) ahead: Arc<AheadBytes>,
}

impl ServeOptions {
    fn most_connections(&self) -> usize {
        self.connections.max(1)
    }
}

impl Shared {
    fn new(queue: Arc<RequestQueue>, options: ServeOptions, address: SocketAddr, on_error: OnError) -> Self {
        let most = options.most_connections().min(Semaphore::MAX_PERMITS);
        Self {
            queue,
            options,
            address,
            on_error,
            stopping: AtomicBool::new(false),
            ends: CancellationToken::new(),
            requests: Arc::new(Semaphore::new(most)),
            ahead: Arc::default(),
        }
    }
}

impl Server {
    /// Listens on an address. Port 0 selects any free port.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use, or isn't one of this host.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A service that starts again needn't wait for the connections of the one before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the address, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled, and then those that have arrived. Dropping the future closes all
    /// connections.
    pub async fn serve(
        self,
        queue: Arc<RequestQueue>,
        options: ServeOptions,
        on_error: OnError,
        stop: CancellationToken,
    ) {
        let most = options.most_connections();
        let shared = Arc::new(Shared::new(queue, options, self.address, on_error));
        let mut connections = Connections::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.tasks.join_next() => connections.one_closed(),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => connections.add(stream, most, &shared),
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        shared.stopping.store(true, Ordering::Relaxed);
        // For their clients, those that the system has accepted are connected.
        while let Some(stream) = accepted(&self.listener).await {
            connections.add(stream, most, &shared);
        }
        drop(self.listener);
        let _ = tokio::time::timeout(LAST_RESPONSES, connections.end()).await;
        shared.ends.cancel();
        connections.end().await;
    }
}

/// Returns a connection that waits to be accepted, if there is one.
async fn accepted(listener: &TcpListener) -> Option<TcpStream> {
    // Without tokio's budget, after which it says that none waits.
    unconstrained(poll_fn(|context| match listener.poll_accept(context) {
        Poll::Ready(Ok((stream, _))) => Poll::Ready(Some(stream)),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    }))
    .await
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Highest number since memory was last returned to the system.
    peak: usize,
    open: Vec<(AbortHandle, Arc<Activity>)>,
}

impl Connections {
    fn add(&mut self, stream: TcpStream, most: usize, shared: &Arc<Shared>) {
        if self.tasks.len() >= most && !self.close_idle() {
            tracing::debug!("closed a new connection: as many as allowed are open, and all carry requests");
            return;
        }
        // A response consists of few packets, and none is to wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let activity = Activity::new(&shared.options);
        let task = self.tasks.spawn(serve(stream, shared.clone(), activity.clone()));
        if self.open.len() >= 2 * self.tasks.len() {
            self.forget_closed();
        }
        self.open.push((task, activity));
        self.peak = self.peak.max(self.tasks.len());
    }

    /// Returns the memory of many connections to the system once half of them have closed.
    fn one_closed(&mut self) {
        let open = self.tasks.len();
        if self.peak >= MANY && open < self.peak / 2 {
            self.peak = open;
            self.forget_closed();
            tokio::task::spawn_blocking(heap::trim);
        }
    }

    /// Closes the connection that has carried no request for longest. Returns whether there is one.
    fn close_idle(&mut self) -> bool {
        self.forget_closed();
        let idle = self.open.iter().enumerate().filter(|(_, (_, activity))| activity.is_idle());
        let idle = idle.min_by_key(|(_, (_, activity))| activity.idle_since()).map(|(index, _)| index);
        let closed = idle.map(|idle| self.open.swap_remove(idle));
        closed.is_some_and(|(connection, _)| {
            connection.abort();
            true
        })
    }

    /// Forgets the connections that have closed: a handle keeps the memory of its connection.
    fn forget_closed(&mut self) {
        self.open.retain(|(connection, _)| !connection.is_finished());
    }

    /// Waits until all connections have ended.
    async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_have_closed_hold_no_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let queue = Arc::new(RequestQueue::new("http://test".into(), 1));
        let second = Duration::from_secs(1);
        let options = ServeOptions {
            connections: 1000,
            queue_time: second,
            timeout: second,
            request_bytes: 1,
            is_traced: false,
        };
        let shared = Arc::new(Shared::new(queue, options, address, Box::new(|_| {})));
        let mut connections = Connections::default();
        let mut clients = Vec::new();
        for _ in 0..=MANY {
            clients.push(TcpStream::connect(address).await.expect("connected"));
            connections.add(listener.accept().await.expect("accepted").0, 1000, &shared);
        }
        assert_eq!((connections.tasks.len(), connections.open.len()), (MANY + 1, MANY + 1));
        drop(clients);
        while connections.tasks.join_next().await.is_some() {
            connections.one_closed();
        }
        assert!(connections.open.len() <= MANY / 2, "{}", connections.open.len());
    }
}
