//! `wasi:http/outgoing-handler`: checks a guest's request against the grant, resolves and checks its addresses, bounds
//! every size and time, and hands it to the client. An error of the server is returned to the guest and isn't a host error.
//! The grant is `task::http`.
//!
//! | module | owns |
//! |---|---|
//! | `exchange` | one granted request, from the look-up of its host to its response |
//! | `meter` | counts requests and the bytes of their bodies |

mod exchange;
mod meter;

use self::exchange::{Exchange, Timeouts};
use self::meter::Counts;
pub(crate) use self::meter::{Counted, Direction, Meter, request_head_bytes};
use super::LimitHit;
use crate::model::host_error::{Access, HostErrorKind};
use crate::model::limits::{Limit, Limits};
use crate::model::outcome::shorten;
use crate::model::task_trace::CallRecorder;
use crate::model::usage::HttpUsage;
use crate::task::calls::CallResult;
use crate::task::http::{HttpGrant, Target};
use crate::task::log::GuestLog;
use crate::task::store::{TaskConfig, TaskState};
use http::header::{TE, TRAILER};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use parking_lot::Mutex;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, Host as _, HostFields as _, HostOutgoingRequest as _,
};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, FieldMap, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// The interface in the version that Wasmtime implements.
const TYPES: &str = "wasi:http/types@0.2.12";

/// A response, and the future of the connection behind it.
type Answered = Result<(Response<WasiBody>, Connection), Error>;
type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// HTTP requests of one task.
pub(crate) struct TaskHttp {
    context: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    shared: Arc<Shared>,
    /// For the operator: the component needs a grant that there isn't.
    missing: Option<String>,
}

/// What the task shares with its requests under way, and with what counts their bytes.
struct Shared {
    config: Arc<TaskConfig>,
    log: GuestLog,
    counts: Counts,
    /// Records the requests for the task's trace, if traces are exported.
    recorder: Option<Arc<Mutex<CallRecorder>>>,
    /// A permit for each connection that may be open. Closed when the task ends.
    connections: Arc<Semaphore>,
}

impl Shared {
    fn meter(self: &Arc<Self>, direction: Direction) -> Meter {
        Meter { shared: self.clone(), direction }
    }

    /// Counts and logs a request that is refused.
    fn refuse(&self, target: &Target, why: &str) -> Error {
        self.counts.refusals.fetch_add(1, Ordering::Relaxed);
        self.log.call_refused("http", &shorten(&target.to_string()), why);
        Error::HttpRequestDenied
    }
}

impl TaskHttp {
    pub(crate) fn new(
        config: &Arc<TaskConfig>,
        log: &GuestLog,
        recorder: Option<Arc<Mutex<CallRecorder>>>,
    ) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(config.limits.http_header_bytes);
        let shared = Arc::new(Shared {
            config: config.clone(),
            log: log.clone(),
            counts: Counts::default(),
            recorder,
            connections: Arc::new(Semaphore::new(config.limits.http_connections())),
        });
        Self { context, hooks: Hooks { shared, missing: None } }
    }

    pub(crate) fn usage(&self) -> HttpUsage {
        let Counts { requests, sent, received, status, .. } = &self.hooks.shared.counts;
        let [requests, bytes_sent, bytes_received] =
            [requests, sent, received].map(|count| count.load(Ordering::Relaxed));
        HttpUsage { requests, bytes_sent, bytes_received, status: status.get().copied() }
    }

    /// Returns what counts the bytes of a service's request or of its response.
    pub(crate) fn meter(&self, direction: Direction) -> Meter {
        self.hooks.shared.meter(direction)
    }

    /// Returns the number of requests that were refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.hooks.shared.counts.refusals.load(Ordering::Relaxed)
    }
}

impl TaskState {
    /// Ends a task whose requests have exceeded a limit, and records the lack of a grant.
    pub(crate) fn check_http(&mut self) -> wasmtime::Result<()> {
        if let Some(missing) = self.http.hooks.missing.take() {
            self.host_failed("http", Access::Write, HostErrorKind::NotGranted, missing);
        }
        self.http.hooks.shared.counts.exceeded.get().map_or(Ok(()), |limit| Err(LimitHit(*limit).into()))
    }
}

impl TaskState {
    /// Sets the values of a header. Ends a task that sets more values than headers may have bytes for: Wasmtime converts
    /// all of them before it counts their bytes.
    fn set_header(
        &mut self,
        fields: Resource<FieldMap>,
        name: String,
        values: Vec<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), types::HeaderError>> {
        if values.len() > self.config.limits.http_header_bytes / size_of::<HeaderValue>() {
            return Err(LimitHit(Limit::HttpHeaderSize).into());
        }
        let mut http = self.http();
        match http.set(fields, name, values) {
            Ok(()) => Ok(Ok(())),
            Err(error) => http.convert_header_error(error).map(Err),
        }
    }
}

impl WasiHttpView for TaskState {
    /// Marks a host call. Each host function of HTTP begins with this.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.host_called = true;
        let TaskHttp { context, hooks } = &mut self.http;
        WasiHttpCtxView { ctx: context, table: &mut self.table, hooks }
    }
}

/// Adds the client side of HTTP to a linker that allows shadowing.
pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // Wasmtime keeps these texts however long they are, for each request that a guest builds.
    type Setting<T> = (Resource<HostOutgoingRequest>, T);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, TaskState>, (request, method): Setting<types::Method>| {
            let text = if let types::Method::Other(text) = &method { Some(text) } else { None };
            let fits = fits(text);
            let mut http = store.data_mut().http();
            Ok((if fits { http.set_method(request, method)? } else { Err(()) },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, TaskState>, (request, text): Setting<Option<String>>| {
            let mut http = store.data_mut().http();
            Ok((if fits(text.as_ref()) { http.set_authority(request, text)? } else { Err(()) },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, TaskState>, (request, text): Setting<Option<String>>| {
            let mut http = store.data_mut().http();
            Ok((if fits(text.as_ref()) { http.set_path_with_query(request, text)? } else { Err(()) },))
        },
    )?;
    type Values = (Resource<FieldMap>, String, Vec<Vec<u8>>);
    types.func_wrap(
        "[method]fields.set",
        |mut store: StoreContextMut<'_, TaskState>, (fields, name, values): Values| {
            Ok((store.data_mut().set_header(fields, name, values)?,))
        },
    )
}

/// Returns whether a text isn't too long for a request.
fn fits(text: Option<&String>) -> bool {
    text.is_none_or(|text| text.len() <= Limits::HTTP_TEXT_BYTES)
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // A response names its trailers.
        let names_trailers = self.shared.config.requests.is_some();
        Arc::new(move |name| is_forbidden(name) && !(names_trailers && *name == TRAILER))
    }

    /// The header is set from the checked target.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        Limits::HTTP_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        match self.permitted(&request) {
            Ok((grant, target)) => {
                let shared = self.shared.clone();
                let timeouts = Timeouts::of(options, shared.config.limits.http_timeout);
                // The threads that own connections carry it out. It is abandoned with the guest's future.
                let io = shared.config.io.clone();
                let exchange = Exchange { shared, grant, target, timeouts };
                Box::new(async move {
                    let work = AbortOnDropHandle::new(io.spawn(exchange.carry_out(request)));
                    work.await.unwrap_or_else(|error| Err(Error::InternalError(Some(error.to_string()))))
                })
            }
            Err(error) => Box::new(ready(Err(error))),
        }
    }
}

/// Returns whether a guest may not set a header: those of the connection, of proxies, and `Host`.
fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name)
        || [TE, TRAILER].contains(name)
        || name.as_str().starts_with("proxy-")
}

impl Drop for Hooks {
    /// Ends the requests that wait for a connection: none begins to connect while those before it are being closed.
    fn drop(&mut self) {
        self.shared.connections.close();
    }
}

impl Hooks {
    /// Counts a request, and checks whether it is granted.
    fn permitted(&mut self, request: &Request<WasiBody>) -> Result<(HttpGrant, Target), Error> {
        let Shared { config, counts, .. } = &*self.shared;
        let requests = counts.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if requests > config.limits.http_requests {
            return Err(counts.exceed(Limit::HttpRequests).into_wasi());
        }
        let Some(target) = Target::of(request.uri()) else {
            config.calls.requested(CallResult::Invalid);
            return Err(Error::HttpRequestUriInvalid);
        };
        let Some(grant) = config.grants.http.clone() else {
            self.missing.get_or_insert_with(|| {
                let host = target.host();
                format!("the component requests {host:?} over HTTP, which is not granted: add --allow-http HOST (granted: none)")
            });
            return Err(self.shared.refuse(&target, "no such grant"));
        };
        let why = if request.method() == Method::CONNECT {
            "CONNECT would make a tunnel of the connection"
        } else if !grant.allows(&target) {
            "no rule of --allow-http covers it"
        } else {
            return Ok((grant, target));
        };
        config.calls.requested(CallResult::AccessDenied);
        Err(self.shared.refuse(&target, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::grant::Grants;
    use crate::task::host::tests::state;

    #[tokio::test]
    async fn more_values_of_a_header_than_fit_end_the_task_before_any_is_converted() {
        let mut store = state(Limits::default(), Grants::default());
        let task = store.data_mut();
        let mut set = |mut values: Vec<Vec<u8>>| {
            values.push(b"line\nfeed".to_vec());
            let fields = types::HostFields::new(&mut task.http()).expect("fits");
            task.set_header(fields, "a".into(), values)
        };
        let refused = set(vec![Vec::new(); 10]).expect("no limit");
        assert!(matches!(refused, Err(types::HeaderError::InvalidSyntax)));
        let ended =
            set(vec![Vec::new(); 10_000]).expect_err("too many").downcast_ref().map(|LimitHit(limit)| *limit);
        assert_eq!(ended, Some(Limit::HttpHeaderSize));
    }
}
