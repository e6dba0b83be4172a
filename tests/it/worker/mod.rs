//! A worker on its queue: outcomes, concurrency, signals.
//!
//! | module | shows |
//! |---|---|
//! | `first_run` | the first minutes: a queue that doesn't exist yet, and one without a dead-letter queue |
//! | `keys` | messages of many keys: fair shares and caps |
//! | `outcomes` | how tasks fail, and the effect on their messages |
//! | `refreshing` | new versions of the component |
//! | `reloading` | a configuration that changes while the worker runs |
//! | `renditions` | several outputs of each picture, and the settings that are refused |
//! | `routes`, `route_bounds` | several components on one queue; what bounds their tasks |
//! | `scaling` | the number of concurrent tasks, depending on the load |
//! | `stopping` | signals |
//! | `thumbnails` | a thousand messages, and the expected result of each |

mod first_run;
mod keys;
mod outcomes;
mod refreshing;
mod reloading;
mod renditions;
mod route_bounds;
mod routes;
mod scaling;
mod stopping;
mod thumbnails;
