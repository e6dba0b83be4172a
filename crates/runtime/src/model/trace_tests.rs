use super::*;
use proptest::prelude::*;
use std::time::Duration;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

fn message(attributes: &[(&str, &str)], trace_header: Option<&str>) -> Message {
    let text = |&(name, value): &(&str, &str)| Attribute {
        name: name.into(),
        value: AttributeValue::Text(value.into()),
    };
    Message {
        attributes: attributes.iter().map(text).collect(),
        trace_header: trace_header.map(Into::into),
        ..Message::new("m", "x")
    }
}

fn sent_by(trace: &Trace, mut sent: OutgoingMessage) -> OutgoingMessage {
    sent.body = "y".into();
    trace.pass_on(&mut sent);
    assert_eq!(sent.validate(), Ok(()));
    sent
}

#[test]
fn a_trace_is_passed_on_in_the_form_in_which_it_came_with_the_task_as_the_sender() {
    let trace =
        Trace::of(&message(&[("traceparent", PARENT), ("tracestate", "a=1,b=2")], None)).expect("a trace");
    assert_eq!(trace.parent, Some(0xb7ad6b7169203331));
    let sent = sent_by(&trace, OutgoingMessage::default());
    assert_eq!(sent.trace_header, None);
    let [parent, state] = &sent.attributes[..] else { panic!("{sent:?}") };
    let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", trace.span);
    assert_eq!(parent.value, AttributeValue::Text(expected));
    assert_eq!(state.value, AttributeValue::Text("a=1,b=2".into()));

    let trace = Trace::of(&message(&[], Some(HEADER))).expect("a trace");
    let sent = sent_by(&trace, OutgoingMessage::default());
    assert!(sent.attributes.is_empty());
    let expected = format!("Root=1-5759e988-bd862e3fe1be46a994272793;Parent={:016x};Sampled=1", trace.span);
    assert_eq!(sent.trace_header, Some(expected));
}

#[test]
fn only_a_trace_that_its_sender_records_can_be_looked_up() {
    let id = Some(0x0af7651916cd43dd8448eb211c80319c);
    let unsampled = PARENT.replace("-01", "-00");
    assert_eq!(recorded(&message(&[("traceparent", PARENT)], None)), id);
    assert_eq!(recorded(&message(&[("traceparent", &unsampled)], None)), None);
    assert_eq!(recorded(&message(&[], Some(HEADER))), Some(0x5759e988bd862e3fe1be46a994272793));
    assert_eq!(recorded(&message(&[], Some("Root=1-5759e988-bd862e3fe1be46a994272793"))), None);
    assert_eq!(recorded(&message(&[], None)), None);
}

#[test]
fn the_same_delivery_has_the_same_span_and_the_next_one_another() {
    let mut message = message(&[("traceparent", PARENT)], None);
    let first = Trace::of(&message);
    assert_eq!(first, Trace::of(&message));
    message.receive_count = 2;
    assert_ne!(first, Trace::of(&message));
}

#[test]
fn a_message_without_a_trace_starts_one_if_traces_are_exported() {
    let all = Sampling::new(1.0);
    let mut message = message(&[], None);
    assert_eq!(Trace::of_task(&message, None), None);
    let first = Trace::of_task(&message, all).expect("a trace");
    assert_eq!((first.parent, first.sampled), (None, true));
    message.receive_count = 2;
    let second = Trace::of_task(&message, all).expect("a trace");
    assert_eq!(second.id, first.id);
    assert_ne!(second.span, first.span);
    message.sent_at += Duration::from_millis(1);
    assert_ne!(Trace::of_task(&message, all).expect("a trace").id, first.id);
    let sent = sent_by(&first, OutgoingMessage::default());
    let value = format!("00-{:032x}-{:016x}-01", first.id, first.span);
    assert_eq!(sent.attributes[0].value, AttributeValue::Text(value));
}

#[test]
fn a_share_of_the_new_traces_is_recorded_and_a_sender_decides_for_its_own() {
    let sampled = |share: f64| {
        let sampling = Sampling::new(share);
        (0..10_000)
            .filter(|number| {
                let message = Message::new(number.to_string(), "x");
                Trace::of_task(&message, sampling).is_some_and(|trace| trace.sampled)
            })
            .count()
    };
    assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
    assert!((800..1200).contains(&sampled(0.1)), "{}", sampled(0.1));
    assert_eq!([-0.1, 1.1, f64::NAN].map(Sampling::new), [None; 3]);
    let unsampled = PARENT.replace("-01", "-00");
    let of_sender = message(&[("traceparent", &unsampled)], None);
    assert!(!Trace::of_task(&of_sender, Sampling::new(1.0)).expect("a trace").sampled);
}

#[test]
fn log_lines_name_each_trace_that_came_and_the_new_ones_that_are_recorded() {
    let named = |message: &Message, share: f64| Trace::of_log(message, Sampling::new(share)).is_some();
    let without_parent = message(&[], Some("Root=1-5759e988-bd862e3fe1be46a994272793"));
    assert!(named(&without_parent, 0.0));
    let new = message(&[], None);
    assert!(named(&new, 1.0) && !named(&new, 0.0));
    assert_eq!(Trace::of_log(&new, None), None);
}

#[test]
fn what_is_not_well_formed_is_no_trace() {
    let long = format!("{PARENT}{}", "x".repeat(2000));
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-üaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        &long,
    ] {
        assert_eq!(Trace::of(&message(&[("traceparent", text)], None)), None, "{text}");
    }
    for header in
        ["", "Root=", "Root=1-1-1", "Parent=53995c3f42cd8ad8", "Root=1-00000000-000000000000000000000000"]
    {
        assert_eq!(Trace::of(&message(&[], Some(header))), None, "{header}");
    }
    let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
    assert!(Trace::of(&message(&[("traceparent", later)], None)).is_some(), "later versions may have more");
    let alone = Trace::of(&message(&[], Some("Root=1-5759e988-bd862e3fe1be46a994272793"))).expect("a trace");
    assert_eq!((alone.parent, alone.sampled), (None, false));
}

#[test]
fn a_guest_that_copies_its_messages_attributes_sends_from_its_own_task() {
    let trace = Trace::of(&message(&[("traceparent", PARENT)], None)).expect("a trace");
    let copied = message(&[("traceparent", PARENT), ("tracestate", "a=1")], None).attributes;
    let sent = sent_by(&trace, OutgoingMessage { attributes: copied, ..OutgoingMessage::default() });
    assert_eq!(sent.attributes[0].value, AttributeValue::Text(trace.traceparent()));
    assert_eq!(sent.attributes.len(), 2);
}

#[test]
fn a_guests_own_trace_and_a_full_message_stay_as_they_are() {
    let trace =
        Trace::of(&message(&[("traceparent", PARENT), ("tracestate", "a=1")], None)).expect("a trace");
    let attribute = |name: String| Attribute { name, value: AttributeValue::Text("v".into()) };
    let own =
        OutgoingMessage { attributes: vec![attribute("traceparent".into())], ..OutgoingMessage::default() };
    assert_eq!(sent_by(&trace, own.clone()).attributes, own.attributes);
    for (before, after) in [(8, 10), (9, 10), (10, 10)] {
        let attributes = (0..before).map(|index| attribute(format!("a{index}"))).collect();
        let sent = sent_by(&trace, OutgoingMessage { attributes, ..OutgoingMessage::default() });
        assert_eq!(sent.attributes.len(), after);
    }
    let mut large = OutgoingMessage { body: "x".repeat(MAX_MESSAGE_BYTES), ..OutgoingMessage::default() };
    trace.pass_on(&mut large);
    assert_eq!(large.validate(), Ok(()));
}

proptest! {
    #[test]
    fn whatever_a_sender_writes_what_is_passed_on_can_be_sent(
        parent in ".{0,80}", state in ".{0,600}", header in ".{0,200}"
    ) {
        for parent in [parent.as_str(), PARENT] {
            let attributes = [("traceparent", parent), ("tracestate", &*state)];
            if let Some(trace) = Trace::of(&message(&attributes, Some(&header))) {
                let sent = sent_by(&trace, OutgoingMessage::default());
                let mut passed = message(&[], sent.trace_header.as_deref());
                passed.attributes = sent.attributes;
                prop_assert_eq!(Trace::of(&passed).map(|trace| trace.id), Some(trace.id));
            }
        }
    }
}
