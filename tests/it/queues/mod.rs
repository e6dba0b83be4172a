//! Queues: their commands, and the contents of messages.
//!
//! | module | shows |
//! |---|---|
//! | `bodies` | bodies that an extended client stored in a bucket |
//! | `commands` | the queue commands, order within a group, sending messages |
//! | `events` | which messages announce objects, and how messages that only resemble them are handled |
//! | `idempotency` | the advice in docs/src/guides/idempotency.md |
//! | `walks` | listing, showing, moving back and dropping dead letters; messages that expire |

mod bodies;
mod commands;
mod events;
mod idempotency;
mod walks;
