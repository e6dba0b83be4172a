//! A worker on its queue: outcomes, concurrency, signals.
//!
//! | module | shows |
//! |---|---|
//! | `budgets` | keys that have used up their budgets |
//! | `control` | an operator pauses a worker and cancels messages |
//! | `first_run` | the first minutes: a queue that doesn't exist yet, and one without a dead-letter queue |
//! | `groups` | who is told when all messages of a group have ended |
//! | `keys` | messages of many keys: fair shares and caps |
//! | `notifications` | who is told how messages ended |
//! | `once` | `--once`: repeated messages, and outputs that appear together |
//! | `outcomes` | how tasks fail, and the effect on their messages |
//! | `priorities` | several queues: strict ones, weights, and what stays apart |
//! | `refreshing` | new versions of the component |
//! | `reloading` | a configuration that changes while the worker runs |
//! | `renditions` | several outputs of each picture, and the settings that are refused |
//! | `routes`, `route_bounds` | several components on one queue; what bounds their tasks |
//! | `scaling` | the number of concurrent tasks, depending on the load |
//! | `shared_files` | a file that a worker would use for two things, or by two names |
//! | `stopping` | signals |
//! | `thumbnails` | a thousand messages, and the expected result of each |

mod budgets;
mod control;
mod first_run;
mod groups;
mod keys;
mod notifications;
mod once;
mod outcomes;
mod priorities;
mod refreshing;
mod reloading;
mod renditions;
mod route_bounds;
mod routes;
mod scaling;
mod shared_files;
mod stopping;
mod thumbnails;
