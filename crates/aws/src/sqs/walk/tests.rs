//! Walks over a queue in memory, whose calls fail as a test says.

use super::*;
use async_trait::async_trait;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName};
use proptest::prelude::*;
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::model::dead_letter::DeadLetter;
use wasmrun_runtime::model::message::OUTCOME_ATTRIBUTE;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::walk::{Filter, WalkBounds};

const SOURCE: &str = "http://localhost:1/1/jobs";
const BOUNDS: WalkBounds = WalkBounds { messages: 1000, time: Duration::from_secs(300) };

/// A queue whose messages, once received, stay invisible until they are made visible again.
#[derive(Default)]
struct Fake {
    state: Mutex<State>,
    /// Cancelled during the receive with this number.
    stops_at: Option<(usize, CancellationToken)>,
    is_fifo: bool,
}

#[derive(Default)]
struct State {
    visible: Vec<SqsMessage>,
    /// Messages by receipt.
    hidden: Vec<(String, SqsMessage)>,
    sent: Vec<(String, SqsMessage)>,
    /// Number of receives of each message.
    receives: BTreeMap<String, u32>,
    /// Whether the next calls fail; later ones don't.
    failures: Vec<bool>,
    calls: usize,
}

impl State {
    fn fails(&mut self) -> bool {
        self.failures.pop().unwrap_or(false)
    }

    fn take(&mut self, receipt: &Receipt) -> Option<SqsMessage> {
        let at = self.hidden.iter().position(|(held, _)| *held == receipt.0)?;
        Some(self.hidden.remove(at).1)
    }
}

fn outage() -> QueueError {
    QueueError::Unavailable("an outage".into())
}

#[async_trait]
impl Calls for Fake {
    async fn receive(&self, max: usize, visibility: Duration) -> Result<Vec<SqsMessage>, QueueError> {
        assert!(visibility >= RELEASE_TIME, "a message comes once");
        let mut state = self.state.lock().expect("no panic");
        state.calls += 1;
        if let Some((_, stop)) = self.stops_at.as_ref().filter(|(at, _)| *at == state.calls) {
            stop.cancel();
        }
        if state.fails() {
            return Err(outage());
        }
        let max = max.min(state.visible.len());
        let received: Vec<_> = state.visible.drain(..max).collect();
        let deliver = |mut message: SqsMessage| {
            let id = message.message_id.clone().expect("an ID");
            let receives = state.receives.entry(id.clone()).or_default();
            *receives += 1;
            let receipt = format!("{id}-{receives}");
            state.hidden.push((receipt.clone(), message.clone()));
            message.receipt_handle = Some(receipt);
            message
        };
        Ok(received.into_iter().map(deliver).collect())
    }

    async fn send(&self, url: &str, messages: &[SqsMessage]) -> Vec<Result<(), QueueError>> {
        let mut state = self.state.lock().expect("no panic");
        let send = |message: &SqsMessage| {
            if state.fails() {
                return Err(outage());
            }
            if message.body.as_deref() == Some("refused") {
                return Err(QueueError::InvalidMessage("too large".into()));
            }
            state.sent.push((url.to_owned(), message.clone()));
            Ok(())
        };
        messages.iter().map(send).collect()
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let mut state = self.state.lock().expect("no panic");
        let delete = |receipt| {
            if state.fails() {
                Err(outage())
            } else {
                state.take(receipt).map(drop).ok_or(QueueError::ReceiptExpired)
            }
        };
        receipts.iter().map(delete).collect()
    }

    async fn release(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let mut state = self.state.lock().expect("no panic");
        let release = |receipt| {
            if state.fails() {
                return Err(outage());
            }
            let message = state.take(receipt).ok_or(QueueError::ReceiptExpired)?;
            state.visible.push(message);
            Ok(())
        };
        receipts.iter().map(release).collect()
    }
}

fn message(id: usize, body: &str, attribute: Option<&str>) -> SqsMessage {
    let value = attribute.map(|text| {
        let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
        (OUTCOME_ATTRIBUTE.to_owned(), value.expect("a type"))
    });
    let attributes = value.map(|value| [value].into());
    SqsMessage::builder().message_id(format!("m{id}")).body(body).set_message_attributes(attributes).build()
}

fn dead_letter(id: usize, reason: &str) -> SqsMessage {
    let dead = DeadLetter {
        outcome: OutcomeKind::Rejected,
        reason: Some(reason.into()),
        receive_count: 1,
        message_id: "m".into(),
        sent_at: None,
        queue: SOURCE.into(),
        component: "c.wasm".into(),
        route: None,
        key: None,
    };
    message(id, "body", Some(&serde_json::to_string(&dead).expect("JSON")))
}

fn holding(messages: impl IntoIterator<Item = SqsMessage>) -> Fake {
    let visible = messages.into_iter().collect();
    Fake { state: Mutex::new(State { visible, ..State::default() }), ..Fake::default() }
}

fn by_reason(reason: &str) -> Filter {
    Filter { reason: Some(reason.into()), ..Filter::default() }
}

fn sources() -> Option<Routes> {
    Some(Routes::Sources(vec![SOURCE.into()]))
}

async fn walk(fake: &Fake, filter: &Filter, action: WalkAction<'_>) -> Walked {
    let stop = fake.stops_at.as_ref().map(|(_, stop)| stop.clone()).unwrap_or_default();
    let walk = Walk { filter, action, limit: None, bounds: BOUNDS, stop: &stop };
    Receiving::new(fake, &walk, sources(), fake.is_fifo).run().await
}

fn redriven<'a>() -> WalkAction<'a> {
    WalkAction::Redrive { to: None }
}

#[tokio::test]
async fn three_of_hundreds_are_moved_by_their_reason_and_the_rest_is_visible_as_before() {
    let reason = |id| if id % 100 == 7 { "no disk" } else { "no image" };
    let fake = holding((0..300).map(|id| dead_letter(id, reason(id))));
    let walked = walk(&fake, &by_reason("disk"), redriven()).await;
    let expected = Walked { looked_at: 300, selected: 3, done: 3, ..Walked::default() };
    assert_eq!(walked, expected);
    let state = fake.state.into_inner().expect("no panic");
    assert_eq!((state.visible.len(), state.hidden.len(), state.sent.len()), (297, 0, 3));
    assert!(state.sent.iter().all(|(url, _)| url == SOURCE));
    assert!(state.receives.values().all(|receives| *receives == 1), "each is looked at once");
}

#[tokio::test]
async fn a_walk_ends_at_its_bounds_and_leaves_nothing_hidden() {
    for (limit, bounds, end, looked_at) in [
        (Some(25), BOUNDS, WalkEnd::Limit, 25),
        (None, WalkBounds { messages: 33, ..BOUNDS }, WalkEnd::Messages, 33),
        (None, WalkBounds { time: Duration::ZERO, ..BOUNDS }, WalkEnd::Time, 0),
    ] {
        let fake = holding((0..100).map(|id| dead_letter(id, "x")));
        let (filter, stop) = (Filter::default(), CancellationToken::new());
        let action = WalkAction::Look(&|_| {});
        let walk = Walk { filter: &filter, action, limit, bounds, stop: &stop };
        let walked = Receiving::new(&fake, &walk, None, false).run().await;
        assert_eq!((walked.end, walked.looked_at), (end, looked_at));
        let state = fake.state.into_inner().expect("no panic");
        assert_eq!((state.visible.len(), state.hidden.len()), (100, 0));
    }
}

#[tokio::test]
async fn a_walk_that_is_stopped_does_nothing_more_and_leaves_nothing_hidden() {
    let mut fake = holding((0..100).map(|id| dead_letter(id, "x")));
    fake.stops_at = Some((3, CancellationToken::new()));
    let walked = walk(&fake, &Filter::default(), WalkAction::Drop).await;
    assert_eq!((walked.end, walked.done), (WalkEnd::Stopped, 20));
    let state = fake.state.into_inner().expect("no panic");
    assert_eq!((state.visible.len(), state.hidden.len()), (80, 0));
}

#[tokio::test]
async fn a_message_that_cannot_be_moved_stays_and_the_walk_goes_on() {
    let forged = r#"{"outcome":"rejected","reason":"","receive_count":1,"message_id":"","queue":"http://evil.example/1/jobs2","component":""}"#;
    let moved = SqsMessage::builder()
        .message_id("moved")
        .body("x")
        .attributes(MessageSystemAttributeName::DeadLetterQueueSourceArn, "arn:aws:sqs:eu-west-1:1:jobs")
        .build();
    let no_record =
        ["", "{", "\u{1b}[2J\u{202e}", &"[".repeat(100_000)].map(|text| message(9, "x", Some(text)));
    let with_ids = no_record.into_iter().enumerate().map(|(id, mut message)| {
        message.message_id = Some(format!("none{id}"));
        message
    });
    let few = [message(1, "x", Some(forged)), message(2, "refused", None), moved];
    let fake = holding(few.into_iter().chain(with_ids));
    let walked = walk(&fake, &Filter::default(), redriven()).await;
    assert_eq!((walked.selected, walked.done, walked.left, walked.end), (7, 5, 2, WalkEnd::Complete));
    assert!(walked.reason.as_deref().is_some_and(|reason| reason.contains("jobs2")), "{:?}", walked.reason);
    let state = fake.state.into_inner().expect("no panic");
    assert!(state.sent.iter().all(|(url, _)| url == SOURCE), "no message names the queue it goes to");
    assert_eq!((state.visible.len(), state.hidden.len()), (2, 0));
}

/// A message of a group, whose body says its place.
fn of_group(id: usize, group: &str, body: &str, attribute: Option<&str>) -> SqsMessage {
    let mut message = message(id, body, attribute);
    let name = MessageSystemAttributeName::MessageGroupId;
    message.attributes.get_or_insert_default().insert(name, group.to_owned());
    message
}

#[tokio::test]
async fn messages_of_a_fifo_group_stay_behind_one_that_cannot_be_moved() {
    let elsewhere = dead_letter(0, "x").message_attributes.expect("attributes")[OUTCOME_ATTRIBUTE].clone();
    let elsewhere = elsewhere.string_value.expect("a text").replace("jobs", "others");
    let fake = holding([
        of_group(1, "refused", "1", None),
        of_group(2, "refused", "refused", None),
        of_group(3, "refused", "3", None),
        of_group(4, "unknown", "4", Some(&elsewhere)),
        of_group(5, "fine", "5", None),
        of_group(6, "unknown", "6", None),
        of_group(7, "fine", "7", None),
        of_group(8, "refused", "8", None),
    ]);
    let fake = Fake { is_fifo: true, ..fake };
    let walked = walk(&fake, &Filter::default(), redriven()).await;
    assert_eq!((walked.selected, walked.done, walked.left, walked.hidden), (8, 3, 5, 0));
    let state = fake.state.into_inner().expect("no panic");
    let sent: Vec<_> = state.sent.iter().filter_map(|(_, message)| message.body.as_deref()).collect();
    assert_eq!(sent, ["1", "5", "7"]);
    assert_eq!((state.visible.len(), state.hidden.len()), (5, 0));
}

#[tokio::test]
async fn a_walk_that_ends_counts_what_it_did_not_come_to_as_left() {
    let mut fake = Fake { is_fifo: true, ..holding((1..5).map(|id| of_group(id, "a", "x", None))) };
    // The receive works, and the first send fails.
    fake.state.get_mut().expect("no panic").failures = vec![true, false];
    let walked = walk(&fake, &Filter::default(), redriven()).await;
    assert_eq!((walked.selected, walked.done, walked.left), (4, 0, 4));
}

#[tokio::test]
async fn messages_of_a_group_of_a_standard_queue_have_no_order_to_keep() {
    let fake = holding([of_group(1, "a", "refused", None), of_group(2, "a", "2", None)]);
    let walked = walk(&fake, &Filter::default(), redriven()).await;
    assert_eq!((walked.done, walked.left), (1, 1));
}

proptest! {
    /// Whatever fails and whenever: of each group of a FIFO queue, what arrives is its beginning, in order.
    #[test]
    fn no_failure_breaks_the_order_of_a_fifo_group(
        groups in prop::collection::vec((0..3_usize, prop::bool::weighted(0.1)), 0..40),
        failures in prop::collection::vec(prop::bool::weighted(0.1), 0..80),
    ) {
        let messages = groups.iter().enumerate().map(|(id, (group, refused))| {
            of_group(id, &group.to_string(), if *refused { "refused" } else { "x" }, None)
        });
        let fake = Fake { is_fifo: true, ..holding(messages) };
        fake.state.lock().expect("no panic").failures = failures;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(walk(&fake, &Filter::default(), redriven()));
        let state = fake.state.into_inner().expect("no panic");
        for group in 0..3 {
            let all = groups.iter().enumerate().filter(|(_, (of, _))| *of == group).map(|(id, _)| format!("m{id}"));
            let is_of = |message: &&SqsMessage| {
                let name = MessageSystemAttributeName::MessageGroupId;
                message.attributes.as_ref().and_then(|all| all.get(&name)) == Some(&group.to_string())
            };
            let sent = state.sent.iter().map(|(_, message)| message).filter(is_of);
            let sent: Vec<_> = sent.filter_map(|message| message.message_id.clone()).collect();
            let all: Vec<_> = all.take(sent.len()).collect();
            prop_assert_eq!(sent, all);
        }
    }

    /// Whatever fails and whenever: each message is in the queue or in its source queue, those that the filter doesn't
    /// select are as before, and the walk says how many it left hidden or doubled.
    #[test]
    fn no_failure_loses_a_message_or_hides_one_silently(
        reasons in prop::collection::vec(any::<bool>(), 0..60),
        failures in prop::collection::vec(prop::bool::weighted(0.3), 0..120),
        drops in any::<bool>(),
    ) {
        let reason = |chosen: &bool| if *chosen { "chosen" } else { "other" };
        let fake = holding(reasons.iter().enumerate().map(|(id, chosen)| dead_letter(id, reason(chosen))));
        fake.state.lock().expect("no panic").failures = failures;
        let action = if drops { WalkAction::Drop } else { redriven() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let walked = runtime.block_on(walk(&fake, &by_reason("chosen"), action));
        let state = fake.state.into_inner().expect("no panic");
        prop_assert_eq!(state.hidden.len() as u64, walked.hidden);
        prop_assert!(state.receives.values().all(|receives| *receives == 1));
        let here = |id: &str| {
            let is = |message: &SqsMessage| message.message_id.as_deref() == Some(id);
            state.visible.iter().any(is) || state.hidden.iter().any(|(_, message)| is(message))
        };
        let sent = |id: &str| state.sent.iter().filter(|(_, message)| message.message_id.as_deref() == Some(id)).count();
        let (mut gone, mut doubled) = (0, 0);
        for (id, chosen) in reasons.iter().enumerate() {
            let id = format!("m{id}");
            prop_assert!(*chosen || here(&id) && sent(&id) == 0, "{id} isn't selected");
            prop_assert!(here(&id) || drops || sent(&id) == 1, "{id} is lost");
            gone += u64::from(!here(&id));
            doubled += u64::from(here(&id) && sent(&id) == 1);
        }
        prop_assert_eq!((gone, doubled), (walked.done, walked.doubled));
        prop_assert!(walked.end != WalkEnd::Complete || walked.done == walked.selected);
    }
}
