//! Queues: the commands around them, and what messages hold.
//!
//! | module | shows |
//! |---|---|
//! | `bodies` | bodies that an extended client put into a bucket |
//! | `commands` | the commands around a queue, order by group, sending on |
//! | `events` | which messages announce objects, and what becomes of those that look like it |
//! | `idempotency` | what docs/src/guides/idempotency.md advises |

mod bodies;
mod commands;
mod events;
mod idempotency;
