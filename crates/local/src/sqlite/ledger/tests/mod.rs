//! Tests of ledgers, with a clock that is set by hand: what is true of all ledgers holds for one in a file and for one in
//! objects.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod property;
mod size;

use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use wasmrun_runtime::ports::ledger::{Commit, StagedOutput};
use wasmrun_runtime::ports::memory::MemoryStore;
use wasmrun_runtime::ports::object_ledger::ObjectLedger;

const LASTS: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(3600);

struct World {
    dir: TempDir,
    time: Arc<AtomicI64>,
    /// The store of a ledger in objects; `None`: the ledger is a file.
    objects: Option<MemoryStore>,
}

impl World {
    fn new() -> Self {
        let time = Arc::new(AtomicI64::new(1_700_000_000_000));
        Self { dir: tempfile::tempdir().unwrap(), time, objects: None }
    }

    fn in_objects() -> Self {
        // All objects seem as old as the world, so a sweep reads each of them.
        let world = Self::new();
        Self { objects: Some(MemoryStore::new("ledger").with_time(at(&world.time))), ..world }
    }

    /// Returns a world for each kind of ledger.
    fn each() -> [Self; 2] {
        [Self::new(), Self::in_objects()]
    }

    fn url(&self) -> String {
        format!("sqlite:{}/ledger.db", self.dir.path().display())
    }

    fn sqlite(&self) -> SqliteLedger {
        SqliteLedger::open_with(&self.url(), Clock::Manual(Arc::clone(&self.time))).unwrap()
    }

    /// Opens the ledger as another worker.
    fn ledger(&self) -> Box<dyn Ledger> {
        let Some(store) = &self.objects else { return Box::new(self.sqlite()) };
        let time = Arc::clone(&self.time);
        Box::new(ObjectLedger::with_clock(Arc::new(store.clone()), WINDOW, Arc::new(move || at(&time))))
    }

    fn pass(&self, time: Duration) {
        self.time.fetch_add(time.as_millis() as i64, Ordering::SeqCst);
    }

    /// Bytes of the file and its log.
    fn size(&self) -> u64 {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }
}

fn at(time: &AtomicI64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.load(Ordering::SeqCst).cast_unsigned())
}

fn message(id: u8) -> MessageDigest {
    MessageDigest::of(&id.to_string())
}

fn entry(text: &str) -> EntryId {
    EntryId::of(["q", "id"], text)
}

fn outputs(number: u32) -> CommitList {
    let output = StagedOutput {
        store: 0,
        key: "a\u{0}'; DROP TABLE entry; --".into(),
        staged: Some(number),
        bytes: 7,
    };
    CommitList { route: None, stores: vec!["dir:/out/".into()], outputs: vec![output] }
}

async fn new_run(ledger: &dyn Ledger, text: &str) -> RunToken {
    RunToken::new(ledger.id().await.unwrap(), entry(text))
}

#[tokio::test]
async fn a_completed_entry_stays_so_for_its_window() {
    for world in World::each() {
        let (ledger, other) = (world.ledger(), world.ledger());
        let (run, next) = (new_run(&*ledger, "a").await, new_run(&*other, "a").await);
        assert_eq!(ledger.claim(entry("a"), message(1), run, LASTS).await, Ok(Claim::Ours));
        assert_eq!(ledger.complete(entry("a"), run, WINDOW).await, Ok(true));
        assert_eq!(other.claim(entry("a"), message(1), next, LASTS).await, Ok(Claim::Completed));
        assert_eq!(other.claim(entry("b"), message(1), next, LASTS).await, Ok(Claim::Ours), "another entry");
        world.pass(WINDOW);
        assert_eq!(other.claim(entry("a"), message(1), next, LASTS).await, Ok(Claim::Ours));
    }
}

#[tokio::test]
async fn a_claim_keeps_other_messages_away_until_it_is_over_and_not_its_own_message() {
    for world in World::each() {
        let ledger = world.ledger();
        let [first, second, third] =
            [new_run(&*ledger, "a").await, new_run(&*ledger, "a").await, new_run(&*ledger, "a").await];
        let claim = |message, run| ledger.claim(entry("a"), message, run, LASTS);
        assert_eq!(claim(message(1), first).await, Ok(Claim::Ours));
        world.pass(Duration::from_secs(20));
        assert_eq!(claim(message(2), second).await, Ok(Claim::Taken { left: Duration::from_secs(40) }));
        assert_eq!(claim(message(1), third).await, Ok(Claim::Ours), "its queue delivered it again");
        assert_eq!(ledger.commit(entry("a"), first, &outputs(1), LASTS).await, Ok(false));
        assert_eq!(ledger.complete(entry("a"), first, WINDOW).await, Ok(false));
        ledger.give_up(entry("a"), first).await.unwrap();
        assert_eq!(ledger.live(vec![first, second, third]).await, Ok(vec![third]));
        world.pass(LASTS);
        assert_eq!(claim(message(2), second).await, Ok(Claim::Ours));
        ledger.give_up(entry("a"), second).await.unwrap();
        assert_eq!(claim(message(1), first).await, Ok(Claim::Ours));
        // After a clock was set back, nobody waits for longer than a claim lasts before looking again.
        world.time.fetch_sub(1_000_000, Ordering::SeqCst);
        assert_eq!(claim(message(2), second).await, Ok(Claim::Taken { left: LASTS }));
    }
}

#[tokio::test]
async fn claims_and_commits_of_a_clock_that_was_years_ahead_are_over() {
    for world in World::each() {
        let ledger = world.ledger();
        let years = Duration::from_secs(10 * 365 * 86_400);
        world.pass(years);
        let mut runs = BTreeMap::new();
        for text in ["claimed", "committing", "swept", "swept claim", "completed"] {
            let run = new_run(&*ledger, text).await;
            assert_eq!(ledger.claim(entry(text), message(1), run, LASTS).await, Ok(Claim::Ours));
            runs.insert(text, run);
        }
        for text in ["committing", "swept"] {
            assert_eq!(ledger.commit(entry(text), runs[text], &outputs(1), LASTS).await, Ok(true));
        }
        ledger.complete(entry("completed"), runs["completed"], WINDOW).await.unwrap();
        world.time.fetch_sub(years.as_millis() as i64, Ordering::SeqCst);
        let claim = async |text: &str| {
            let run = new_run(&*ledger, text).await;
            ledger.claim(entry(text), message(2), run, LASTS).await
        };
        let commit_of = |text: &str| Commit { entry: entry(text), run: runs[text], outputs: outputs(1) };
        assert_eq!(claim("claimed").await, Ok(Claim::Ours));
        assert_eq!(claim("committing").await, Ok(Claim::Committing(commit_of("committing"))));
        assert_eq!(
            claim("completed").await,
            Ok(Claim::Completed),
            "an ID is remembered for longer, not run again"
        );
        // The run that lost its claim commits nothing.
        assert_eq!(ledger.commit(entry("claimed"), runs["claimed"], &outputs(1), LASTS).await, Ok(false));
        // The claim of this clock is over by now. What was handed over has time for placing as well.
        world.pass(LASTS);
        let mut swept = ledger.sweep(10, LASTS).await.unwrap();
        while swept.goes_on {
            let more = ledger.sweep(10, LASTS).await.unwrap();
            swept.removed += more.removed;
            swept.unfinished.extend(more.unfinished);
            swept.goes_on = more.goes_on;
        }
        assert_eq!((swept.removed, swept.unfinished), (2, vec![commit_of("swept")]));
        assert_eq!(claim("swept claim").await, Ok(Claim::Ours), "its staged objects aren't kept for it");
    }
}

#[tokio::test]
async fn a_commit_is_found_until_it_is_completed_and_swept_by_one_worker_at_a_time() {
    for world in World::each() {
        let (ledger, other) = (world.ledger(), world.ledger());
        let (run, next) = (new_run(&*ledger, "a").await, new_run(&*ledger, "a").await);
        assert_eq!(ledger.claim(entry("a"), message(1), run, LASTS).await, Ok(Claim::Ours));
        assert_eq!(ledger.commit(entry("a"), run, &outputs(5), LASTS).await, Ok(true));
        let commit = Commit { entry: entry("a"), run, outputs: outputs(5) };
        assert_eq!(
            other.claim(entry("a"), message(1), next, LASTS).await,
            Ok(Claim::Committing(commit.clone())),
            "its worker has lost the message"
        );
        assert_eq!(other.sweep(10, LASTS).await, Ok(Swept::default()), "its worker may be at it");
        world.pass(2 * WINDOW);
        let swept = other.sweep(10, LASTS).await.unwrap();
        assert_eq!((swept.removed, swept.unfinished), (0, vec![commit]));
        assert_eq!(ledger.sweep(10, LASTS).await, Ok(Swept::default()));
        assert_eq!(other.complete(entry("a"), run, WINDOW).await, Ok(true));
        assert_eq!(ledger.complete(entry("a"), run, WINDOW).await, Ok(false));
        assert_eq!(ledger.claim(entry("a"), message(1), next, LASTS).await, Ok(Claim::Completed));
    }
}

#[tokio::test]
async fn a_commit_whose_worker_may_be_placing_is_no_other_messages_to_complete() {
    for world in World::each() {
        let ledger = world.ledger();
        let (run, next) = (new_run(&*ledger, "a").await, new_run(&*ledger, "a").await);
        let claim = |message| ledger.claim(entry("a"), message, next, LASTS);
        let commit = Commit { entry: entry("a"), run, outputs: outputs(5) };
        let committing = Ok(Claim::Committing(commit.clone()));
        assert_eq!(ledger.claim(entry("a"), message(1), run, LASTS).await, Ok(Claim::Ours));
        assert_eq!(ledger.commit(entry("a"), run, &commit.outputs, LASTS).await, Ok(true));
        world.pass(Duration::from_secs(20));
        // It would delete again what a later run has written.
        assert_eq!(claim(message(2)).await, Ok(Claim::Taken { left: Duration::from_secs(40) }));
        world.pass(Duration::from_secs(40));
        assert_eq!(claim(message(2)).await, committing, "nobody has completed it in time");
        // Now this message has its time, and the time for placing.
        world.pass(LASTS + commit.outputs.placing_time() - Duration::from_secs(1));
        assert_eq!(claim(message(1)).await, Ok(Claim::Taken { left: Duration::from_secs(1) }));
        assert_eq!(claim(message(2)).await, committing);
        // It has it again when its queue delivers it again.
        world.pass(LASTS);
        assert!(matches!(claim(message(1)).await, Ok(Claim::Taken { .. })));
        world.pass(LASTS + commit.outputs.placing_time());
        assert_eq!(ledger.sweep(10, LASTS).await.unwrap().unfinished, std::slice::from_ref(&commit));
        for message in [1, 2].map(message) {
            assert!(matches!(claim(message).await, Ok(Claim::Taken { .. })), "the sweep may be placing");
        }
        world.pass(LASTS);
        assert_eq!(ledger.sweep(10, LASTS).await, Ok(Swept::default()), "the sweep may still place");
        assert_eq!(ledger.complete(entry("a"), run, WINDOW).await, Ok(true));
        assert_eq!(claim(message(1)).await, Ok(Claim::Completed));
    }
}

#[tokio::test]
async fn a_commit_that_another_program_damaged_is_an_error_and_keeps_no_other_from_being_swept() {
    let world = World::new();
    let ledger = world.sqlite();
    for text in ["a", "b"] {
        let run = new_run(&ledger, text).await;
        assert_eq!(ledger.claim(entry(text), message(1), run, LASTS).await, Ok(Claim::Ours));
        assert_eq!(ledger.commit(entry(text), run, &outputs(5), LASTS).await, Ok(true));
    }
    let sql = rusqlite::Connection::open(world.dir.path().join("ledger.db")).unwrap();
    sql.execute("UPDATE entry SET outputs = x'00' WHERE id = ?1", [entry("a").0]).unwrap();
    let claimed = ledger.claim(entry("a"), message(1), new_run(&ledger, "a").await, LASTS).await;
    assert!(matches!(claimed, Err(QueueError::Unusable(_))), "{claimed:?}");
    world.pass(LASTS);
    assert_eq!(ledger.sweep(10, LASTS).await.unwrap().unfinished.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_ledger_or_another_one_than_before_is_refused() {
    let world = World::new();
    let url = world.url();
    for wrong in
        [format!("{url}#jobs"), "sqlite:".into(), "sqlite:no/such/ledger.db".into(), "ledger.db".into()]
    {
        assert!(matches!(SqliteLedger::open(&wrong), Err(QueueError::Unusable(_))), "{wrong}");
    }
    drop(crate::SqliteQueue::create(&url, &crate::QueueSettings::default()).unwrap());
    assert!(matches!(SqliteLedger::open(&url), Err(QueueError::Unusable(_))));
    let world = World::new();
    let ledger = world.sqlite();
    let run = RunToken::new(ledger.id().await.unwrap() ^ 1, entry("a"));
    assert!(matches!(ledger.live(vec![run]).await, Err(QueueError::Unusable(_))));
    assert!(ledger.claim(entry("a"), message(1), run, LASTS).await.is_err());
}

#[tokio::test]
async fn a_sweep_looks_for_late_commits_among_the_runs_under_way_only() {
    let world = World::new();
    world.sqlite().id().await.unwrap();
    let sql = rusqlite::Connection::open(world.dir.path().join("ledger.db")).unwrap();
    let plan_of = |statement: &str| -> Vec<String> {
        let mut plan = sql.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let number = plan.parameter_count();
        let rows = plan.query_map(rusqlite::params_from_iter(vec![0; number]), |row| row.get(3)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    for statement in [entries::LATE_COMMITS, entries::CLAIMS_FROM_AHEAD] {
        let plan = plan_of(statement);
        assert!(plan.iter().any(|step| step.contains("entry_run")), "{plan:?}");
        assert!(!plan.iter().any(|step| step == "SCAN entry"), "{plan:?}");
    }
}
