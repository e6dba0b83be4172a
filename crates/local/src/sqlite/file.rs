//! Recognising, creating and opening the database file, and the meaning of SQLite's errors.

use super::address::{self, Address, Kind};
use super::clock::Clock;
use crate::paths::identity;
use rusqlite::ffi::{self, ErrorCode};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::{Duration, Instant};
use wasmrun_runtime::ports::queue::QueueError;

/// Increases with every change of a schema that an older program would misread.
const SCHEMA_VERSION: i32 = 1;
/// How long to wait for another process's write. A write takes milliseconds, so the timeout is only reached if a
/// process hangs while it holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size to which the write-ahead log is truncated after a checkpoint, so that a burst of large messages doesn't stay on
/// disk twice.
const LOG_SIZE_LIMIT: i64 = 64 << 20;

impl Kind {
    /// Returns what marks a SQLite database as a file of this kind: "wrun", "wrkv", "wrgr", "wron" and
    /// "wrbd".
    fn application_id(self) -> i32 {
        match self {
            Self::Queues => 0x7772_756e,
            Self::Bucket => 0x7772_6b76,
            Self::Groups => 0x7772_6772,
            Self::Ledger => 0x7772_6f6e,
            Self::Budgets => 0x7772_6264,
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Self::Queues => include_str!("schema.sql"),
            Self::Bucket => include_str!("bucket/schema.sql"),
            Self::Groups => include_str!("groups/schema.sql"),
            Self::Ledger => include_str!("ledger/schema.sql"),
            Self::Budgets => include_str!("budgets/schema.sql"),
        }
    }
}

/// An error inside a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Queue(QueueError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl Fault {
    pub(super) fn into_queue_error(self, address: &Address) -> QueueError {
        match self {
            Self::Queue(error) => error,
            Self::Sql(error) => explain(&error, address),
        }
    }

    /// Reports whether the connection must not be used again after this error.
    pub(super) fn spoils_connection(&self) -> bool {
        let Self::Sql(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        !matches!(error.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
    }
}

/// An open connection and the file that it was opened on.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) connection: Connection,
    identity: (u64, u64),
}

impl OpenFile {
    /// Opens a file that exists and has the schema of a queue file.
    pub(super) fn open(address: &Address) -> Result<Self, QueueError> {
        Self::connect(address, OpenFlags::empty(), |connection| recognise(connection, address))
    }

    /// Opens a file, and writes the schema into it if the file is new or empty.
    pub(super) fn open_or_create(address: &Address, clock: &Clock) -> Result<Self, QueueError> {
        Self::connect(address, OpenFlags::SQLITE_OPEN_CREATE, |connection| {
            if is_empty(connection)? {
                initialise(connection, address.kind, clock)?;
                sync_directory(&address.path);
            }
            recognise(connection, address)
        })
    }

    /// Reports whether the path still leads to the open file. If it doesn't, writes would go to a file that nobody else
    /// sees, so the connection must be closed. (Closing it leaves the log of the new file alone, as SQLite checks this
    /// as well.)
    pub(super) fn is_current(&self) -> bool {
        identity(&self.connection_path()).is_ok_and(|now| now == self.identity)
    }

    fn connection_path(&self) -> std::path::PathBuf {
        self.connection.path().unwrap_or_default().into()
    }

    fn connect(
        address: &Address,
        flags: OpenFlags,
        check: impl FnOnce(&mut Connection) -> Result<(), Fault>,
    ) -> Result<Self, QueueError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> Result<Self, Fault> {
            let mut connection = Connection::open_with_flags(&address.path, flags)?;
            wait_when_busy(&mut connection)?;
            connection.set_prepared_statement_cache_capacity(64);
            if connection.is_readonly("main")? {
                return Err(not_writable(address).into());
            }
            check(&mut connection)?;
            use_write_ahead_log(&connection, address)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT)?;
            connection.pragma_update(None, "trusted_schema", false)?;
            let identity = identity(&address.path).map_err(|error| gone(address, &error))?;
            Ok(Self { connection, identity })
        };
        open().map_err(|fault| fault.into_queue_error(address))
    }
}

/// Returns the error for a file that existed and can't be found now.
pub(super) fn gone(address: &Address, error: &std::io::Error) -> QueueError {
    let noun = address.kind.noun();
    QueueError::Unavailable(format!(
        "the {noun}'s file {} cannot be reached: {error}",
        address.path.display()
    ))
}

/// Checks that the path leads to a file, before SQLite would create the file or blame its directory.
pub(super) fn must_exist(address: &Address) -> Result<(), QueueError> {
    identity(&address.path).map(|_| ()).map_err(|error| gone(address, &error))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Reports whether a file is new, or its creation was interrupted.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(objects == 0 && pragma(connection, "application_id")? == 0)
}

fn recognise(connection: &Connection, address: &Address) -> Result<(), Fault> {
    let (path, noun) = (address.path.display(), address.kind.noun());
    if is_empty(connection)? {
        return Err(address::not_found(&address.url()).into());
    }
    if pragma(connection, "application_id")? != address.kind.application_id() {
        return Err(QueueError::Unusable(format!(
            "{path} is the database of another application: give the {noun} a file of its own"
        ))
        .into());
    }
    match pragma(connection, "user_version")? {
        SCHEMA_VERSION => Ok(()),
        version => Err(QueueError::Unusable(format!(
            "{path} was made by another version of wasmrun (its format is {version}, this one's is {SCHEMA_VERSION}): \
             use that version, or empty the {noun} with it and create a new one"
        ))
        .into()),
    }
}

/// Writes the whole schema in one transaction, so that a kill leaves either an empty file or a complete one.
fn initialise(connection: &mut Connection, kind: Kind, clock: &Clock) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have written the schema meanwhile.
    if is_empty(&transaction)? {
        transaction.pragma_update(None, "application_id", kind.application_id())?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.execute_batch(kind.schema())?;
        if kind == Kind::Queues {
            transaction.execute("UPDATE clock SET seen_ms = ?1", [clock.now_ms()])?;
        }
    }
    transaction.commit()
}

/// Switches the file to a write-ahead log. The file keeps the mode, so this changes something only once. SQLite doesn't
/// wait for other processes here, so this function does.
fn use_write_ahead_log(connection: &Connection, address: &Address) -> Result<(), Fault> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(QueueError::Unusable(format!(
                    "{} is on a file system that does not support write-ahead logs: put the {} on a local disk",
                    address.path.display(),
                    address.kind.noun()
                ))
                .into());
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Replaces SQLite's own busy handler, which sleeps for up to 100 ms at a time and so starves next to a busy process.
fn wait_when_busy(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut deadline = Instant::now();
    connection.busy_handler(Some(move |naps| {
        if naps == 0 {
            deadline = Instant::now() + BUSY_TIMEOUT;
        }
        std::thread::sleep(Duration::from_micros(fastrand::u64(500..3000)));
        Instant::now() < deadline
    }))
}

/// Makes the name of the new file durable. Best effort: SQLite does the same for its log.
fn sync_directory(path: &Path) {
    if let Some(directory) = path.parent().and_then(|parent| std::fs::File::open(parent).ok()) {
        let _ = directory.sync_all();
    }
}

fn not_writable(address: &Address) -> QueueError {
    QueueError::Unusable(format!(
        "{} cannot be written: check the permissions of the file and of its directory",
        address.path.display()
    ))
}

/// Returns the error for the caller: one sentence that says what SQLite's error means.
fn explain(error: &rusqlite::Error, address: &Address) -> QueueError {
    let (path, noun) = (address.path.display(), address.kind.noun());
    let rusqlite::Error::SqliteFailure(failure, message) = error else {
        return QueueError::Unusable(format!("{path} holds something unexpected: {error}"));
    };
    let detail = message.as_deref().unwrap_or("no further detail");
    match (failure.code, failure.extended_code) {
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed, _) => {
            QueueError::Unavailable(format!(
                "{path} has been locked by another process for more than {} s",
                BUSY_TIMEOUT.as_secs_f32()
            ))
        }
        (ErrorCode::DiskFull, _) => QueueError::Unavailable(format!("{path} cannot grow: the disk is full")),
        (ErrorCode::ReadOnly, ffi::SQLITE_READONLY_DBMOVED) => {
            QueueError::Unavailable(format!("{path} was moved or replaced while it was open"))
        }
        (ErrorCode::CannotOpen, _) => QueueError::Unavailable(format!(
            "{path} cannot be opened: {detail}; check the permissions of the file and of its directory"
        )),
        (ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory, _) => {
            QueueError::Unavailable(format!("{path} cannot be read or written: {detail}"))
        }
        (
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
            _,
        ) => not_writable(address),
        (ErrorCode::DatabaseCorrupt, _) => QueueError::Unusable(format!(
            "{path} is damaged ({detail}): restore it from a backup, or move it away and create a new {noun}"
        )),
        (ErrorCode::NotADatabase, _) => QueueError::Unusable(format!(
            "{path} is no {noun}: it is not a SQLite database; name another file, or move this one away"
        )),
        _ => QueueError::Unusable(format!("{path} cannot be used: {detail}")),
    }
}
