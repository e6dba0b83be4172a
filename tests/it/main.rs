//! What users see: the real program, run in a directory of its own for each test.
//!
//! | module | shows |
//! |---|---|
//! | `thumbnails` | a thousand messages, and what each of them is to give |
//! | `crashes` | workers that are killed at random moments |
//! | `large_object` | an object that is larger than the memory of host and guest |
//! | `outcomes` | how tasks fail, and what becomes of their messages |
//! | `failing_backends` | queues and stores that fail for a while |
//! | `stopping` | signals |
//! | `reloading` | a configuration that changes meanwhile |
//! | `first_run` | the first minutes: a queue that doesn't exist yet, and one without a dead-letter queue |
//! | `scaling` | how many tasks run at once, by what there is to do |
//! | `amazon` | SQS and S3, on a server that stands in for them |
//! | `container` | the image: confined, stopped, and as a sidecar |
//! | `ecs` | the agent of ECS |
//! | `deploying` | the files that deploy to ECS: their rights, their stack, and that it works |
//! | `connections` | slow ones, and such as go silent |
//! | `endurance` | the same with much to do, with kills and with outages |
//! | `answers` | what these services answer and no such server does
//! | `objects` | the same of S3, and of those who hand out credentials |
//! | `endpoints` | where requests to them go, and how they name a bucket |
//! | `proxies` | the way there: proxies, certificates, hosts |
//! | `events` | which messages announce objects, and what becomes of those that look like it |
//! | `bodies` | bodies that an extended client put into a bucket |
//! | `odd_objects` | objects whose headers, versions and keys are not what one expects |
//! | `pages` | what answers in place of these services |
//! | `idempotency` | what docs/src/guides/idempotency.md advises |
//! | `servers` | SQS and S3 on other servers than that of `amazon` |
//! | `isolation` | what a guest can see and touch |
//! | `deterministic` | what a guest sees that is the same each time |
//! | `capacity` | how many tasks run at once where memory or file descriptors are short |
//! | `transfers` | calls that move much |
//! | `hostile` | everything that a guest may try, against the five things that must hold |
//! | `usage`, `report` | the file of what tasks consumed, and what is told of it |
//! | `watching` | what is shown to those who watch a worker |
//! | `logs` | what guests can do to the log |
//! | `queues` | the commands around a queue, order by group, sending on |
//! | `configuration` | flags, variables and the file |
//! | `bad_components` | files that are no component that could be run |
//! | `components` | where components come from: buckets, and code that was compiled before |
//! | `compiling` | components that would take the compiler hours or gigabytes |
//! | `broken_starts` | workers that can't work, and how they say so |
//! | `rights` | that the rights which are printed are those that are needed |
//! | `examples` | that what documents and help show runs as printed |
//! | `embedding` | the worker in another program |
//! | `bad_settings` | every flag and every key with values that make no sense; files without an end |
//! | `told` | what people are told when something isn't as they think |
//! | `help` | what `--help` shows |
//! | `bad_input` | everything else that can be wrong before any work is done |

#![allow(clippy::print_stdout, reason = "a test says what it measured, and why it was skipped")]

mod amazon;
mod answers;
mod bad_components;
mod bad_input;
mod bad_settings;
mod bodies;
mod broken_starts;
mod capacity;
mod compiling;
mod components;
mod configuration;
mod connections;
mod container;
mod crashes;
mod deploying;
mod deterministic;
mod ecs;
mod embedding;
mod endpoints;
mod endurance;
mod events;
mod examples;
mod failing_backends;
mod first_run;
mod harness;
mod help;
mod host_errors;
mod hostile;
mod idempotency;
mod isolation;
mod large_object;
mod logs;
mod objects;
mod odd_objects;
mod outcomes;
mod pages;
mod png;
mod proxies;
mod queues;
mod reloading;
mod report;
mod rights;
mod scaling;
mod servers;
mod stopping;
mod thumbnails;
mod told;
mod transfers;
mod usage;
mod watching;
