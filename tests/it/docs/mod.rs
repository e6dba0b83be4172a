//! The examples in documents and help, and the rooms that documents describe.
//!
//! | module | shows |
//! |---|---|
//! | `embedding` | the worker embedded in another program |
//! | `examples` | that the examples in documents and help run as printed |
//! | `rooms` | that each room of a crate uses only those below it |

mod embedding;
pub(crate) mod examples;
mod rooms;
