//! A worker under attack: the messages sent to it, the end of each task, and the state of the worker.

use super::ends::{Case, Ended, Ends, Wrong};
use super::outside::{Outside, left_behind};
use crate::harness::{Command, Output, Process, Vitals, World, field, wait_until};
use rusqlite::Connection;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Short, so that the lease of a task that runs for some seconds must be renewed.
const VISIBILITY_TIMEOUT: &str = "3s";
/// Maximum size of a message that is passed as an argument. Command lines limit the length of one argument.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// Idle time after which a blocking thread of the stores has ended.
const IDLE_THREAD: Duration = Duration::from_millis(300);
/// Growth in bytes that is allowed for an idle worker after some hundred tasks, because the allocators of its threads
/// keep memory.
const SLACK: u64 = 8 << 20;
/// Bounds what a task and its neighbour may make the process hold: 16 MiB of memory and the arguments of a call for the
/// task, and as much again for the neighbour.
const MOST_MEMORY: u64 = 48 << 20;

/// Triggers in the queue's own database that count the receives and renewals of each message, so that none is missed
/// and the test doesn't need to poll.
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

/// The kind of guest that a worker runs.
pub(super) struct Guest {
    /// The message of a task that does honest work, for the neighbour of this number.
    pub(super) neighbour: fn(usize) -> String,
    /// The key of the result of the neighbour of this number, if the result exists and is right.
    pub(super) result: fn(&World, usize) -> Option<String>,
    /// The message of the pulse, a task that lasts for four seconds and completes. `None` where the cases themselves
    /// last that long.
    pub(super) pulse: Option<fn() -> String>,
}

pub(super) struct Siege {
    pub(super) world: World,
    guest: &'static Guest,
    worker: Process,
    queue: Connection,
    /// Number of the latest neighbour.
    next: usize,
    /// The latest pulse, unless it is known to have ended.
    beating: Option<Sent>,
    /// The worker's resources before the first task.
    fresh: Vitals,
    outside: Outside,
}

/// A message in the queue's database.
struct Sent {
    id: String,
    message: String,
}

impl Siege {
    /// Starts a worker with the guest's options.
    pub(super) fn start(guest: &'static Guest, prepare: impl FnOnce(&World) -> Command) -> Self {
        // A message whose task fails is dead-lettered at once.
        let world =
            World::in_memory_with_queue(&["--max-receives", "1", "--visibility-timeout", VISIBILITY_TIMEOUT]);
        let queue = world.database();
        queue.execute_batch(WITNESS).expect("a witness");
        // Attacks fail on purpose, and as often as they like.
        let command = prepare(&world).args(["--max-consecutive-failures", "off"]);
        let command = command.within(Duration::from_secs(300));
        let outside = Outside::of(&world);
        let worker = command.start_ready();
        let fresh = rested(&worker);
        Self { world, guest, worker, queue, next: 0, beating: None, fresh, outside }
    }

    /// Runs all cases at the same time, each with a neighbour, while a pulse is running.
    #[track_caller]
    pub(super) fn storm(&mut self, cases: &[Case]) {
        self.start_pulse();
        self.rush(cases);
    }

    /// Runs the same storm twice and compares the memory. Only suits a small pool or none: the pool keeps a MiB of each
    /// memory, and slots differ by their earlier use.
    #[track_caller]
    pub(super) fn storm_twice(&mut self, cases: &[Case]) {
        self.start_pulse();
        self.twice(|siege| siege.rush(cases));
    }

    fn start_pulse(&mut self) {
        self.beating = self.guest.pulse.map(|pulse| self.send(vec![pulse()]).remove(0));
    }

    /// Runs all cases at the same time, each with a neighbour, and waits until all have ended.
    #[track_caller]
    fn rush(&mut self, cases: &[Case]) {
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

    /// Runs an attack twice. The first run warms up the worker; after the second it must hold no more memory than after
    /// the first, within [`SLACK`].
    #[track_caller]
    fn twice(&mut self, attack: impl Fn(&mut Self)) {
        attack(self);
        let first = self.idle().resident;
        attack(self);
        let second = self.idle().resident;
        println!("KiB after the first time: {}, after the second: {}", first >> 10, second >> 10);
        wait_until(&format!("no more than {first} bytes are held"), || {
            self.worker.vitals().resident <= first + SLACK
        });
    }

    /// Runs all cases at the same time with one neighbour, which must complete before any of them ends. Does so twice.
    #[track_caller]
    pub(super) fn surround(&mut self, cases: &[Case]) {
        self.twice(|siege| siege.surround_once(cases));
    }

    #[track_caller]
    fn surround_once(&mut self, cases: &[Case]) {
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

    /// Runs the cases one by one, each with a neighbour that starts at the same moment, while a pulse is running. After
    /// each case, its resources must have been freed.
    #[track_caller]
    pub(super) fn one_by_one(&mut self, cases: &[Case]) {
        let before = self.idle();
        let mut wrong = Wrong::default();
        println!("milliseconds  KiB at most  KiB after  case");
        let pulse = self.guest.pulse.expect("a pulse");
        for case in cases {
            let number = self.number();
            let mut messages = vec![case.message.clone(), (self.guest.neighbour)(number)];
            let beats = self.beats();
            if !beats {
                messages.push(pulse());
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
            if held > MOST_MEMORY {
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

    /// Describes what is wrong with a neighbour, if anything is.
    fn idled(&self, neighbour: &Ended, number: usize) -> Option<String> {
        let no_result = || {
            let result = (self.guest.result)(&self.world, number);
            result.is_none().then(|| format!("{neighbour:?} left no result"))
        };
        neighbour.differs(&Ends::Completed).or_else(no_result)
    }

    /// Whether the pulse is still running. Asserts that a pulse that has ended was renewed in time.
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
        assert_eq!(ended.differs(&Ends::Completed), None);
        assert!(ended.is_renewed(), "{ended:?}");
    }

    /// Waits until the worker is idle, and returns its resources.
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

    /// Stops the worker and asserts that it was healthy and left nothing changed except these objects and those of the
    /// neighbours.
    #[track_caller]
    pub(super) fn end(mut self, objects: &[&str]) -> Output {
        self.idle();
        wait_until("files are as they were", || self.worker.vitals().files <= self.fresh.files);
        wait_until("threads are as they were", || self.worker.vitals().threads <= self.fresh.threads);
        let output = self.worker.stop();
        assert_eq!(output.summary()["outcomes"].get("cancelled"), None, "{output}");
        assert_eq!(output.summary()["outcomes"].get("host-failed"), None, "{output}");
        for text in ["lease expired", "cannot renew the lease", "paused receiving"] {
            let told = output.stderr.iter().find(|line| line.contains(text));
            assert_eq!(told, None, "{output}");
        }
        assert_eq!(Outside::of(&self.world), self.outside);
        let neighbours = (1..=self.next).filter_map(|number| (self.guest.result)(&self.world, number));
        let mut expected: Vec<_> =
            objects.iter().map(|&object| object.to_owned()).chain(neighbours).collect();
        expected.sort();
        let mut left = left_behind(&self.world);
        left.sort();
        assert_eq!(left, expected);
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

    /// Waits until the messages are settled, and returns how their tasks ended.
    #[track_caller]
    fn wait(&self, sent: Vec<Sent>) -> Vec<Ended> {
        wait_until("the messages are settled", || self.is_settled(&sent));
        let mut logs = Vec::new();
        wait_until("the log tells how the tasks ended", || {
            logs = self.worker.logs_with("\"message\":\"task ");
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
            "task completed" => "completed",
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

/// The worker's resources once the threads that queried its stores at the start have ended.
#[track_caller]
fn rested(worker: &Process) -> Vitals {
    let (mut last, mut since) = (worker.vitals(), Instant::now());
    wait_until("the worker rests", || {
        let now = worker.vitals();
        if now.threads != last.threads {
            since = Instant::now();
        }
        last = now;
        since.elapsed() > IDLE_THREAD
    });
    last
}

fn log_of<'a>(logs: &'a [Value], id: &str) -> Option<&'a Value> {
    logs.iter().find(|log| log["message_id"] == id)
}
