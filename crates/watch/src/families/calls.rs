//! The families of tasks' calls to stores, queues and key-value buckets, by alias, and of their HTTP requests.

use super::{Sample, family, summed};
use prometheus::proto::{MetricFamily, MetricType};
use wasmrun_runtime::task::calls::{BucketCall, CallResult, HostCalls, StoreCall};

/// A counter: its name, its help and its samples.
type Counted<'a> = (&'static str, &'static str, Vec<Sample<'a>>);

/// Returns the families of these components. Counters that are zero are included, so that the first call is seen as a
/// change. Calls of several components to an alias are counted together.
pub(crate) fn of_calls<'a>(components: impl Iterator<Item = &'a HostCalls>) -> Vec<MetricFamily> {
    let all: Vec<&HostCalls> = components.collect();
    let counted = [of_http(&all), of_stores(&all), of_buckets(&all)].into_iter().flatten();
    let known = counted.chain(of_queues(&all)).filter(|(_, _, samples)| !samples.is_empty());
    known.map(|(name, help, samples)| family(name, help, MetricType::COUNTER, summed(samples))).collect()
}

fn of_http<'a>(all: &[&'a HostCalls]) -> [Counted<'a>; 3] {
    let http = || all.iter().filter_map(|calls| calls.http());
    let requests = http().flat_map(|http| {
        CallResult::ALL
            .iter()
            .map(|&result| (vec![("result", result.as_str())], http.requests(result) as f64))
    });
    let of = |number: u64| (Vec::new(), number as f64);
    [
        (
            "wasmrun_http_requests_total",
            "HTTP requests of tasks, by result: ok for any response.",
            requests.collect(),
        ),
        (
            "wasmrun_http_sent_bytes_total",
            "Bytes of HTTP requests that tasks sent, heads and bodies.",
            http().map(|http| of(http.bytes_sent())).collect(),
        ),
        (
            "wasmrun_http_received_bytes_total",
            "Bytes of HTTP responses that tasks received, heads and bodies.",
            http().map(|http| of(http.bytes_received())).collect(),
        ),
    ]
}

fn of_stores<'a>(all: &[&'a HostCalls]) -> [Counted<'a>; 3] {
    let stores = || all.iter().flat_map(|calls| calls.stores());
    let of = |alias, number: u64| (vec![("store", alias)], number as f64);
    let answered = stores().flat_map(|(alias, store)| {
        StoreCall::ALL.iter().flat_map(move |&call| {
            answers(("store", alias), call.as_str(), move |result| store.calls(call, result))
        })
    });
    [
        (
            "wasmrun_store_calls_total",
            "Answered calls of tasks to stores, by alias of the store, call and result.",
            answered.collect(),
        ),
        (
            "wasmrun_store_read_bytes_total",
            "Bytes of object content that tasks read, by alias of the store.",
            stores().map(|(alias, store)| of(alias, store.bytes_read())).collect(),
        ),
        (
            "wasmrun_store_written_bytes_total",
            "Bytes of object content that tasks wrote, by alias of the store, unfinished objects included.",
            stores().map(|(alias, store)| of(alias, store.bytes_written())).collect(),
        ),
    ]
}

fn of_buckets<'a>(all: &[&'a HostCalls]) -> [Counted<'a>; 3] {
    let buckets = || all.iter().flat_map(|calls| calls.buckets());
    let of = |alias, number: u64| (vec![("bucket", alias)], number as f64);
    let answered = buckets().flat_map(|(alias, bucket)| {
        BucketCall::ALL.iter().flat_map(move |&call| {
            answers(("bucket", alias), call.as_str(), move |result| bucket.calls(call, result))
        })
    });
    [
        (
            "wasmrun_bucket_calls_total",
            "Answered calls of tasks to key-value buckets, by alias of the bucket, call and result; a batch is one call.",
            answered.collect(),
        ),
        (
            "wasmrun_bucket_read_bytes_total",
            "Bytes of values that tasks read, by alias of the bucket.",
            buckets().map(|(alias, bucket)| of(alias, bucket.bytes_read())).collect(),
        ),
        (
            "wasmrun_bucket_written_bytes_total",
            "Bytes of keys and values that tasks wrote, by alias of the bucket.",
            buckets().map(|(alias, bucket)| of(alias, bucket.bytes_written())).collect(),
        ),
    ]
}

fn of_queues<'a>(all: &[&'a HostCalls]) -> [Counted<'a>; 2] {
    let queues = || all.iter().flat_map(|calls| calls.queues());
    let sent = queues().flat_map(|(alias, queue)| {
        CallResult::ALL.iter().map(move |&result| {
            (vec![("queue", alias), ("result", result.as_str())], queue.messages(result) as f64)
        })
    });
    [
        (
            "wasmrun_sent_messages_total",
            "Messages that tasks sent, by alias of the queue and result.",
            sent.collect(),
        ),
        (
            "wasmrun_sent_bytes_total",
            "Bytes of messages that tasks sent, attributes included, by alias of the queue.",
            queues().map(|(alias, queue)| (vec![("queue", alias)], queue.bytes() as f64)).collect(),
        ),
    ]
}

/// Returns the samples of one kind of call to a backend with this alias, one for each result.
fn answers<'a>(
    alias: (&'static str, &'a str),
    call: &'static str,
    count: impl Fn(CallResult) -> u64,
) -> impl Iterator<Item = Sample<'a>> {
    CallResult::ALL
        .iter()
        .map(move |&result| (vec![alias, ("call", call), ("result", result.as_str())], count(result) as f64))
}
