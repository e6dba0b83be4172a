//! Completion groups in an object store: an object for each group, which is changed only if nobody else has changed it.
//!
//! Workers on several machines can share it. Each call reads and writes a whole object, so messages of one group that are
//! counted at the same time share a call. The store's own rules remove old objects.

use crate::model::completion::{CompleteGroup, GroupId, Member};
use crate::model::notification::End;
use crate::model::outcome::OutcomeKind;
use crate::ports::groups::{Counted, DroppedGroup, GroupStore, LONGEST, Swept};
use crate::ports::object_store::ObjectStore;
use crate::ports::queue::QueueError;
use crate::ports::shared_objects::SharedObjects;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Maximum size of an object: IDs of messages have at most 100 bytes (SQS), and a group has 10,000 messages.
const MAX_BYTES: usize = 4 << 20;

/// Counts completion groups in the objects of a store.
pub struct ObjectGroups {
    objects: SharedObjects,
    /// Messages that wait to be counted.
    waiting: Mutex<Vec<Waiting>>,
    /// Held while messages are counted. Who gets it counts all that wait for the same group.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    member: Member,
    answer: oneshot::Sender<Result<Counted, QueueError>>,
}

/// The content of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    key: String,
    name: String,
    /// Number of the group's messages.
    messages: u32,
    /// Seconds since 1970.
    began_at: u64,
    /// Whether the notification was sent. The group then has no members.
    sent: bool,
    /// Messages that have ended, by ID.
    ended: BTreeMap<String, (End, OutcomeKind)>,
}

impl Group {
    fn begin(GroupId { key, name }: GroupId, messages: u32) -> Self {
        let (began_at, ended) = (now(), BTreeMap::new());
        Self { key, name, messages, began_at, sent: false, ended }
    }

    fn is_old(&self) -> bool {
        now().saturating_sub(self.began_at) > LONGEST.as_secs()
    }

    fn dropped(self) -> Option<DroppedGroup> {
        let ended = u32::try_from(self.ended.len()).unwrap_or(u32::MAX);
        let group = GroupId { key: self.key, name: self.name };
        (!self.sent).then_some(DroppedGroup { group, ended, messages: self.messages })
    }

    /// Counts a message. Returns whether it is one of the group's: one beyond their number changes nothing.
    fn count(&mut self, member: &Member) -> bool {
        let is_known = self.ended.contains_key(&member.message_id);
        let is_counted = !self.sent && (is_known || self.ended.len() < self.messages as usize);
        if is_counted && (!is_known || member.counts_anew()) {
            self.ended.insert(member.message_id.clone(), (member.end, member.outcome));
        }
        is_counted
    }

    fn complete(&self) -> Option<CompleteGroup> {
        if self.sent || self.ended.len() < self.messages as usize {
            return None;
        }
        let group = GroupId { key: self.key.clone(), name: self.name.clone() };
        let mut complete = CompleteGroup { group, ends: BTreeMap::new(), outcomes: BTreeMap::new() };
        for (end, outcome) in self.ended.values() {
            *complete.ends.entry(*end).or_default() += 1;
            *complete.outcomes.entry(*outcome).or_default() += 1;
        }
        Some(complete)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the key of a group's object. Names may hold what no key may.
fn object_key(GroupId { key, name }: &GroupId) -> String {
    let digest = Sha256::new().chain_update(key).chain_update([0]).chain_update(name).finalize();
    format!("{digest:x}.json")
}

impl ObjectGroups {
    /// Creates the counts in a store, which must give etags.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        let objects = SharedObjects { store, noun: "a group of messages", most_bytes: MAX_BYTES };
        Self { objects, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Counts messages of one group in one change. The last of them that counts gets the group if it is complete.
    async fn count_all(&self, members: &[Member]) -> Result<Vec<Counted>, QueueError> {
        let Some(first) = members.first() else { return Ok(Vec::new()) };
        let key = object_key(&first.group);
        let change = |before: Option<Group>| {
            let (old, before) = match before {
                Some(group) if group.is_old() => (group.dropped(), None),
                before => (None, before),
            };
            let mut group = before.unwrap_or_else(|| Group::begin(first.group.clone(), first.messages));
            let counted = |member: &Member| {
                let (is_late, differs) = (!group.count(member), member.messages != group.messages);
                Counted { is_late, differs, ..Counted::default() }
            };
            let mut counted: Vec<_> = members.iter().map(counted).collect();
            if let Some(last) = counted.iter_mut().rfind(|counted| !counted.is_late) {
                last.complete = group.complete();
            }
            if let Some(first) = counted.first_mut() {
                first.dropped = old.into_iter().collect();
            }
            (Some(group), counted)
        };
        Ok(self.objects.update(&key, change).await?)
    }
}

#[async_trait]
impl GroupStore for ObjectGroups {
    fn url(&self) -> &str {
        self.objects.store.url()
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.objects.store.probe(false).await.map_err(|error| QueueError::Unavailable(error.to_string()))
    }

    async fn count(&self, member: Member) -> Result<Counted, QueueError> {
        let group = member.group.clone();
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push(Waiting { member, answer });
        let turn = self.turn.lock().await;
        let waiting: Vec<_> =
            self.waiting.lock().extract_if(.., |waiting| waiting.member.group == group).collect();
        if !waiting.is_empty() {
            let (members, answers): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|waiting| (waiting.member, waiting.answer)).unzip();
            match self.count_all(&members).await {
                Ok(counted) => answers.into_iter().zip(counted).for_each(|(answer, counted)| {
                    let _ = answer.send(Ok(counted));
                }),
                Err(error) => answers.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(error.clone()));
                }),
            }
        }
        drop(turn);
        // Whoever had the turn before has answered, unless it was abandoned.
        answered.try_recv().unwrap_or_else(|_| Err(QueueError::unanswered()))
    }

    async fn sent(&self, group: GroupId) -> Result<(), QueueError> {
        let sent = |before: Option<Group>| {
            (before.map(|group| Group { sent: true, ended: BTreeMap::new(), ..group }), ())
        };
        Ok(self.objects.update(&object_key(&group), sent).await?)
    }

    /// Does nothing: objects are removed by a rule of the store, and looking at all of them would cost too much.
    async fn sweep(&self) -> Result<Swept, QueueError> {
        Ok(Swept::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryStore;
    use futures_util::future::join_all;

    fn member(name: &str, messages: u32, message: &str) -> Member {
        let group = GroupId { key: String::new(), name: name.into() };
        let (end, outcome) = (End::Completed, OutcomeKind::Completed);
        Member { group, messages, message_id: message.into(), end, outcome }
    }

    #[tokio::test]
    async fn workers_that_count_at_the_same_time_lose_no_message() {
        let store = MemoryStore::new("groups");
        let workers: Vec<_> = (0..3).map(|_| ObjectGroups::new(Arc::new(store.clone()))).collect();
        let counting = (0..60).map(|index| {
            // Each message is delivered twice, to different workers.
            let message = format!("m{}", index / 2);
            let name = if index % 4 < 2 { "even" } else { "odd" };
            let (worker, member) = (&workers[index % 3], member(name, 15, &message));
            worker.count(member)
        });
        let counted: Vec<_> =
            join_all(counting).await.into_iter().map(|counted| counted.expect("counted")).collect();
        let complete: std::collections::BTreeSet<_> = counted
            .iter()
            .filter_map(|counted| counted.complete.as_ref())
            .map(|c| c.group.name.clone())
            .collect();
        assert_eq!(complete.into_iter().collect::<Vec<_>>(), ["even", "odd"]);
        for complete in counted.iter().filter_map(|counted| counted.complete.as_ref()) {
            assert_eq!(complete.ends, BTreeMap::from([(End::Completed, 15)]));
        }
    }

    #[tokio::test]
    async fn a_group_is_returned_until_its_notification_is_recorded() {
        let groups = ObjectGroups::new(Arc::new(MemoryStore::new("groups")));
        let count = |message: &'static str, messages| groups.count(member("g\n", messages, message));
        assert_eq!(count("a", 2).await.expect("counted"), Counted::default());
        let counted = count("b", 1).await.expect("counted");
        assert!(counted.differs && counted.complete.is_some());
        for message in ["a", "b"] {
            assert!(count(message, 2).await.expect("counted").complete.is_some(), "{message}");
        }
        let late = Counted { is_late: true, ..Counted::default() };
        assert_eq!(count("one too many", 2).await.expect("counted"), late);
        groups.sent(member("g\n", 2, "a").group).await.expect("recorded");
        assert_eq!(count("a", 2).await.expect("counted"), late);
    }

    #[tokio::test]
    async fn a_message_that_is_repeated_counts_as_it_did_before() {
        let groups = ObjectGroups::new(Arc::new(MemoryStore::new("groups")));
        let repeated = |message| Member { outcome: OutcomeKind::Repeated, ..member("g", 2, message) };
        let dropped = Member { end: End::Dropped, outcome: OutcomeKind::Trapped, ..member("g", 2, "a") };
        for member in [dropped, repeated("a")] {
            assert_eq!(groups.count(member).await.expect("counted").complete, None);
        }
        let complete = groups.count(repeated("b")).await.expect("counted").complete.expect("complete");
        assert_eq!(complete.ends, BTreeMap::from([(End::Completed, 1), (End::Dropped, 1)]));
        let outcomes = [(OutcomeKind::Trapped, 1), (OutcomeKind::Repeated, 1)];
        assert_eq!(complete.outcomes, BTreeMap::from(outcomes));
    }

    #[tokio::test]
    async fn of_messages_that_are_counted_together_one_is_told_that_the_group_is_complete() {
        let groups = ObjectGroups::new(Arc::new(MemoryStore::new("groups")));
        let names: Vec<_> = (0..60).map(|index| format!("m{index}")).collect();
        let counted = join_all(names.iter().map(|name| groups.count(member("g", 5, name)))).await;
        let counted: Vec<_> = counted.into_iter().map(|counted| counted.expect("counted")).collect();
        assert_eq!(counted.iter().filter(|counted| counted.complete.is_some()).count(), 1);
        assert_eq!(counted.iter().filter(|counted| counted.is_late).count(), 55);
    }

    #[tokio::test]
    async fn an_object_of_others_is_an_error_that_names_it() {
        let store = MemoryStore::new("groups");
        let groups = ObjectGroups::new(Arc::new(store.clone()));
        let member = member("g", 1, "a");
        for content in ["", "{}", "[1, 2", &"x".repeat(MAX_BYTES + 1)] {
            store.insert(&object_key(&member.group), content.to_owned());
            let error = groups.count(member.clone()).await.expect_err("refused").to_string();
            assert!(error.contains(&object_key(&member.group)) && error.contains("delete it"), "{error}");
        }
        // A group that began too long ago begins anew.
        let old = Group { began_at: 1, ..Group::begin(member.group.clone(), 3) };
        store.insert(&object_key(&member.group), serde_json::to_vec(&old).expect("JSON"));
        let counted = groups.count(member).await.expect("counted");
        assert_eq!((counted.dropped.len(), counted.complete.is_some()), (1, true));
    }
}
