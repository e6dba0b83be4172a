//! Files that a task has written and directories that it has made. Files become objects when the task completes.

use super::{FILE_BYTES, PIECE_BYTES, of_store};
use crate::model::limits::Limit;
use crate::model::outcome::shorten;
use crate::ports::object_store::{Condition, PutOptions};
use crate::task::command;
use crate::task::holds::Hold;
use crate::task::host::{Handled, LimitHit};
use crate::task::store::{Delivered, TaskState};
use crate::task::stream::{End, Name, Output};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of bytes of the description of the message.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;

/// What a task has written.
#[derive(Default)]
pub(crate) struct WrittenFiles {
    /// Files in the order in which they were created.
    files: Vec<WrittenFile>,
    /// Paths of directories.
    made: BTreeSet<String>,
    /// The description of the message, once it was asked for.
    message: Option<Bytes>,
}

struct WrittenFile {
    path: String,
    output: Output,
    _hold: Hold,
}

impl WrittenFiles {
    fn file(&self, path: &str) -> Option<&WrittenFile> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(super) fn has_written(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    /// Returns the content of a file, to append to.
    pub(super) fn output(&self, path: &str) -> Option<Output> {
        self.file(path).map(|file| file.output.clone())
    }

    /// Returns the size of a file.
    pub(super) fn size(&self, path: &str) -> u64 {
        self.file(path).map_or(0, |file| file.output.accepted())
    }

    /// Adds a file.
    pub(super) fn write(&mut self, path: &str, output: Output, hold: Hold) {
        self.files.push(WrittenFile { path: path.to_owned(), output, _hold: hold });
    }

    /// Removes a file, if there is one.
    pub(super) fn remove(&mut self, path: &str) {
        if let Some(index) = self.files.iter().position(|file| file.path == path) {
            // Dropping what was written removes it. A descriptor of the file may stay open.
            drop(self.files.remove(index).output.take());
        }
    }

    /// Returns whether there is a directory that the task has made, or one that a file lies in.
    pub(super) fn has_made(&self, path: &str) -> bool {
        let is_below =
            |file: &WrittenFile| file.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.made.contains(path) || self.files.iter().any(is_below)
    }

    /// Makes a directory. Returns `false` if there are `most` already.
    pub(super) fn make(&mut self, path: String, most: usize) -> bool {
        self.made.len() < most && self.made.insert(path)
    }

    /// Removes an empty directory that the task has made. Returns `false` if there is no such one.
    pub(super) fn unmake(&mut self, path: &str) -> bool {
        let was_made = self.made.remove(path);
        if was_made && self.has_made(path) {
            self.made.insert(path.to_owned());
            return false;
        }
        was_made
    }

    /// Returns the description of the message, unless it is too large.
    pub(super) fn message(&mut self, delivered: &Delivered) -> Option<Bytes> {
        let text = self.message.get_or_insert_with(|| {
            let text = command::describe(delivered).to_string();
            if text.len() > MESSAGE_BYTES { Bytes::new() } else { text.into() }
        });
        (!text.is_empty()).then(|| text.clone())
    }
}

impl TaskState {
    /// Begins to write a file.
    pub(super) async fn create(&mut self, path: &str, is_exclusive: bool) -> super::Result<()> {
        let (directory, rest) = self.writable(path)?;
        let key = self.key(&directory, &rest)?;
        let grant = self.grant(&directory)?;
        // Of a file that is truncated, nothing remains.
        self.files.remove(path);
        self.may_write_files()?;
        let file = self.held.take_bytes(FILE_BYTES)?;
        let name = Name::new(grant.alias.clone(), key.clone(), None);
        let condition = if is_exclusive { Condition::IfAbsent } else { Condition::Always };
        let options = PutOptions { condition, ..PutOptions::default() };
        let (end, hold) = self.open_writer(grant, key, options).await.map_err(of_store)?;
        let output = Output::of_pieces(PIECE_BYTES);
        output.connect(&self.streams, End { name: Arc::new(name), end, hold });
        self.files.write(path, output, file);
        Ok(())
    }

    /// Ends a task that writes more files than it may have handles: each is held until the task completes.
    pub(super) fn may_write_files(&self) -> wasmtime::Result<()> {
        if self.files.files.len() < self.config.limits.handles {
            Ok(())
        } else {
            Err(LimitHit(Limit::Handles).into())
        }
    }
}

/// Completes the objects of all files that the task has written, in the order in which they were created. Completes none
/// if one of them couldn't be written.
pub(crate) async fn complete(state: &mut TaskState) -> Handled {
    let mut unfinished = Vec::new();
    for file in std::mem::take(&mut state.files.files) {
        let Some(mut output) = file.output.take() else { continue };
        let stream = format!("the file /{}", shorten(&file.path));
        let error = output.error().await;
        unfinished.push((stream, output));
        if let (Some(error), Some((stream, output))) = (error, unfinished.last()) {
            state.count_streams()?;
            return command::refused(stream, &output.name().alias, &output.name().key, error.into());
        }
    }
    for (stream, output) in unfinished {
        let name = output.name().clone();
        if let Err(fault) = state.complete(output).await {
            return command::refused(&stream, &name.alias, &name.key, fault);
        }
    }
    Ok(Ok(()))
}
