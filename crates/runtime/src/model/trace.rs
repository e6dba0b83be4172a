//! Distributed tracing: reads a message's trace context and passes it on in the messages that its task sends.
//!
//! Two forms are understood: W3C's "Trace Context" in the message attributes `traceparent` and `tracestate`, and the
//! AWS X-Ray header that SQS carries next to a message ("Tracing header" in X-Ray's developer guide). A task passes on
//! its trace in the forms in which it arrived. A malformed trace is ignored and is never an error.
//!
//! If traces are exported, a task whose message has no trace starts one.

use crate::model::message::{
    Attribute, AttributeValue, MAX_ATTRIBUTES, MAX_MESSAGE_BYTES, Message, OutgoingMessage,
};
use sha2::{Digest, Sha256};
use std::time::UNIX_EPOCH;
use tracing::Span;

/// The attribute that holds the trace ID and the sender's span ID.
const TRACEPARENT: &str = "traceparent";
/// The attribute that holds data of tracing systems.
const TRACESTATE: &str = "tracestate";
/// W3C's standard allows longer values to be dropped.
const MAX_STATE_BYTES: usize = 512;
/// The longest X-Ray header that is parsed; real ones are much shorter.
const MAX_HEADER_BYTES: usize = 1024;

/// The share of new traces that is exported. Whether a trace is part of it depends on its ID alone, as with
/// OpenTelemetry's sampler `TraceIdRatioBased`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling(f64);

impl Sampling {
    /// All new traces.
    pub const ALL: Self = Self(1.0);

    /// Creates a share of 0 to 1. Returns `None` for other numbers.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    fn includes(self, id: u128) -> bool {
        // The lower 63 bits of the ID, compared with the share of their range.
        let position = (id as u64 >> 1) as f64 / (1_u64 << 63) as f64;
        position < self.0
    }
}

/// Returns the trace ID of a message whose sender records the trace, so that it can be looked up.
pub(super) fn recorded(message: &Message) -> Option<u128> {
    let (w3c, xray) = senders(message);
    w3c.or(xray).filter(|sender| sender.sampled).map(|sender| sender.id)
}

/// A task's position in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Trace ID of the request; not 0.
    id: u128,
    /// Span ID of the sender, if it's known.
    parent: Option<u64>,
    /// Span ID of the task itself; not 0.
    span: u64,
    /// Whether the sender records the trace.
    sampled: bool,
    /// `Some` if the trace came in W3C's form, with its `tracestate` if there was one.
    w3c: Option<Option<String>>,
    /// Whether the trace came in X-Ray's form.
    xray: bool,
}

impl Trace {
    /// Returns the trace of a message, with a span for the task of this delivery. If the two forms differ, W3C's wins.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let (w3c, xray) = senders(message);
        let Sender { id, span: parent, sampled } = w3c.or(xray)?;
        let state = message.attribute_text(TRACESTATE).filter(|state| {
            (1..=MAX_STATE_BYTES).contains(&state.len()) && state.bytes().all(|b| (b' '..=b'~').contains(&b))
        });
        Some(Self {
            id,
            parent,
            span: span_of(message),
            sampled,
            w3c: w3c.map(|_| state.map(str::to_owned)),
            xray: xray.is_some(),
        })
    }

    /// Returns the trace of a message. If the message has none and traces are exported, starts one: each delivery of the
    /// message belongs to the same trace.
    pub(crate) fn of_task(message: &Message, sampling: Option<Sampling>) -> Option<Self> {
        Self::of(message).or_else(|| Some(Self::start(message, sampling?)))
    }

    /// Returns a span that adds the trace of a message to the log lines of its task, or an empty span.
    pub(crate) fn task_span(message: &Message, sampling: Option<Sampling>) -> Span {
        Self::of_log(message, sampling).map_or_else(Span::none, |trace| trace.span())
    }

    /// Returns the trace that log lines name. One that the task starts itself and that isn't recorded is left out, as
    /// nothing else would name it.
    fn of_log(message: &Message, sampling: Option<Sampling>) -> Option<Self> {
        Self::of(message).or_else(|| Some(Self::start(message, sampling?)).filter(Self::is_sampled))
    }

    fn start(message: &Message, sampling: Sampling) -> Self {
        let id = new_id(message);
        let sampled = sampling.includes(id);
        Self { id, parent: None, span: span_of(message), sampled, w3c: Some(None), xray: false }
    }

    /// Returns the trace ID.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Returns the span ID of the task.
    pub fn span_id(&self) -> u64 {
        self.span
    }

    /// Returns the span ID of the sender, if it's known.
    pub fn parent_id(&self) -> Option<u64> {
        self.parent
    }

    /// Returns whether the trace is recorded: the sender decides, or the sampling if the task started the trace.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    fn span(&self) -> Span {
        let (trace_id, span_id) = (format!("{:032x}", self.id), format!("{:016x}", self.span));
        match self.parent {
            Some(parent) => {
                tracing::error_span!("task", trace_id, span_id, parent_id = format!("{parent:016x}"))
            }
            None => tracing::error_span!("task", trace_id, span_id),
        }
    }

    /// Adds the trace to a message that the task sends, unless the guest set a trace itself or the message has no room
    /// for it. A guest that copies the attributes of its message set none: the task becomes the sender.
    pub(crate) fn pass_on(&self, message: &mut OutgoingMessage) {
        if self.xray {
            message.trace_header = Some(self.xray_header());
        }
        let Some(state) = &self.w3c else { return };
        let own = message.attributes.iter_mut().find(|attribute| attribute.name == TRACEPARENT);
        if let Some(AttributeValue::Text(text)) = own.map(|attribute| &mut attribute.value)
            && traceparent(text).is_some_and(|sender| self.is_from(sender))
        {
            *text = self.traceparent();
            return;
        }
        if message.attributes.iter().any(|attribute| matches!(&*attribute.name, TRACEPARENT | TRACESTATE)) {
            return;
        }
        let text =
            |name: &str, value: String| Attribute { name: name.into(), value: AttributeValue::Text(value) };
        let parent = text(TRACEPARENT, self.traceparent());
        let state = state.clone().map(|state| text(TRACESTATE, state));
        for attribute in std::iter::once(parent).chain(state) {
            message.attributes.push(attribute);
            if message.attributes.len() > MAX_ATTRIBUTES || message.billed_bytes() > MAX_MESSAGE_BYTES {
                message.attributes.pop();
                return;
            }
        }
    }

    fn is_from(&self, sender: Sender) -> bool {
        (self.id, self.parent, self.sampled) == (sender.id, sender.span, sender.sampled)
    }

    /// Returns the task's position in W3C's form.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.id, self.span, u8::from(self.sampled))
    }

    fn xray_header(&self) -> String {
        let (time, rest) = (self.id >> 96, self.id & ((1 << 96) - 1));
        format!("Root=1-{time:08x}-{rest:024x};Parent={:016x};Sampled={}", self.span, u8::from(self.sampled))
    }
}

/// The trace context that a sender set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sender {
    id: u128,
    span: Option<u64>,
    sampled: bool,
}

/// Returns the trace contexts of a message: W3C's and X-Ray's.
fn senders(message: &Message) -> (Option<Sender>, Option<Sender>) {
    let w3c = message.attribute_text(TRACEPARENT).and_then(traceparent);
    (w3c, message.trace_header.as_deref().and_then(xray_header))
}

/// Parses `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`; later versions may append more fields.
fn traceparent(text: &str) -> Option<Sender> {
    let mut fields = text.split('-');
    let (version, id, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let version = hex::<2>(version)?;
    if version == 0xff || version == 0 && fields.next().is_some() {
        return None;
    }
    let sampled = hex::<2>(flags)? & 1 == 1;
    let span = u64::try_from(hex::<16>(span)?).ok().filter(|&span| span != 0)?;
    Some(Sender { id: hex::<32>(id).filter(|&id| id != 0)?, span: Some(span), sampled })
}

/// Parses `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`. The fields may come in any
/// order, and others are ignored.
fn xray_header(text: &str) -> Option<Sender> {
    if text.len() > MAX_HEADER_BYTES {
        return None;
    }
    let field = |name: &str| {
        text.split(';').filter_map(|field| field.trim().split_once('=')).find(|(key, _)| *key == name)
    };
    let mut root = field("Root")?.1.split('-');
    let ("1", time, rest, None) = (root.next()?, root.next()?, root.next()?, root.next()) else {
        return None;
    };
    let id = hex::<8>(time)? << 96 | hex::<24>(rest)?;
    let span = field("Parent").and_then(|(_, span)| u64::try_from(hex::<16>(span)?).ok());
    let sampled = field("Sampled").is_some_and(|(_, sampled)| sampled == "1");
    Some(Sender { id, span: span.filter(|&span| span != 0), sampled }).filter(|sender| sender.id != 0)
}

/// Parses exactly `DIGITS` lower-case hexadecimal digits.
fn hex<const DIGITS: usize>(text: &str) -> Option<u128> {
    let is_hex = text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Derives a span ID from a delivery. The same delivery gets the same ID, so that a deterministic task sends the same
/// messages each time.
fn span_of(message: &Message) -> u64 {
    let digest = Sha256::new().chain_update(message.receive_count.to_be_bytes()).chain_update(&message.id);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    u64::from_be_bytes(bytes).max(1)
}

/// Derives the ID of a new trace from a message. IDs of messages alone may occur in several queues.
fn new_id(message: &Message) -> u128 {
    let sent = message.sent_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let digest = Sha256::new().chain_update(sent.as_nanos().to_be_bytes()).chain_update(&message.id);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    u128::from_be_bytes(bytes).max(1)
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
