//! What goes wrong around a worker: kills, outages, disks, permissions.
//!
//! | module | shows |
//! |---|---|
//! | `broken_starts` | workers that can't work, and how they say so |
//! | `crashes` | workers that are killed at random moments |
//! | `endurance` | SQS and S3 with much to do, with kills and with outages |
//! | `failing_backends` | queues and stores that fail for a while |
//! | `host_errors` | what a host error does to a message, and to the worker |

mod broken_starts;
mod crashes;
mod endurance;
mod failing_backends;
mod host_errors;
