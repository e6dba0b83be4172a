//! The examples in documents and help.
//!
//! | module | shows |
//! |---|---|
//! | `embedding` | the worker embedded in another program |
//! | `examples` | that the examples in documents and help run as printed |

pub(crate) mod embedding;
pub(crate) mod examples;
