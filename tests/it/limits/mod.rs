//! What bounds a worker and its compiler.
//!
//! | module | shows |
//! |---|---|
//! | `capacity` | how many tasks run at once where memory or file descriptors are short |
//! | `compiling` | components that would take the compiler hours or gigabytes |

mod capacity;
mod compiling;
