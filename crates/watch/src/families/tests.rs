use super::*;
use crate::health::tests::healthy;
use crate::metrics::Metrics;
use wasmrun_runtime::ports::queue::Depth;
use wasmrun_runtime::task::calls::HostCalls;

#[test]
fn a_value_that_is_not_known_has_no_sample() {
    let text = |status: &Status| Metrics::default().gather(of_status(status)).text();
    assert!(!text(&healthy()).contains("wasmrun_queue_"));
    let depth = Depth { visible: 3, in_flight: 2, delayed: 1 };
    let known = Status {
        depth: Some((depth, Duration::from_secs(4))),
        waited: Some(Duration::from_millis(1500)),
        ..healthy()
    };
    let known = text(&known);
    for sample in [
        "wasmrun_queue_messages{state=\"visible\"} 3\n",
        "wasmrun_queue_messages{state=\"in-flight\"} 2\n",
        "wasmrun_queue_messages_age_seconds 4\n",
        "wasmrun_queue_age_seconds 1.5\n",
        "wasmrun_instances_max 8\n",
        "wasmrun_ready 1\n",
        "wasmrun_circuit_open{cause=\"backend\"} 0\n",
        "wasmrun_waiting_messages 0\n",
        "wasmrun_held_messages 0\n",
    ] {
        assert!(known.contains(sample), "no {sample} in {known}");
    }
}

#[test]
fn a_component_may_be_called_anything() {
    let about = About {
        version: "1.2.3",
        queues: vec!["sqlite:q".into(), "https://sqs.eu-west-1.amazonaws.com/1/r".into()],
        started_at: UNIX_EPOCH + Duration::from_secs(7),
    };
    let text = Metrics::default().gather(of_program(&about, "a\"b\\c\nd.wasm", &[true, false, true])).text();
    for sample in [
        r#"{version="1.2.3",component="a\"b\\c\nd.wasm"} 1"#,
        "wasmrun_compile_cache_requests_total{result=\"hit\"} 2\n",
        "process_start_time_seconds 7\n",
        "wasmrun_queue_info{queue=\"q, r\"} 1\n",
    ] {
        assert!(text.contains(sample), "no {sample} in {text}");
    }
}

#[test]
fn a_worker_without_stores_has_no_metrics_of_them() {
    assert!(of_calls([HostCalls::default()].iter()).is_empty());
}

#[test]
fn samples_with_the_same_labels_are_one_sample() {
    let sample = |alias, value| (vec![("store", alias), ("call", "get")], value);
    let summed = summed(vec![sample("in", 1.0), sample("out", 2.0), sample("in", 4.0)]);
    assert_eq!(summed, [sample("in", 5.0), sample("out", 2.0)]);
}
