//! What is true of a ledger in objects alone. What is true of all ledgers is tested in `wasmrun_local`.

use super::*;
use crate::ports::ledger::{MOST_OUTPUTS, StagedOutput};
use crate::ports::memory::{FaultyStore, MemoryStore};
use crate::ports::object_store::{Condition, PutOptions};
use crate::ports::staging::{StagedName, StagedNames, Staging};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};

const LASTS: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(3600);
const START: Duration = Duration::from_secs(1_700_000_000);

/// A store whose objects were last changed at [`START`].
fn store() -> FaultyStore {
    FaultyStore::new(MemoryStore::new("ledger").with_time(UNIX_EPOCH + START))
}

/// A ledger, and its time since [`START`] in seconds.
fn ledger(store: &FaultyStore) -> (ObjectLedger, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(0));
    let now = {
        let time = time.clone();
        Arc::new(move || UNIX_EPOCH + START + Duration::from_secs(time.load(Ordering::Relaxed)))
    };
    (ObjectLedger::with_clock(Arc::new(store.clone()), WINDOW, now), time)
}

fn entry(text: &str) -> EntryId {
    EntryId::of(["q", "id"], text)
}

async fn run_of(ledger: &ObjectLedger, text: &str) -> RunToken {
    RunToken::new(ledger.id().await.expect("an ID"), entry(text))
}

async fn claim(ledger: &ObjectLedger, text: &str) -> (Result<Claim, QueueError>, RunToken) {
    let run = run_of(ledger, text).await;
    (ledger.claim(entry(text), MessageDigest::of(text), run, LASTS).await, run)
}

fn outputs() -> CommitList {
    let output = StagedOutput { store: 0, key: "k".into(), staged: None, bytes: 0 };
    CommitList { route: None, stores: vec!["s3://b/".into()], outputs: vec![output] }
}

#[tokio::test]
async fn a_step_whose_answer_was_lost_has_been_made() {
    let store = store();
    let (ledger, _) = ledger(&store);
    let run = run_of(&ledger, "a").await;
    // The service answers a retry of the request by the state that the first one has made.
    store.lose([StoreError::PreconditionFailed]);
    let claimed = ledger.claim(entry("a"), MessageDigest::of("a"), run, LASTS).await;
    assert_eq!(claimed, Ok(Claim::Ours));
    store.lose([StoreError::Conflict("a retry came first".into())]);
    assert_eq!(ledger.commit(entry("a"), run, &outputs(), LASTS).await, Ok(true));
    store.lose([StoreError::PreconditionFailed]);
    assert_eq!(ledger.complete(entry("a"), run, WINDOW).await, Ok(true));
    // An error is no answer: whoever asks next finds what was done.
    store.lose([StoreError::Unavailable("reset".into())]);
    assert!(matches!(claim(&ledger, "b").await.0, Err(QueueError::Unavailable(_))));
    assert_eq!(claim(&ledger, "b").await.0, Ok(Claim::Ours), "the message's own claim");
}

#[tokio::test]
async fn a_listing_tells_entries_of_runs_under_way_from_others_by_their_size() {
    let store = store();
    let (ledger, _) = ledger(&store);
    let size = || {
        let content = store.memory.content(&key_of(entry("a"))).expect("an entry");
        content.len() as u64
    };
    let (_, run) = claim(&ledger, "a").await;
    assert!(size() > MOST_SETTLED_BYTES, "{}", size());
    ledger.give_up(entry("a"), run).await.expect("given up");
    assert!(size() <= MOST_SETTLED_BYTES, "{}", size());
    let (_, run) = claim(&ledger, "a").await;
    ledger.commit(entry("a"), run, &outputs(), LASTS).await.expect("committed");
    assert!(size() > MOST_SETTLED_BYTES, "{}", size());
    ledger.complete(entry("a"), run, WINDOW).await.expect("completed");
    assert!(size() <= MOST_SETTLED_BYTES, "{}", size());
}

#[tokio::test]
async fn a_sweep_costs_two_lists_at_most_and_reads_nothing_that_is_not_over() {
    let store = store();
    let (ledger, time) = ledger(&store);
    for number in 0..500 {
        let text = number.to_string();
        let (_, run) = claim(&ledger, &text).await;
        assert_eq!(ledger.complete(entry(&text), run, WINDOW).await, Ok(true));
    }
    store.calls();
    time.store(WINDOW.as_secs() - 1, Ordering::Relaxed);
    for _ in 0..12 {
        assert_eq!(ledger.sweep(100, LASTS).await, Ok(Swept::default()));
        let [reads, lists] = store.calls();
        assert!(reads == 0 && lists <= 2, "{reads} reads, {lists} lists");
    }
    time.store(WINDOW.as_secs(), Ordering::Relaxed);
    let mut removed = 0;
    for _ in 0..5 {
        let swept = ledger.sweep(100, LASTS).await.expect("swept");
        assert!(swept.removed <= 100 && swept.goes_on);
        removed += swept.removed;
    }
    assert_eq!(removed, 500, "in whatever part it began");
    assert_eq!(ledger.sweep(100, LASTS).await, Ok(Swept::default()));
    assert_eq!(store.memory.list(ENTRIES, None, 10).await.expect("a page").objects, []);
}

#[tokio::test]
async fn an_entry_that_is_about_to_be_deleted_cannot_be_claimed() {
    let store = store();
    let (ledger, time) = ledger(&store);
    let removed = |expires_ms| Entry { state: State::Removed, expires_ms, run: "0".repeat(32) };
    let content = serde_json::to_vec(&removed(to_ms(START + REMOVAL))).expect("JSON");
    store.memory.insert(&key_of(entry("a")), content);
    assert_eq!(claim(&ledger, "a").await.0, Ok(Claim::Taken { left: LASTS }));
    // The sweep that marked it has crashed.
    time.store(REMOVAL.as_secs(), Ordering::Relaxed);
    assert_eq!(ledger.sweep(10, LASTS).await.expect("swept").removed, 1);
    assert_eq!(claim(&ledger, "a").await.0, Ok(Claim::Ours));
}

#[tokio::test]
async fn of_workers_that_claim_an_entry_at_once_one_gets_it() {
    let store = store();
    let workers: Vec<_> = (0..8).map(|_| ledger(&store).0).collect();
    let claiming = workers.iter().enumerate().map(|(number, ledger)| async move {
        let message = MessageDigest::of(&number.to_string());
        let run = run_of(ledger, "a").await;
        (ledger.claim(entry("a"), message, run, LASTS).await.expect("an answer"), run)
    });
    let claims = join_all(claiming).await;
    let ours: Vec<_> = claims.iter().filter(|(claim, _)| *claim == Claim::Ours).collect();
    assert_eq!(ours.len(), 1, "{claims:?}");
    let committing = workers.iter().zip(&claims).map(|(ledger, (_, run))| async {
        ledger.commit(entry("a"), *run, &outputs(), LASTS).await.expect("an answer")
    });
    assert_eq!(join_all(committing).await.into_iter().filter(|is_committed| *is_committed).count(), 1);
    let ids: std::collections::BTreeSet<_> = claims.iter().map(|(_, run)| run.ledger).collect();
    assert_eq!(ids.len(), 1, "they have one ledger");
}

#[tokio::test]
async fn what_others_have_written_among_the_entries_is_an_error_of_one_entry_alone() {
    let store = store();
    let (ledger, time) = ledger(&store);
    let (_, run) = claim(&ledger, "late").await;
    ledger.commit(entry("late"), run, &outputs(), LASTS).await.expect("committed");
    let mut beyond = outputs();
    beyond.outputs[0].store = 1;
    let mut many = outputs();
    many.outputs = vec![many.outputs[0].clone(); MOST_OUTPUTS + 1];
    let committing = |outputs, run: &str| {
        let state = State::Committing { message: None, outputs };
        let entry = Entry { state, expires_ms: 0, run: run.into() };
        serde_json::to_vec(&entry).expect("JSON")
    };
    let digits = "0".repeat(32);
    let damaged: [Vec<u8>; 5] = [
        b"{".to_vec(),
        vec![b' '; MOST_LIST_BYTES + (8 << 10)],
        committing(beyond, &digits),
        committing(many, &digits),
        committing(outputs(), "x"),
    ];
    for (number, content) in damaged.into_iter().enumerate() {
        let text = format!("damaged {number}");
        store.memory.insert(&key_of(entry(&text)), content);
        let claimed = claim(&ledger, &text).await.0;
        assert!(matches!(&claimed, Err(QueueError::Unusable(why)) if why.contains("the object entries/")));
    }
    for foreign in ["entries/", "entries/x", "entries/../ledger.json", "entries/é"] {
        store.memory.insert(foreign, vec![b'x'; 500]);
    }
    time.store(2 * WINDOW.as_secs(), Ordering::Relaxed);
    let mut unfinished = Vec::new();
    for _ in 0..4 {
        unfinished.extend(ledger.sweep(100, LASTS).await.expect("swept").unfinished);
    }
    assert_eq!(unfinished, [Commit { entry: entry("late"), run, outputs: outputs() }]);
    // What a damaged entry's run has staged may be needed once the entry is mended.
    let unknown = run_of(&ledger, "damaged 0").await;
    assert_eq!(ledger.live(vec![unknown, run]).await, Ok(vec![unknown, run]));
}

#[tokio::test]
async fn a_commit_of_a_version_that_kept_no_message_is_found_when_its_time_is_over() {
    let store = store();
    let (ledger, time) = ledger(&store);
    let run = run_of(&ledger, "a").await;
    let (expires_ms, run_digits) = (to_ms(START + LASTS), hex(&run.run.to_be_bytes()));
    let list = String::from_utf8(outputs().to_bytes()).expect("JSON");
    let old = format!(
        r#"{{"state":{{"committing":{{"outputs":{list}}}}},"expires_ms":{expires_ms},"run":"{run_digits}"}}"#
    );
    store.memory.insert(&key_of(entry("a")), old);
    assert_eq!(claim(&ledger, "a").await.0, Ok(Claim::Taken { left: LASTS }));
    time.store(LASTS.as_secs(), Ordering::Relaxed);
    let commit = Commit { entry: entry("a"), run, outputs: outputs() };
    assert_eq!(claim(&ledger, "a").await.0, Ok(Claim::Committing(commit)));
}

#[tokio::test]
async fn a_staged_object_is_placed_once_and_swept_when_it_is_old() {
    let store = store();
    let (ledger, _) = ledger(&store);
    let run = run_of(&ledger, "a").await;
    let name = |number| StagedName { run, number };
    let output = MemoryStore::new("out");
    let staging = ledger.area().expect("an area").of(&output);
    for number in [0, 1] {
        let metadata = vec![("a".to_owned(), "b".to_owned())];
        let options = PutOptions {
            content_type: Some("text/x".into()),
            metadata,
            condition: Condition::Always,
            ..PutOptions::default()
        };
        let mut writer = staging.stage(name(number), "k", options).await.expect("a writer");
        writer.write(Bytes::from_static(b"content")).await.expect("written");
        let info = writer.finish().await.expect("staged");
        assert_eq!((&*info.key, info.size, info.etag), ("k", 7, None));
    }
    let key = format!("staged/{}", name(0));
    assert!(store.memory.content(&key).is_some() && output.content("k").is_none());
    staging.place(name(0), "k").await.expect("placed");
    assert_eq!((store.memory.content(&key), output.content("k")), (None, Some("content".into())));
    let info = output.head("k", None).await.expect("an object");
    assert_eq!((info.content_type.as_deref(), info.metadata.len()), (Some("text/x"), 1));
    // Another worker places it again, after others have written there.
    output.insert("k", "of another task");
    staging.place(name(0), "k").await.expect("placed before");
    assert_eq!(output.content("k"), Some("of another task".into()));
    let staged = |age| staging.staged(run.ledger, None, 10, age);
    let all = |names| Ok(StagedNames { names, goes_on_after: None });
    assert_eq!(staged(Duration::ZERO).await, all(vec![name(1)]));
    assert_eq!(staged(Duration::from_secs(1 << 40)).await, all(vec![]), "its task may still run");
    assert_eq!(staging.staged(run.ledger ^ 1, None, 10, Duration::ZERO).await, all(vec![]));
    staging.discard(name(1)).await.expect("removed");
    staging.discard(name(1)).await.expect("removed before");
    assert_eq!(staged(Duration::ZERO).await, all(vec![]));
}

#[tokio::test]
async fn a_listing_that_finds_only_young_staged_objects_says_where_it_stopped() {
    let (ledger, _) = ledger(&store());
    let area = ledger.area().expect("an area");
    let (output, run) = (MemoryStore::new("out"), RunToken::new(7, entry("e")));
    let staging = area.of(&output);
    for number in 0..50 {
        let name = StagedName { run, number };
        let writer = staging.stage(name, "k", PutOptions::default()).await.expect("a writer");
        writer.finish().await.expect("staged");
    }
    let (mut after, mut parts) = (None, 0);
    loop {
        let part = staging.staged(7, after, 1, Duration::from_secs(1 << 40)).await.expect("a part");
        assert_eq!(part.names, []);
        (after, parts) = (part.goes_on_after, parts + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(parts, 2, "it goes on where it stopped");
}
