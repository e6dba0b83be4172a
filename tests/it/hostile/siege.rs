//! A worker under attack: what is sent to it, how each task ended, and what became of the worker.

use crate::harness::{Command, Output, Process, Vitals, World, field, wait_until};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// Short, so that what runs for some seconds has to be renewed.
const VISIBILITY_TIMEOUT: &str = "3s";
/// No command line takes a longer word.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// How long a neighbour computes: some milliseconds.
const ROUNDS: u32 = 3000;
/// What an idle worker may have grown by after some hundred tasks: what the allocators of its threads keep.
const SLACK: u64 = 8 << 20;

/// Kept by the queue's own file, so that nothing escapes it and nobody has to look often: how often each message was
/// received, and how often its visibility was renewed.
const WITNESS: &str = "
    CREATE TABLE witness (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, receives INTEGER NOT NULL, renewals INTEGER NOT NULL
    );
    CREATE TRIGGER witness_send AFTER INSERT ON message
    WHEN NEW.queue = (SELECT id FROM queue WHERE name = 'main') BEGIN
        INSERT INTO witness (id, receives, renewals) VALUES (NEW.id, 0, 0);
    END;
    CREATE TRIGGER witness_receive AFTER UPDATE OF receive_count ON message
    WHEN NEW.receive_count <> OLD.receive_count BEGIN
        UPDATE witness SET receives = receives + 1 WHERE id = NEW.id;
    END;
    CREATE TRIGGER witness_renew AFTER UPDATE OF visible_ms ON message
    WHEN NEW.receive_count = OLD.receive_count BEGIN
        UPDATE witness SET renewals = renewals + 1 WHERE id = NEW.id;
    END;";

/// How a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Completed,
    /// For this reason.
    Rejected(&'static str),
    /// With this in the reason.
    RejectedWith(&'static str),
    /// It ran into the limit of this name.
    Limit(&'static str),
    TimedOut,
    /// With this in what is said of it.
    Trapped(&'static str),
    /// It asks for another try, for this reason.
    Retry(&'static str),
}
use Ends::{Completed, Limit, Rejected, RejectedWith, Retry, TimedOut, Trapped};

/// A message, and how its task must end.
pub(super) struct Case {
    pub(super) message: String,
    pub(super) ends: Ends,
}

pub(super) fn case(message: impl Into<String>, ends: Ends) -> Case {
    Case { message: message.into(), ends }
}

/// What the log and the queue tell of one message's task.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its beginning.
    message: String,
    outcome: String,
    reason: Option<String>,
    receives: i64,
    renewals: i64,
}

impl Ended {
    /// What is wrong with that.
    fn differs(&self, ends: &Ends) -> Option<String> {
        let (outcome, reason) = match ends {
            Completed => ("completed", None),
            Rejected(reason) | RejectedWith(reason) => ("rejected", Some(reason)),
            Limit(limit) => ("limit-exceeded", Some(limit)),
            TimedOut => ("timed-out", None),
            Trapped(what) => ("trapped", Some(what)),
            Retry(reason) => ("retry", Some(reason)),
        };
        let told = self.reason.as_deref();
        let as_told = match (ends, reason) {
            (Trapped(_) | RejectedWith(_), Some(what)) => told.is_some_and(|told| told.contains(what)),
            (_, reason) => told == reason.copied(),
        };
        // Once: it was never thought lost, however busy the guests were.
        let is_right = self.outcome == outcome && as_told && self.receives == 1;
        (!is_right).then(|| format!("{ends:?} was to come, but there was {self:?}"))
    }

    #[track_caller]
    fn assert(&self, ends: &Ends) {
        assert_eq!(self.differs(ends), None);
    }
}

/// The kind of guest that a worker runs.
pub(super) struct Guest {
    /// A task that does honest work; it has this number.
    pub(super) neighbour: fn(usize) -> String,
    /// Whether its work is there.
    pub(super) worked: fn(&World, usize) -> bool,
    /// A task that lasts longer than the visibility timeout, and completes.
    pub(super) pulse: fn() -> String,
}

/// `misbehave`
pub(super) const MISBEHAVE: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number} {ROUNDS}"),
    worked: |world, number| {
        let key = format!("neighbour-{number}");
        let hash = (0..ROUNDS).fold(Sha256::digest(&key), |hash, _| Sha256::digest(hash));
        std::fs::read(world.path("out").join(key))
            .is_ok_and(|written| written == format!("{hash:x}").as_bytes())
    },
    pulse: || "sleep 4000".into(),
};

pub(super) struct Siege {
    pub(super) world: World,
    guest: &'static Guest,
    worker: Process,
    queue: Connection,
    /// The number of the next neighbour.
    next: usize,
    /// The pulse that isn't known to have ended.
    beating: Option<Sent>,
    /// What the worker held before there was anything to do.
    fresh: Vitals,
}

/// A message in the queue's file.
struct Sent {
    id: String,
    message: String,
}

impl Siege {
    /// Starts a worker with these options.
    pub(super) fn start(guest: &'static Guest, prepare: impl FnOnce(&World) -> Command) -> Self {
        // A message that fails is dead-lettered at once.
        let world =
            World::in_memory_with_queue(&["--max-receives", "1", "--visibility-timeout", VISIBILITY_TIMEOUT]);
        let queue = world.database();
        queue.execute_batch(WITNESS).expect("a witness");
        let worker = prepare(&world).within(Duration::from_secs(300)).start();
        worker.until_logged("\"Ready.\"");
        let fresh = worker.vitals();
        Self { world, guest, worker, queue, next: 0, beating: None, fresh }
    }

    /// All of them at the same time, each with a neighbour. All have ended when this returns.
    #[track_caller]
    pub(super) fn storm(&mut self, cases: &[Case]) {
        let neighbours: Vec<usize> = cases.iter().map(|_| self.number()).collect();
        let messages = cases.iter().zip(&neighbours);
        let messages =
            messages.flat_map(|(case, &number)| [case.message.clone(), (self.guest.neighbour)(number)]);
        let ended = self.wait(self.send(messages.collect()));
        let mut wrong = Wrong::default();
        for ((case, number), pair) in cases.iter().zip(neighbours).zip(ended.chunks(2)) {
            wrong.extend(pair[0].differs(&case.ends));
            wrong.extend(self.idled(&pair[1], number));
        }
    }

    /// All of them at the same time, without others. All have ended when this returns.
    #[track_caller]
    pub(super) fn alike(&mut self, cases: &[Case]) {
        let ended = self.wait(self.send(cases.iter().map(|case| case.message.clone()).collect()));
        let mut wrong = Wrong::default();
        for (case, ended) in cases.iter().zip(ended) {
            wrong.extend(ended.differs(&case.ends));
        }
    }

    /// All of them at the same time, with one neighbour, which has completed before any of them ends.
    #[track_caller]
    pub(super) fn surround(&mut self, cases: &[Case]) {
        let number = self.number();
        let mut messages: Vec<String> = cases.iter().map(|case| case.message.clone()).collect();
        messages.push((self.guest.neighbour)(number));
        let mut besiegers = self.send(messages);
        let neighbour = besiegers.split_off(cases.len());
        let mut wrong = Wrong::default();
        wrong.extend(self.idled(&self.wait(neighbour)[0], number));
        if besiegers.iter().any(|sent| self.is_settled(std::slice::from_ref(sent))) {
            wrong.extend(Some("some had ended before the neighbour".into()));
        }
        for (case, ended) in cases.iter().zip(self.wait(besiegers)) {
            wrong.extend(ended.differs(&case.ends));
        }
    }

    /// One by one, each with a neighbour that starts in the same moment, while a long task of the worker goes on; and
    /// after each, what it had is given back.
    #[track_caller]
    pub(super) fn one_by_one(&mut self, cases: &[Case], most_memory: u64) {
        let before = self.idle();
        let mut wrong = Wrong::default();
        println!("milliseconds  KiB at most  KiB after  case");
        for case in cases {
            let number = self.number();
            let mut messages = vec![case.message.clone(), (self.guest.neighbour)(number)];
            let beats = self.beats();
            if !beats {
                messages.push((self.guest.pulse)());
            }
            self.worker.forget_peak();
            let began = Instant::now();
            let resident = self.worker.vitals().resident;
            let mut sent = self.send(messages);
            if !beats {
                self.beating = sent.pop();
            }
            let ended = self.wait(sent);
            wrong.extend(ended[0].differs(&case.ends));
            wrong.extend(self.idled(&ended[1], number));
            let name = &ended[0].message;
            wait_until(&format!("{name} gave its files back"), || self.worker.vitals().files <= before.files);
            let after = self.worker.vitals();
            let held = after.peak.saturating_sub(resident);
            let milliseconds = began.elapsed().as_millis();
            println!("{milliseconds:>12}  {:>11}  {:>9}  {name}", held >> 10, after.resident >> 10);
            if held > most_memory {
                wrong.extend(Some(format!(
                    "{name} made the process hold {held} bytes: {before:?}, {after:?}"
                )));
            }
        }
        let after = self.idle();
        if after.resident > before.resident + SLACK {
            wrong.extend(Some(format!("not all memory was given back: {before:?}, {after:?}")));
        }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// What is wrong with a neighbour.
    fn idled(&self, neighbour: &Ended, number: usize) -> Option<String> {
        let no_result = || {
            let worked = (self.guest.worked)(&self.world, number);
            (!worked).then(|| format!("{neighbour:?} left no result"))
        };
        neighbour.differs(&Completed).or_else(no_result)
    }

    /// Whether the pulse goes on; one that has ended was renewed in time.
    #[track_caller]
    fn beats(&mut self) -> bool {
        let Some(sent) = self.beating.take() else { return false };
        if !self.is_settled(std::slice::from_ref(&sent)) {
            self.beating = Some(sent);
            return true;
        }
        self.assert_beat(sent);
        false
    }

    #[track_caller]
    fn assert_beat(&self, sent: Sent) {
        let ended = self.wait(vec![sent]).remove(0);
        ended.assert(&Completed);
        assert!(ended.renewals >= 2, "{ended:?}");
    }

    /// What the worker holds when nothing is left to do.
    #[track_caller]
    pub(super) fn idle(&mut self) -> Vitals {
        if let Some(sent) = self.beating.take() {
            self.assert_beat(sent);
        }
        let mut last = self.worker.vitals();
        wait_until("the worker rests", || {
            let now = self.worker.vitals();
            let rests = now == last;
            last = now;
            rests
        });
        last
    }

    /// Ends the worker, which is well.
    #[track_caller]
    pub(super) fn end(mut self) -> Output {
        self.idle();
        // Those that blocked for a store end when they had nothing to do for ten seconds.
        wait_until("threads and files are as they were", || {
            let now = self.worker.vitals();
            now.threads <= self.fresh.threads && now.files <= self.fresh.files
        });
        self.worker.signal(Signal::TERM);
        let output = self.worker.finish().succeeded();
        assert_eq!(output.summary()["outcomes"].get("cancelled"), None, "{output}");
        assert_eq!(output.summary()["outcomes"].get("host-failed"), None, "{output}");
        for text in ["lapsed", "wasn't extended", "nothing is received"] {
            let told = output.stderr.iter().find(|line| line.contains(text));
            assert_eq!(told, None, "{output}");
        }
        output
    }

    #[track_caller]
    fn send(&self, messages: Vec<String>) -> Vec<Sent> {
        let known: i64 = self.ask("SELECT coalesce(max(number), 0) FROM witness", []);
        let words = messages.iter().enumerate().map(|(index, message)| {
            if message.len() < MAX_ARGUMENT_BYTES {
                return message.clone();
            }
            let file = format!("message-{index}");
            self.world.write(&file, message);
            format!("@{file}")
        });
        self.world.send(words);
        let mut query =
            self.queue.prepare("SELECT id FROM witness WHERE number > ? ORDER BY number").expect("a query");
        let ids = query.query_map([known], |row| row.get(0)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let ids = ids.expect("ids");
        assert_eq!(ids.len(), messages.len());
        ids.into_iter().zip(messages).map(|(id, message)| Sent { id, message }).collect()
    }

    /// Waits until the messages are gone from the queue.
    #[track_caller]
    fn wait(&self, sent: Vec<Sent>) -> Vec<Ended> {
        wait_until("the messages are settled", || self.is_settled(&sent));
        let mut logs = Vec::new();
        wait_until("the log tells how the tasks ended", || {
            logs = self.worker.logs_with("ompleted.\"");
            sent.iter().all(|sent| log_of(&logs, &sent.id).is_some())
        });
        sent.into_iter().map(|sent| self.ended(sent, &logs)).collect()
    }

    fn is_settled(&self, sent: &[Sent]) -> bool {
        let left = "SELECT count(*) FROM message JOIN queue ON queue.id = message.queue
            WHERE queue.name = 'main' AND message.id = ?";
        sent.iter().all(|sent| self.ask::<i64>(left, [&sent.id]) == 0)
    }

    fn ended(&self, sent: Sent, logs: &[Value]) -> Ended {
        let log = log_of(logs, &sent.id).expect("it has ended");
        let outcome = match field(log, "message") {
            "Completed." => "completed",
            _ => field(log, "outcome"),
        };
        Ended {
            message: sent.message.chars().take(80).collect(),
            outcome: outcome.to_owned(),
            reason: log["reason"].as_str().map(str::to_owned),
            receives: self.ask("SELECT receives FROM witness WHERE id = ?", [&sent.id]),
            renewals: self.ask("SELECT renewals FROM witness WHERE id = ?", [&sent.id]),
        }
    }

    #[track_caller]
    fn ask<T: rusqlite::types::FromSql>(&self, sql: &str, values: impl rusqlite::Params) -> T {
        self.queue.query_row(sql, values, |row| row.get(0)).expect("an answer")
    }
}

/// All that is wrong, so that one run tells it all.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn extend(&mut self, complaint: Option<String>) {
        self.0.extend(complaint);
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{}", self.0.join("\n"));
        }
    }
}

fn log_of<'a>(logs: &'a [Value], id: &str) -> Option<&'a Value> {
    logs.iter().find(|log| log["message_id"] == id)
}
