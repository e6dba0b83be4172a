//! Answers that SQS may give and no stand-in does: those that its documentation describes, and worse.

use crate::harness::{
    Answer, Call, Command, ScriptedSqs, World, field, guest, partly, refusal, signed, wait_until,
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// A worker on such a queue, with local stores. Its guests send to the same server.
fn worker(world: &World, queue: &ScriptedSqs) -> Command {
    let command = world
        .wasmrun(["run", "--queue", &queue.url()])
        .arg(guest("misbehave"))
        .args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"])
        .args(["--send", &format!("next={}", queue.url().replace("jobs", "next"))])
        .args(["--dead-letter", &queue.url().replace("jobs", "dead")])
        .logging_tasks();
    signed(command)
}

fn bodies(bodies: &[&str]) -> Vec<Value> {
    bodies.iter().map(|body| json!(body)).collect()
}

/// Whether the call renews leases, rather than releasing messages.
fn renews(call: &Call<'_>) -> bool {
    call.operation == "ChangeMessageVisibilityBatch" && call.input["Entries"][0]["VisibilityTimeout"] != 0
}

#[test]
fn a_task_whose_message_is_not_in_flight_any_more_is_cancelled_and_its_message_left_alone() {
    let world = World::new();
    let queue = ScriptedSqs::holding(2, bodies(&["sleep 25000"]), |call| {
        renews(call).then(|| partly(call.input, &[0], "MessageNotInflight", true))
    });
    let output = worker(&world, &queue).start();
    output.until_logged("task did not complete");
    let output = output.stop();
    assert_eq!(output.summary()["outcomes"]["cancelled"], 1, "{output}");
    assert!(queue.asked("DeleteMessageBatch").is_empty(), "{output}");
}

#[test]
fn a_task_may_finish_though_its_lease_expired_and_its_message_is_deleted_if_it_still_can_be() {
    let world = World::new();
    let queue = ScriptedSqs::holding(2, bodies(&["sleep 4000"]), |call| {
        renews(call).then(|| partly(call.input, &[0], "MessageNotInflight", true))
    });
    let output = worker(&world, &queue).args(["--until-empty", "--on-lease-expired", "finish"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert_eq!(queue.receipts("DeleteMessageBatch"), [["receipt-1"]], "{output}");
}

#[test]
fn of_a_batch_of_deletions_only_those_that_failed_are_tried_again() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, bodies(&["ok"; 3]), |call| {
        // The scripted queue doesn't carry out a scripted answer. Messages that it reports as deleted must still not be
        // deleted again.
        let first = call.operation == "DeleteMessageBatch" && call.before == 0;
        first.then(|| partly(call.input, &[0], "InternalError", false))
    });
    let times = || {
        let mut times: HashMap<String, usize> = HashMap::new();
        for receipt in queue.receipts("DeleteMessageBatch").into_iter().flatten() {
            *times.entry(receipt).or_default() += 1;
        }
        times
    };
    let worker = worker(&world, &queue).args(["--instances", "3"]).start();
    wait_until("all have been tried, and one again", || times().values().sum::<usize>() >= 4);
    let output = worker.stop();
    let first = queue.receipts("DeleteMessageBatch")[0][0].clone();
    for (receipt, times) in times() {
        assert_eq!(times, if receipt == first { 2 } else { 1 }, "{receipt}: {output}");
    }
    assert_eq!(output.summary()["outcomes"]["completed"], 3, "{output}");
}

#[test]
fn a_queue_that_throttles_or_has_too_many_messages_in_flight_costs_time_only() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, bodies(&["ok"]), |call| match (call.operation, call.before) {
        ("ReceiveMessage", 0) => Some(refusal(403, "OverLimit")),
        // As SQS words the error, and as other services do. The SDK may retry these calls by itself.
        ("ReceiveMessage", 1) => Some(refusal(400, "AWS.SimpleQueueService.RequestThrottled")),
        ("ReceiveMessage", 2) => Some(refusal(400, "RequestThrottled")),
        ("ReceiveMessage", 3) => Some(refusal(400, "ExpiredTokenException")),
        _ => None,
    });
    let output = worker(&world, &queue).arg("--until-empty").succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert_eq!(output.summary()["tasks"], 1, "{output}");
    assert!(output.stderr.iter().any(|line| line.contains("OverLimit")), "{output}");
    assert_eq!(queue.depth(), [0, 0]);
}

#[test]
fn a_queue_whose_key_or_right_to_send_is_refused_costs_time_only() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, bodies(&["ok"]), |call| match (call.operation, call.before) {
        ("ReceiveMessage", 0) => Some(refusal(400, "KmsAccessDenied")),
        _ => None,
    });
    let output = worker(&world, &queue).arg("--until-empty").succeeds();
    assert_eq!((&output.summary()["outcomes"]["completed"], queue.depth()), (&json!(1), [0, 0]), "{output}");

    let queue = ScriptedSqs::holding(30, bodies(&["send 1"]), |call| match (call.operation, call.before) {
        ("SendMessageBatch", 0) => Some(partly(call.input, &[0], "KmsAccessDenied", true)),
        ("SendMessageBatch", 1) => Some(refusal(403, "AccessDeniedException")),
        _ => None,
    });
    let output = worker(&world, &queue).args(["--until-empty", "--backoff", "0s..0s"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert_eq!(output.summary()["outcomes"]["host-failed"], 2, "{output}");
    assert_eq!((&output.summary()["dead_lettered"], queue.depth()), (&json!(0), [0, 0]), "{output}");
}

#[test]
fn a_message_that_cannot_be_dead_lettered_now_is_kept() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, bodies(&["reject never"]), |call| {
        let first = call.operation == "SendMessageBatch" && call.before == 0;
        first.then(|| partly(call.input, &[0], "InternalError", false))
    });
    let output = worker(&world, &queue).args(["--until-empty", "--backoff", "0s..0s"]).succeeds();
    assert_eq!(output.summary()["dead_lettered"], 1, "{output}");
    assert_eq!(queue.asked("SendMessageBatch").len(), 2, "{output}");
    assert_eq!(queue.asked("DeleteMessageBatch").len(), 1, "{output}");
}

#[test]
fn a_renewal_that_hangs_does_not_cost_the_message() {
    let world = World::new();
    let queue = ScriptedSqs::holding(4, bodies(&["sleep 7000"]), |call| {
        (renews(call) && call.before == 0).then_some(Answer::Never)
    });
    let output = worker(&world, &queue).arg("--until-empty").succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert!(output.stderr.iter().any(|line| line.contains("cannot renew the lease")), "{output}");
}

#[test]
fn each_receive_asks_for_the_visibility_timeout_by_which_leases_are_renewed() {
    let world = World::new();
    // The queue's setting is lowered after the worker's start: then messages would come again before a renewal.
    let queue = ScriptedSqs::holding(30, bodies(&["ok", "ok"]), |_| None);
    let output = worker(&world, &queue).args(["--instances", "1", "--until-empty"]).succeeds();
    let receives = queue.asked("ReceiveMessage");
    assert!(receives.len() > 2, "{output}");
    assert!(receives.iter().all(|call| call["VisibilityTimeout"] == 30), "{receives:?}");
}

#[test]
fn what_a_server_returns_beyond_the_number_asked_for_is_released() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, [], |call| {
        let message = |receipt: &str| json!({"MessageId": receipt, "ReceiptHandle": receipt, "Body": "ok"});
        let both = json!({"Messages": [message("asked"), message("surplus")]});
        let is_first = call.operation == "ReceiveMessage" && call.before == 0;
        is_first.then(|| {
            assert_eq!(call.input["MaxNumberOfMessages"], 1);
            Answer::new(200, both.to_string()).with("content-type", "application/x-amz-json-1.0")
        })
    });
    let output = worker(&world, &queue).args(["--instances", "1", "--until-empty"]).succeeds();
    output.has_outcomes(&json!({"completed": 1}));
    assert_eq!(queue.receipts("DeleteMessageBatch"), [["asked"]], "{output}");
    assert_eq!(queue.receipts("ChangeMessageVisibilityBatch"), [["surplus"]], "{output}");
    assert_eq!(queue.asked("ChangeMessageVisibilityBatch")[0]["Entries"][0]["VisibilityTimeout"], 0);
}

#[test]
fn a_dead_letter_that_its_queue_refuses_for_its_size_is_sent_without_the_reason() {
    let world = World::new();
    let queue = ScriptedSqs::holding(30, bodies(&["reject it is wrong"]), |call| {
        let first = call.operation == "SendMessageBatch" && call.before == 0;
        first.then(|| refusal(400, "AWS.SimpleQueueService.BatchRequestTooLong"))
    });
    let output = worker(&world, &queue).arg("--until-empty").succeeds();
    assert_eq!(output.summary()["dead_lettered"], 1, "{output}");
    let sent = queue.asked("SendMessageBatch");
    let attributes: Vec<_> = sent
        .iter()
        .map(|call| call["Entries"][0]["MessageAttributes"].as_object().map_or(0, serde_json::Map::len))
        .collect();
    assert_eq!(attributes, [1, 0], "{output}");
    assert_eq!(queue.depth(), [0, 0], "{output}");
}

#[test]
fn a_worker_stops_in_time_though_its_queue_gives_no_answer() {
    let world = World::new();
    let queue =
        ScriptedSqs::holding(30, [], |call| (call.operation == "ReceiveMessage").then_some(Answer::Never));
    let worker = worker(&world, &queue).args(["--stop-timeout", "1s"]).start();
    wait_until("it receives", || !queue.asked("ReceiveMessage").is_empty());
    let output = worker.stop();
    assert_eq!(output.summary()["tasks"], 0, "{output}");
}

#[test]
fn a_trace_goes_through_the_task_to_what_it_sends() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let world = World::new();
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let attribute = |value: &str| json!({"DataType": "String", "StringValue": value});
    let messages = [
        json!({"Body": "send 1", "MessageAttributes": {
            "traceparent": attribute(&parent), "tracestate": attribute("vendor=1")}}),
        json!({"Body": "send 1", "Attributes": {
            "AWSTraceHeader": format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=1")}}),
        json!({"Body": "send 1", "MessageAttributes": {"traceparent": attribute("00-forged\n-01")}}),
    ];
    let queue = ScriptedSqs::holding(30, messages, |_| None);
    let output = worker(&world, &queue).args(["--until-empty", "--instances", "1"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 3, "{output}");
    let sent: Vec<Value> =
        queue.asked("SendMessageBatch").iter().map(|sent| sent["Entries"][0].clone()).collect();
    let [w3c, xray, none] = &sent[..] else { panic!("{sent:?}") };
    let passed = field(&w3c["MessageAttributes"]["traceparent"], "StringValue");
    assert!(passed.starts_with(&format!("00-{TRACE}-")) && passed != parent, "{passed}");
    assert_eq!(w3c["MessageAttributes"]["tracestate"]["StringValue"], "vendor=1");
    let header = field(&xray["MessageSystemAttributes"]["AWSTraceHeader"], "StringValue");
    assert!(header.starts_with(&format!("{ROOT};Parent=")) && header.ends_with(";Sampled=1"), "{header}");
    assert!(none["MessageAttributes"].is_null() && none["MessageSystemAttributes"].is_null(), "{none}");
    // The log lines of the task carry the trace too, with the span that was passed on.
    let completed = output.logs_of("task completed");
    assert_eq!(completed[0]["span"]["trace_id"], TRACE, "{output}");
    assert!(passed.contains(field(&completed[0]["span"], "span_id")), "{output}");
    assert!(completed[2]["span"].is_null(), "{output}");
}

#[test]
fn a_dead_letter_keeps_its_group_its_trace_and_the_types_of_its_attributes() {
    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let world = World::new();
    // Message groups on a standard queue make it a fair queue.
    let message = json!({
        "Body": "reject never",
        "Attributes": {"MessageGroupId": "tenant-7", "AWSTraceHeader": HEADER},
        "MessageAttributes": {
            "count": {"DataType": "Number.int", "StringValue": "5"},
            "raw": {"DataType": "Binary", "BinaryValue": "AAE="},
        },
    });
    let queue = ScriptedSqs::holding(30, [message], |_| None);
    let output = worker(&world, &queue).arg("--until-empty").succeeds();
    assert_eq!(output.summary()["dead_lettered"], 1, "{output}");
    let sent = &queue.asked("SendMessageBatch")[0]["Entries"][0];
    assert_eq!(sent["MessageGroupId"], "tenant-7");
    assert_eq!(sent["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"], HEADER);
    assert_eq!(sent["MessageAttributes"]["count"], json!({"DataType": "Number", "StringValue": "5"}));
    assert_eq!(sent["MessageAttributes"]["raw"], json!({"DataType": "Binary", "BinaryValue": "AAE="}));
}
