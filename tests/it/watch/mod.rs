//! A worker's status, metrics, log and usage.
//!
//! | module | shows |
//! |---|---|
//! | `events` | the stream of events, and who may read the endpoints |
//! | `exported` | the metrics that a collector receives |
//! | `logs` | the effects of guests on the log |
//! | `page` | the page, in a browser |
//! | `queue_labels` | the labels of queues and components with the same name |
//! | `report` | the report on the usage file |
//! | `traces` | the traces that a collector receives |
//! | `usage` | the file that records the usage of each task |
//! | `watching` | the HTTP endpoints and the metrics of a worker |

mod events;
mod exported;
mod logs;
mod page;
mod queue_labels;
mod report;
mod traces;
mod usage;
mod watching;
