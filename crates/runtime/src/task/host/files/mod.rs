//! Host functions of `wasi:filesystem`: the granted directories, whose files are objects, and the message's description. No
//! file of the host can be reached: wasmtime-wasi's own file system isn't linked.
//!
//! A guest has one directory, the root. Names of objects that aren't paths, such as `a//b`, have no file.
//!
//! | module | owns |
//! |---|---|
//! | `path` | what a path names |
//! | `lookup` | what there is at a path, as the stores say |
//! | `descriptor` | open files and directories |
//! | `content` | the streams of open files |
//! | `properties` | sizes, times and hashes |
//! | `listing` | the entries of a directory |
//! | `written` | files that are written, which become objects when the task completes |

mod content;
mod descriptor;
mod listing;
mod lookup;
mod path;
mod properties;
#[cfg(test)]
mod tests;
mod written;

pub use self::descriptor::Descriptor;
pub use self::listing::Listing;
pub(crate) use self::path::MESSAGE_FILE;
pub(crate) use self::written::{MESSAGE_BYTES, WrittenFiles, complete};

use self::bindings::wasi::filesystem::{preopens, types};
use self::lookup::Found;
use self::types::ErrorCode;
use super::object_store::Fault as StoreFault;
use crate::task::store::TaskState;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error as StreamError;

mod bindings {
    wasmtime::component::bindgen!({
        path: "worlds/wasi-files",
        world: "wasmrun:files/files",
        imports: {
            "wasi:filesystem/preopens": trappable,
            "wasi:filesystem/types.filesystem-error-code": trappable,
            "wasi:filesystem/types.[drop]descriptor": trappable,
            "wasi:filesystem/types.[drop]directory-entry-stream": trappable,
            default: async | trappable,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem/types.descriptor": super::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::Listing,
        },
        trappable_error_type: {
            "wasi:filesystem/types.error-code" => super::Fault,
        },
    });
}

/// Failure of a call to the file system.
pub type Fault = super::Fault<ErrorCode>;

type Result<T> = std::result::Result<T, Fault>;

/// Maximum number of bytes of a piece that is read ahead or waits to be written.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes that an open file holds in addition to its store's reader or writer.
const FILE_BYTES: usize = 2 * PIECE_BYTES;

impl From<ErrorCode> for Fault {
    fn from(error: ErrorCode) -> Self {
        Self::Error(error)
    }
}

/// Converts the failure of a call to a store.
fn of_store(fault: StoreFault) -> Fault {
    use super::bindings::wasmrun::task::object_store::Error;
    Fault::Error(match fault {
        StoreFault::Trap(trap) => return Fault::Trap(trap),
        StoreFault::Error(Error::NotFound) => ErrorCode::NoEntry,
        StoreFault::Error(Error::AccessDenied) => ErrorCode::Access,
        StoreFault::Error(Error::TooLarge) => ErrorCode::FileTooLarge,
        StoreFault::Error(Error::PreconditionFailed) => ErrorCode::Exist,
        StoreFault::Error(Error::Unavailable) => ErrorCode::Io,
        StoreFault::Error(Error::Other(_)) => ErrorCode::Invalid,
    })
}

/// Adds the file system to a linker.
pub(super) fn add_to_linker(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)?;
    types::add_to_linker::<_, HasSelf<_>>(linker, TaskState::called)
}

impl preopens::Host for TaskState {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        if self.config.grants.directories.is_empty() && self.config.command.is_none() {
            return Ok(Vec::new());
        }
        let root = self.table.push(Descriptor { path: String::new(), found: Found::Directory })?;
        Ok(vec![(root, "/".to_owned())])
    }
}

impl types::Host for TaskState {
    fn convert_error_code(&mut self, fault: Fault) -> wasmtime::Result<ErrorCode> {
        fault.into_guest_error()
    }

    /// A stream's error says no more than that it failed.
    fn filesystem_error_code(
        &mut self,
        _error: Resource<StreamError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(Some(ErrorCode::Io))
    }
}
