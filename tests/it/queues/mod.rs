//! Queues: their commands, and the contents of messages.
//!
//! | module | shows |
//! |---|---|
//! | `bodies` | bodies that an extended client stored in a bucket |
//! | `commands` | the queue commands, order within a group, sending messages |
//! | `events` | which messages announce objects, and how messages that only resemble them are handled |
//! | `idempotency` | the advice in docs/src/guides/idempotency.md |

mod bodies;
mod commands;
mod events;
mod idempotency;
