//! What documents and help show.
//!
//! | module | shows |
//! |---|---|
//! | `embedding` | the worker in another program |
//! | `examples` | that what documents and help show runs as printed |

pub(crate) mod embedding;
pub(crate) mod examples;
