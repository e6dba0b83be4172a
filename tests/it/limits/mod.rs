//! The bounds of a worker and of its compiler.
//!
//! | module | shows |
//! |---|---|
//! | `capacity` | the number of concurrent tasks where memory or file descriptors are short |
//! | `compiling` | components that would cost the compiler hours or gigabytes |

mod capacity;
mod compiling;
