//! SQS and S3: what they do, the way there, and the rights that it needs.
//!
//! | module | shows |
//! |---|---|
//! | `amazon` | SQS and S3, on a server that stands in for them |
//! | `answers` | what SQS answers and no such server does |
//! | `connections` | slow ones, and such as go silent |
//! | `endpoints` | where requests to them go, and how they name a bucket |
//! | `objects` | what S3 answers and no such server does; those who hand out credentials |
//! | `pages` | what answers in place of these services |
//! | `proxies` | the way there: proxies, certificates, hosts |
//! | `rights` | that the rights which are printed are those that are needed |
//! | `servers` | SQS and S3 on other servers than that of `amazon` |

mod amazon;
mod answers;
mod connections;
mod endpoints;
mod objects;
mod pages;
mod proxies;
mod rights;
mod servers;
