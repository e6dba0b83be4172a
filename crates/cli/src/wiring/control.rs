//! The control socket: an operator on the same machine pauses and resumes a worker, and cancels messages.
//!
//! Whoever can connect can keep messages from being handled, so the socket is apart from the HTTP server of status and
//! metrics: a Unix socket with mode 0600, which takes requests only of the worker's own user and of root. A connection
//! carries one request and one answer, each a line of JSON.

use crate::output::failure::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_runtime::model::outcome::Action;
use wasmrun_runtime::worker::{NotCancelled, Worker};

/// Maximum number of bytes of a request and of an answer.
const LONGEST: u64 = 8 << 10;
/// Maximum number of bytes of the socket's path: the system's limit.
const LONGEST_PATH: usize = 107;
/// Maximum number of connections that are answered at once.
const MOST_AT_ONCE: usize = 8;
/// How long the other side may take for its line.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a connection that the system couldn't give.
const AGAIN: Duration = Duration::from_millis(200);

/// What an operator asks of a worker.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Receive nothing and start no task.
    Pause,
    /// Go on after a pause.
    Resume,
    /// End the task of a message.
    Cancel { message: String, then: Action },
}

/// The worker's answer.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Answer {
    Done(String),
    Refused(String),
}

/// The control socket of a worker.
pub(crate) struct Control {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of the socket, which is removed when this is dropped, unless another worker has replaced it.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: Option<(u64, u64)>,
}

impl Control {
    /// Creates the socket. A socket that a killed worker left behind is replaced.
    pub(crate) fn bind(path: &Path) -> Result<Self, Failure> {
        let failed = |error| cannot_create(path, &error);
        if check(path)? == AtPath::Stale {
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let control = Self { listener, file: SocketFile { path: path.to_owned(), id: id_of(path) } };
        // Nobody is answered before this.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(control)
    }

    /// Answers requests, at most [`MOST_AT_ONCE`] at a time, until the handle is dropped. The file is the caller's to drop: the task may end
    /// later than the process.
    pub(crate) fn serve(self, worker: Arc<Worker>) -> (AbortOnDropHandle<()>, SocketFile) {
        let Self { listener, file } = self;
        let answering = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            loop {
                if under_way.len() >= MOST_AT_ONCE {
                    under_way.join_next().await;
                }
                while under_way.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                if !is_allowed(&stream) {
                    continue;
                }
                let worker = worker.clone();
                let answered = async move {
                    let mut stream = BufReader::new(stream);
                    let answer = match read(&mut stream).await {
                        Ok(request) => carry_out(&worker, request),
                        Err(error) => Answer::Refused(error.to_string()),
                    };
                    write(&mut stream, &answer).await
                };
                // A client that is gone or slow loses its answer alone.
                under_way.spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, answered).await;
                });
            }
        });
        (AbortOnDropHandle::new(answering), file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_some() && id_of(&self.path) == self.id {
            // If this fails, the next start replaces the socket.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id_of(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Describes a control socket that can't be created.
pub(crate) fn cannot_create(path: &Path, error: &dyn Display) -> Failure {
    Failure::usage(format!("cannot create the control socket {}: {error}", path.display()))
}

/// What is at the path of a socket.
#[derive(PartialEq, Eq)]
pub(crate) enum AtPath {
    Nothing,
    /// A socket on which nobody listens.
    Stale,
}

/// Checks that a socket can be created here.
pub(crate) fn check(path: &Path) -> Result<AtPath, Failure> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(cannot_create(path, &format!("its path has more than {LONGEST_PATH} bytes")));
    }
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(AtPath::Nothing) };
    if !found.file_type().is_socket() {
        return Err(cannot_create(path, &"there is a file of that name"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(cannot_create(path, &"another worker uses it, and each needs its own")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(AtPath::Stale),
        Err(error) => Err(cannot_create(path, &error)),
    }
}

/// Returns whether the other side runs as the worker's user or as root.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

fn carry_out(worker: &Worker, request: Request) -> Answer {
    match request {
        Request::Pause => {
            let running = worker.pause();
            Answer::Done(format!(
                "paused; {running} running {} on",
                if running == 1 { "task goes" } else { "tasks go" }
            ))
        }
        Request::Resume if worker.resume() => Answer::Done("resumed".into()),
        Request::Resume => Answer::Done("the worker was not paused".into()),
        Request::Cancel { message, then } => match worker.cancel(&message, then) {
            Ok(true) => Answer::Done(format!("cancelled {message}")),
            Ok(false) => {
                Answer::Done(format!("{message} waits in the worker, and ends when its task would start"))
            }
            Err(NotCancelled::NotHeld) => {
                Answer::Refused(format!("the worker does not hold the message {message}"))
            }
            Err(NotCancelled::Already(before)) => Answer::Refused(format!(
                "the message {message} was cancelled before, with --then {}",
                before.as_str()
            )),
            Err(error @ NotCancelled::NoDeadLetterQueue) => {
                Answer::Refused(format!("{error}: add --then retry or --then drop"))
            }
        },
    }
}

/// Sends a request to the worker with this control socket, and returns its answer.
pub(crate) async fn ask(path: &Path, request: &Request) -> Result<Answer, Failure> {
    let asked = async {
        let mut stream = BufReader::new(UnixStream::connect(path).await?);
        write(&mut stream, request).await?;
        read(&mut stream).await
    };
    let answer = match tokio::time::timeout(PATIENCE * 2, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    answer.map_err(|error| {
        Failure::backend(format!("no worker answers at the control socket {}: {error}", path.display()))
    })
}

async fn read<T: DeserializeOwned>(stream: &mut (impl AsyncBufReadExt + AsyncRead + Unpin)) -> io::Result<T> {
    let mut line = Vec::new();
    stream.take(LONGEST).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
        return Err(io::Error::other(format!("more than {LONGEST} bytes")));
    }
    serde_json::from_slice(&line).map_err(io::Error::from)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control");
        let control = Control::bind(&path).expect("bound");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Control::bind(&path).is_err(), "it is in use");
        drop(control);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_worker_left_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        drop(Control::bind(&path).expect("bound"));
        fs::write(&path, "mine").expect("written");
        assert!(Control::bind(&path).is_err());
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }

    #[tokio::test]
    async fn what_is_no_request_is_an_error_and_endless_lines_are_cut() {
        for wrong in [&b""[..], b"\n", b"{}\n", b"\"cancel\"\n", b"\"pause\"x\n", &[b'['; 100_000], b"\xff\n"]
        {
            let mut wrong = wrong;
            assert!(read::<Request>(&mut wrong).await.is_err());
        }
        let mut right = &b"{\"cancel\":{\"message\":\"m\",\"then\":\"dead-letter\"}}\n"[..];
        let request: Request = read(&mut right).await.expect("a request");
        assert!(matches!(request, Request::Cancel { then: Action::DeadLetter, .. }));
    }
}
