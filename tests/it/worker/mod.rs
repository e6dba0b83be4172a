//! A worker on its queue: outcomes, concurrency, signals.
//!
//! | module | shows |
//! |---|---|
//! | `first_run` | the first minutes: a queue that doesn't exist yet, and one without a dead-letter queue |
//! | `outcomes` | how tasks fail, and what becomes of their messages |
//! | `reloading` | a configuration that changes meanwhile |
//! | `scaling` | how many tasks run at once, by what there is to do |
//! | `stopping` | signals |
//! | `thumbnails` | a thousand messages, and what each of them is to give |

mod first_run;
mod outcomes;
mod reloading;
mod scaling;
mod stopping;
mod thumbnails;
