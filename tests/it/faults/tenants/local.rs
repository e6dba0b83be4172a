//! Queues, stores and files of one machine.

use super::{KEYS, Place, QUEUES, survives};
use crate::harness::{Command, Depth, World, keys, wait_until};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

const DONE: &str = "sqlite:done.db";
/// The messages of `c` take a route with a store of its own.
const ROUTES: &str = "
    [[route]]
    name = 'of-c'
    match.group = 'c'
    store.output = 'dir:of-c:rw'
";
const STORES: [&str; 2] = ["out", "of-c"];

struct Machine(World);

impl Machine {
    fn new() -> Self {
        let world = World::new();
        for (queue, _) in QUEUES {
            let options = ["--visibility-timeout", "1s", "--max-receives", "1000"];
            world.create_queue(&format!("sqlite:{queue}.db"), &options);
        }
        world.create_queue(DONE, &[]);
        world.create_dir("of-c");
        world.write("routes.toml", ROUTES);
        Self(world)
    }

    /// Opens a file of SQLite; `None` if it isn't there yet.
    fn open(&self, file: &str) -> Option<Connection> {
        Connection::open_with_flags(self.0.path(file), OpenFlags::SQLITE_OPEN_READ_WRITE).ok()
    }

    /// The IDs of the messages in a queue that were sent after this one.
    fn sent_after(&self, queue: &str, sequence: i64) -> Vec<String> {
        let database = self.open(&format!("{queue}.db")).expect("a database");
        let sql = "SELECT id FROM messages WHERE queue = 'main' AND sequence > ?1 ORDER BY sequence";
        let mut query = database.prepare(sql).expect("the view");
        query.query_map([sequence], |row| row.get(0)).and_then(Iterator::collect).expect("rows")
    }
}

impl Place for Machine {
    fn send(&self, queue: &str, key: &str, group: Option<&str>, bodies: &[String]) -> Vec<String> {
        let database = self.open(&format!("{queue}.db")).expect("a database");
        // The number that was used last, although its message may be gone.
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'message'";
        let last: i64 = database.query_row(sql, [], |row| row.get(0)).expect("a number");
        let batch = group.map(|group| [format!("batch={group}"), format!("batch.count={}", bodies.len())]);
        let batch = batch.iter().flatten().flat_map(|attribute| ["--attribute", attribute]);
        let options: Vec<_> = ["--group", key].into_iter().chain(batch).collect();
        self.0.send_to(&format!("sqlite:{queue}.db"), &options, bodies);
        self.sent_after(queue, last)
    }

    fn worker(&self) -> Command {
        let queues = QUEUES.map(|(queue, priority)| format!("sqlite:{queue}.db{priority}"));
        let run = self.0.wasmrun(["run", "--key", "group", "--once", "sqlite:ledger.db", "--notify", DONE]);
        let run = run.args(["--budget-store", "sqlite:budgets.db", "--group-store", "sqlite:groups.db"]);
        let run = run.args(["--store", "output=dir:out:rw"]);
        queues.iter().fold(run, |command, queue| command.args(["--queue", queue]))
    }

    fn charged(&self) -> u64 {
        let Some(accounts) = self.open("budgets.db") else { return 0 };
        let keys = KEYS.map(|key| format!("'{key}'")).join(", ");
        let sql = format!("SELECT coalesce(sum(used), 0) FROM account WHERE key IN ({keys})");
        match accounts.query_row(&sql, [], |row| row.get::<_, i64>(0)) {
            Ok(used) => used.unsigned_abs(),
            // A worker may be creating the table.
            Err(error) if error.to_string().contains("no such table") => 0,
            Err(error) => panic!("cannot read the budgets: {error}"),
        }
    }

    fn count_notified(&self) -> usize {
        let done = self.open("done.db").expect("a database");
        done.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, u32>(0)).expect("a number")
            as usize
    }

    fn notifications(&self) -> Vec<Value> {
        self.0.peek_bodies(DONE)
    }

    fn read(&self, key: &str, object: &str) -> String {
        let store = if key == "c" { "of-c" } else { "out" };
        self.0.text(&format!("{store}/{object}"))
    }

    fn nonces(&self) -> Vec<String> {
        STORES.iter().flat_map(|store| self.0.keys(&format!("{store}/nonces"))).collect()
    }

    fn assert_empty(&self) {
        for (queue, _) in QUEUES {
            for queue in [format!("sqlite:{queue}.db"), format!("sqlite:{queue}.db#dead")] {
                assert_eq!(self.0.depth_of(&queue), Depth::EMPTY, "{queue}");
            }
        }
    }

    fn entries(&self) -> Vec<String> {
        let ledger = self.open("ledger.db").expect("a ledger");
        let sql = "SELECT CASE state WHEN 2 THEN 'completed' ELSE 'other' END FROM entry";
        let mut query = ledger.prepare(sql).expect("a table");
        query.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("rows")
    }
}

#[test]
fn kills_of_a_worker_for_many_tenants_lose_and_repeat_nothing() {
    let machine = Machine::new();
    survives(&machine, 12);

    // A sweep leaves nothing of the runs that were killed.
    let sweeper = super::start(&machine, &[]);
    sweeper.until_logged("\"ready\"");
    let left = |below: &str| {
        STORES.iter().map(|store| keys(&machine.0.path(&format!("{store}/{below}"))).len()).sum::<usize>()
    };
    wait_until("the staging areas are empty", || left(".wasmrun/staged") == 0);
    sweeper.stop();
    assert_eq!(left(".wasmrun/tmp"), 0);
}
