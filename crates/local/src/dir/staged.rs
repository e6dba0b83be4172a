//! Staged objects: files in `.wasmrun/staged` that are durable and become objects when their run has committed.
//!
//! A staged file becomes an object by a rename. If it is no longer there, it was placed before, or swept.

use super::DirStore;
use super::blocking::Call;
use super::error::{failed, is_missing};
use super::key::Key;
use super::lock::{Temporary, staging_area};
use super::root::{Found, OpenRoot, Root, find, to_sync};
use super::write::{FileWriter, Put, above_objects, below_object};
use async_trait::async_trait;
use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::ports::object_store::{ObjectInfo, ObjectWriter, PutOptions, StoreError};
use wasmrun_runtime::ports::staging::{StagedName, StagedNames, Staging};

#[async_trait]
impl Staging for DirStore {
    fn has_directories(&self) -> bool {
        true
    }

    async fn stage(
        &self,
        name: StagedName,
        key: &str,
        options: PutOptions,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let key = self.key(key)?;
        let put = self.open_in_root(move |root| Put::begin(Arc::clone(root), key, options)).await?;
        Ok(Box::new(FileWriter::staging(Arc::clone(&self.blocking), put, name)))
    }

    async fn place(&self, name: StagedName, key: &str) -> Result<(), StoreError> {
        let key = self.key(key)?;
        self.in_root(move |root, call| place(root, name, key, call)).await
    }

    async fn discard(&self, name: StagedName) -> Result<(), StoreError> {
        self.in_root(move |root, _| {
            root.inside(|entered| {
                let fail = |error| unavailable("removed", &error);
                let area = staging_area(entered).map_err(fail)?;
                match rustix::fs::unlinkat(&area, name.to_string(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(error) => Err(fail(error.into())),
                }
            })
        })
        .await
    }

    async fn staged(
        &self,
        ledger: u64,
        after: Option<StagedName>,
        limit: usize,
        _: Duration,
    ) -> Result<StagedNames, StoreError> {
        self.in_root(move |root, call| root.inside(|entered| staged(entered, ledger, after, limit, call)))
            .await
    }
}

impl Put {
    /// Syncs the file and moves it to the staging area.
    pub(super) fn stage(mut self, name: StagedName, call: &Call) -> Result<ObjectInfo, StoreError> {
        self.make_durable()?;
        check_place(&self.entered, &self.key)?;
        let fail = |error: io::Error| failed("write", self.key.as_str(), &error);
        let metadata = self.temporary.file.metadata().map_err(fail)?;
        let info = super::object::describe(&self.temporary.file, &metadata, &self.key).map_err(fail)?;
        call.check("write", self.key.as_str())?;
        self.temporary
            .stage(&self.entered, &name.to_string())
            .map_err(|error| unavailable("written", &error))?;
        self.root.must_still_be(&self.entered)?;
        // Becoming an object changes it.
        Ok(ObjectInfo { etag: None, ..info })
    }
}

/// Refuses a key that can't be placed: a part of it is an object, it is a directory with objects, or the directory
/// can't be written.
fn check_place(root: &OpenRoot, key: &Key) -> Result<(), StoreError> {
    let fail = |error: io::Error| failed("write", key.as_str(), &error);
    let (directories, name) = key.split();
    for depth in 0..=directories.len() {
        let dir = root.descend(&directories[..depth], "write", key.as_str())?;
        let next = directories.get(depth).copied().unwrap_or(name);
        match find(&dir, next).map_err(fail)? {
            Found::Directory if depth < directories.len() => continue,
            Found::File if depth < directories.len() => return Err(below_object(key.as_str(), next)),
            Found::Other => return Err(super::root::not_plain(next, "write", key.as_str())),
            Found::Directory => {
                let below = root.descend(&[&directories[..], &[name]].concat(), "write", key.as_str())?;
                if below.entries().map_err(fail)?.next().is_some() {
                    return Err(above_objects(key.as_str()));
                }
            }
            Found::Nothing | Found::File => {}
        }
        rustix::fs::accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|error| fail(error.into()))?;
        return Ok(());
    }
    Ok(())
}

fn place(root: &Arc<Root>, name: StagedName, key: Key, call: &Call) -> Result<(), StoreError> {
    let entered = root.enter()?;
    let open = |entered: &OpenRoot| {
        Temporary::staged(entered, name.to_string()).map_err(|error| unavailable("read", &error))
    };
    let Some(temporary) = open(&entered)? else { return sync_placed(root, &key) };
    let options = PutOptions::default();
    let mut put = Put { root: Arc::clone(root), entered, key: key.clone(), options, temporary };
    match put.become_object(call) {
        Ok(_) => Ok(()),
        // Another worker may have placed it meanwhile.
        Err(_) if open(&put.entered)?.is_none() => sync_placed(root, &key),
        Err(error) => Err(error),
    }
}

/// Makes durable what another worker has placed.
fn sync_placed(root: &Root, key: &Key) -> Result<(), StoreError> {
    root.inside(|entered| match entered.parent(key, "write") {
        Ok((dir, _)) => to_sync(&dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| failed("write", key.as_str(), &error)),
        // It was deleted since.
        Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error),
    })
}

fn staged(
    root: &OpenRoot,
    ledger: u64,
    after: Option<StagedName>,
    limit: usize,
    call: &Call,
) -> Result<StagedNames, StoreError> {
    let fail = |error: io::Error| unavailable("listed", &error);
    let prefix = StagedName::prefix(ledger);
    let mut names = BTreeSet::new();
    for entry in staging_area(root).and_then(|area| area.entries()).map_err(fail)? {
        call.check("list", "")?;
        let name = match entry {
            Ok(entry) => entry.file_name(),
            // Placed or removed meanwhile.
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(fail(error)),
        };
        let Some(name) = name.to_str().filter(|name| name.starts_with(&prefix)) else { continue };
        let Ok(name) = name.parse() else { continue };
        if after.is_none_or(|after| name > after) {
            names.insert(name);
        }
        if names.len() > limit {
            names.pop_last();
        }
    }
    Ok(StagedNames::of_at_most(limit, names))
}

/// Returns the error for a staged file. None of them concerns one object: the next call may succeed.
fn unavailable(done: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("a staged object cannot be {done}: {error}"))
}
