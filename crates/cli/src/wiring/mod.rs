//! Opens and starts what settings name, for commands to work with.
//!
//! | module | owns |
//! |---|---|
//! | `logging` | starts the log |
//! | `backends` | opens a queue or a store by its URL |
//! | `compiler`, `component`, `routes` | load a component with its grants; all components of a worker |
//! | `protected` | the files that no guest may write to |
//! | `invocation` | one task without a worker, and its report |
//! | `one_request` | an HTTP request that comes from a command line |
//! | `walking` | a walk over the messages of a queue |
//! | `cases` | reads the cases of a guest's project, and runs each as a task |
//! | `refresh` | looks for new versions of the component |
//! | `signals`, `reload` | handle signals; reload the configuration |
//! | `control` | the socket on which an operator pauses a worker and cancels messages |
//! | `watch` | serves and exports metrics, status, health and traces of a worker, and finds a worker by its address |
//! | `usage_log` | appends the usage of each task to a file |
//! | `usage_records`, `prices` | read usage files and the price table |
//! | `worker` | opens and runs a worker |

pub(crate) mod backends;
pub(crate) mod cases;
pub(crate) mod compiler;
pub(crate) mod component;
pub(crate) mod control;
pub(crate) mod invocation;
pub(crate) mod logging;
pub(crate) mod one_request;
pub(crate) mod prices;
pub(crate) mod protected;
pub(crate) mod refresh;
pub(crate) mod reload;
pub(crate) mod routes;
pub(crate) mod signals;
pub(crate) mod usage_log;
pub(crate) mod usage_records;
pub(crate) mod walking;
pub(crate) mod watch;
pub(crate) mod worker;
