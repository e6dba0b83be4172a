//! Creating, recognising, losing and finding the file.

use super::*;
use crate::sqlite::transaction::Transaction;
use rusqlite::Connection;

fn unusable(result: Result<SqliteQueue, QueueError>) -> String {
    match result {
        Err(QueueError::Unusable(text)) => text,
        other => panic!("it should be unusable: {other:?}"),
    }
}

fn create(url: &str, settings: QueueSettings) -> Result<SqliteQueue, QueueError> {
    SqliteQueue::create(url, &settings).map(|(queue, _)| queue)
}

#[test]
fn a_queue_that_is_not_there_is_not_found_and_not_created() {
    let world = World::new();
    let url = world.url("jobs.db");
    let Err(QueueError::NotFound(text)) = SqliteQueue::open(&url) else { panic!("there is no file") };
    assert_eq!(
        text,
        format!(
            "there is no queue {url}: create it with `wasmrun queue create {url}` or by `wasmrun enqueue`"
        )
    );
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);
    drop(world.queue());
    let Err(QueueError::NotFound(text)) = SqliteQueue::open(&world.url("jobs.db#other")) else {
        panic!("no such queue")
    };
    assert!(text.contains("it has: dead, main"), "{text}");
}

#[test]
fn urls_are_checked() {
    let world = World::new();
    for url in [
        "",
        "jobs.db",
        "sqlite:",
        "sqlite:#main",
        "sqlite:jobs.db#",
        "sqlite:jobs.db#a b",
        "sqlite:a\0b",
        "sqlite:/",
    ] {
        unusable(SqliteQueue::open(url));
        unusable(create(url, QueueSettings::default()));
    }
    unusable(SqliteQueue::open(&format!("sqlite:{}", world.dir.path().display())));
    let missing = unusable(create(&world.url("no/such/jobs.db"), QueueSettings::default()));
    assert!(missing.contains("create the directory first"), "{missing}");
    std::os::unix::fs::symlink(world.dir.path().join("no/such/jobs.db"), world.dir.path().join("link.db"))
        .unwrap();
    let linked = unusable(create(&world.url("link.db"), QueueSettings::default()));
    assert!(linked.contains("link.db cannot be followed"), "{linked}");
    unusable(create(&world.url(&format!("jobs.db#{}", "x".repeat(81))), QueueSettings::default()));
}

#[tokio::test]
async fn the_url_is_absolute_and_opens_the_same_queue() {
    let world = World::new();
    std::fs::create_dir(world.dir.path().join("a#b")).unwrap();
    for file in ["jobs.db", "./jobs.db#main", "jobs.db#two", "a#b/jobs.db#main"] {
        let queue = world.create(file, &QueueSettings::default());
        let id = send(&queue, text(file)).await;
        let again = SqliteQueue::open_with(queue.url(), world.clock()).unwrap();
        assert_eq!((again.url(), again.path()), (queue.url(), queue.path()));
        assert!(again.peek(10).await.unwrap().iter().any(|message| message.id == id));
    }
}

#[test]
fn creating_twice_changes_nothing_and_a_difference_is_an_error() {
    let world = World::new();
    let url = world.url("jobs.db");
    let settings =
        QueueSettings { visibility_timeout: Some(Duration::from_secs(2)), ..QueueSettings::default() };
    assert!(SqliteQueue::create(&url, &settings).unwrap().1);
    assert!(!SqliteQueue::create(&url, &settings).unwrap().1);
    assert!(!SqliteQueue::create(&url, &QueueSettings::default()).unwrap().1);
    let differing = [
        QueueSettings { visibility_timeout: Some(Duration::from_secs(3)), ..Default::default() },
        QueueSettings { dead_letter: Some(DeadLetter::None), ..Default::default() },
        QueueSettings { dead_letter: Some(DeadLetter::Queue("other".into())), ..Default::default() },
        QueueSettings { max_receives: Some(6), ..Default::default() },
        QueueSettings { fifo: Some(true), ..Default::default() },
    ];
    for settings in differing {
        let text = unusable(create(&url, settings));
        assert!(text.contains("leave that setting out"), "{text}");
    }
}

#[test]
fn settings_that_are_not_possible_are_refused_before_a_file_is_made() {
    let world = World::new();
    let url = world.url("jobs.db");
    let impossible = [
        QueueSettings { visibility_timeout: Some(Duration::from_secs(12 * 3600 + 1)), ..Default::default() },
        QueueSettings { max_receives: Some(0), ..Default::default() },
        QueueSettings { max_receives: Some(1001), ..Default::default() },
        QueueSettings { max_receives: Some(3), dead_letter: Some(DeadLetter::None), ..Default::default() },
        QueueSettings { dead_letter: Some(DeadLetter::Queue("main".into())), ..Default::default() },
        QueueSettings { dead_letter: Some(DeadLetter::Queue(url.clone())), ..Default::default() },
        QueueSettings { dead_letter: Some(DeadLetter::Queue("a b".into())), ..Default::default() },
    ];
    for settings in impossible {
        unusable(create(&url, settings));
    }
    let elsewhere =
        QueueSettings { dead_letter: Some(DeadLetter::Queue(world.url("x.db"))), ..Default::default() };
    assert!(matches!(create(&url, elsewhere), Err(QueueError::NotFound(_))));
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_second_name_of_a_file_is_known_for_the_same_file() {
    let world = World::new();
    let queue = world.queue();
    std::fs::hard_link(queue.path(), world.dir.path().join("link.db")).unwrap();
    let to = |name: &str| QueueSettings {
        dead_letter: Some(DeadLetter::Queue(world.url(name))),
        ..Default::default()
    };
    assert!(unusable(create(queue.url(), to("link.db"))).contains("its own dead-letter queue"));
    let other = create(&world.url("jobs.db#other"), to("link.db#dead")).unwrap();
    let dead = other.attributes().await.unwrap().redrive.unwrap().dead_letter;
    assert_eq!(dead, world.open("jobs.db#dead").url());
}

#[test]
fn a_fifo_queue_cannot_catch_for_a_standard_one() {
    let world = World::new();
    world.create("jobs.db#caught", &QueueSettings { fifo: Some(true), ..Default::default() });
    let to = |fifo| QueueSettings {
        dead_letter: Some(DeadLetter::Queue("caught".into())),
        fifo: Some(fifo),
        ..Default::default()
    };
    assert!(unusable(create(&world.url("jobs.db#a"), to(false))).contains("FIFO"));
    create(&world.url("jobs.db#b"), to(true)).unwrap();
}

#[test]
fn files_that_are_no_queue_are_named_as_what_they_are() {
    let world = World::new();
    let file = |name: &str| world.dir.path().join(name);
    std::fs::write(file("text.db"), "not a database ".repeat(1000)).unwrap();
    let other = Connection::open(file("other.db")).unwrap();
    other.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (a)").unwrap();
    drop(other);
    drop(world.create("newer.db", &QueueSettings::default()));
    Connection::open(file("newer.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for (name, says) in [
        ("text.db", "is not a SQLite database"),
        ("other.db", "another application"),
        ("newer.db", "another version"),
    ] {
        let before = std::fs::read(file(name)).unwrap();
        assert!(unusable(SqliteQueue::open(&world.url(name))).contains(says), "{name}");
        assert!(unusable(create(&world.url(name), QueueSettings::default())).contains(says), "{name}");
        assert_eq!(std::fs::read(file(name)).unwrap(), before, "{name} is left as it was");
    }
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_panic() {
    let world = World::new();
    drop(world.queue());
    let path = world.dir.path().join("jobs.db");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let text = unusable(SqliteQueue::open(&world.url("jobs.db")));
    assert!(text.contains("is damaged"), "{text}");
    let mut scrambled = whole;
    scrambled[100..].fill(0xA5);
    std::fs::write(&path, &scrambled).unwrap();
    unusable(SqliteQueue::open(&world.url("jobs.db")));
}

#[test]
fn a_file_whose_creation_was_interrupted_is_created_anew() {
    let world = World::new();
    std::fs::write(world.dir.path().join("jobs.db"), "").unwrap();
    assert!(matches!(SqliteQueue::open(&world.url("jobs.db")), Err(QueueError::NotFound(_))));
    create(&world.url("jobs.db"), QueueSettings::default()).unwrap();
}

#[test]
fn processes_that_create_a_queue_at_once_get_the_same_one() {
    let world = World::new();
    let url = world.url("jobs.db");
    let new: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| SqliteQueue::create(&url, &QueueSettings::default()).unwrap().1))
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(new, 1);
}

#[tokio::test]
async fn a_transaction_that_was_cut_off_leaves_no_trace() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("x")).await;
    {
        let mut killed = Connection::open(queue.path()).unwrap();
        let transaction = killed.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        transaction.execute("DELETE FROM message", []).unwrap();
    }
    assert_eq!(queue.depth().await.unwrap().visible, 1);
    assert_eq!(receive_one(&queue).await.message.body, "x");
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_recovers() {
    let world = World::new();
    let queue = world.queue();
    let locker = Connection::open(queue.path()).unwrap();
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = queue.send(&[text("x")]).await.remove(0);
    assert!(matches!(&answer, Err(QueueError::Unavailable(text)) if text.contains("locked")), "{answer:?}");
    locker.execute_batch("ROLLBACK").unwrap();
    send(&queue, text("x")).await;
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_recovers() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("first")).await;
    let limit = |pages: i64| {
        queue.database.write(move |transaction: &Transaction<'_>| {
            Ok(transaction.sql.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
        })
    };
    limit(1).await.unwrap();
    let answer = queue.send(&[text(&"x".repeat(100_000))]).await.remove(0);
    assert!(matches!(&answer, Err(QueueError::Unavailable(text)) if text.contains("full")), "{answer:?}");
    limit(1_000_000).await.unwrap();
    send(&queue, text(&"x".repeat(100_000))).await;
    assert_eq!(queue.depth().await.unwrap().visible, 2);
}

#[tokio::test]
async fn a_directory_that_vanishes_and_comes_back_loses_nothing() {
    let world = World::new();
    let (home, away) = (world.dir.path().join("home"), world.dir.path().join("away"));
    std::fs::create_dir(&home).unwrap();
    let queue = world.create("home/jobs.db", &QueueSettings::default());
    send(&queue, text("before")).await;
    std::fs::rename(&home, &away).unwrap();
    let answer = queue.receive(1, Duration::from_secs(60), &CancellationToken::new()).await;
    assert!(matches!(&answer, Err(QueueError::Unavailable(_))), "{answer:?}");
    assert!(matches!(queue.send(&[text("lost?")]).await.remove(0), Err(QueueError::Unavailable(_))));
    std::fs::rename(&away, &home).unwrap();
    send(&queue, text("after")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["before", "after"]);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed() {
    let world = World::new();
    let queue = world.queue();
    send(&queue, text("old")).await;
    std::fs::rename(queue.path(), world.dir.path().join("old.db")).unwrap();
    for log in ["jobs.db-wal", "jobs.db-shm"] {
        let _ = std::fs::remove_file(world.dir.path().join(log));
    }
    let other = world.queue();
    send(&other, text("new")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["new"]);
    drop(queue);
    assert_eq!(other.depth().await.unwrap().in_flight, 1);
}

#[tokio::test]
async fn no_statement_reads_through_a_long_queue() {
    let world = World::new();
    let queue = world.queue();
    let index =
        |transaction: &Transaction<'_>| Ok(transaction.sql.execute(crate::sqlite::round::GROUP_INDEX, [])?);
    queue.database.write(index).await.unwrap();
    let group = "FROM message WHERE queue = 1 AND message_group = 'g'";
    let cases = [
        (
            Transaction::next_sql(),
            "SEARCH message USING INDEX message_next (queue=? AND blocked=? AND visible_ms<?)\n\
             SEARCH content USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            Transaction::page_sql(),
            "SEARCH message USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)\n\
             CORRELATED SCALAR SUBQUERY 1\n\
             SEARCH first USING INDEX message_in_group (queue=? AND message_group=?)\n\
             SEARCH content USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            crate::sqlite::round::GROUP_AFTER.into(),
            "SEARCH message USING COVERING INDEX message_in_group (queue=? AND message_group>?)",
        ),
        (
            crate::sqlite::round::VISIBLE_IN_GROUP.into(),
            "SEARCH message USING COVERING INDEX message_next_in_group (queue=? AND message_group=? AND visible_ms<?)",
        ),
        (
            "SELECT min(visible_ms) FROM message WHERE queue = 1 AND blocked = 0".into(),
            "SEARCH message USING COVERING INDEX message_next (queue=? AND blocked=?)",
        ),
        (
            format!("SELECT min(sequence) {group}"),
            "SEARCH message USING COVERING INDEX message_in_group (queue=? AND message_group=?)",
        ),
    ];
    for (sql, expected) in cases {
        let plan = queue.database.read(move |transaction| {
            let mut query = transaction.sql.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // A query plan needs no parameter values.
            let steps = query.raw_query().mapped(|row| row.get::<_, String>(3));
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("\n"))
        });
        assert_eq!(plan.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_file_can_be_read_by_hand() {
    let world = World::new();
    let queue = SqliteQueue::create(&world.url("jobs.db"), &QueueSettings::default()).unwrap().0;
    queue
        .send(&[text("1"), text("2"), OutgoingMessage { delay: Some(Duration::from_secs(60)), ..text("3") }])
        .await;
    receive_one(&queue).await;
    let shell = Connection::open(queue.path()).unwrap();
    let depth = |name: &str| {
        let counts = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?, row.get(3)?));
        shell.query_row("SELECT * FROM queue_depth WHERE queue = ?1", [name], counts).unwrap()
    };
    assert_eq!((depth("main"), depth("dead")), ((1, 1, 1), (0, 0, 0)));
    let body: String =
        shell.query_row("SELECT body FROM messages WHERE state = 'visible'", [], |row| row.get(0)).unwrap();
    assert_eq!(body, "2");
}
