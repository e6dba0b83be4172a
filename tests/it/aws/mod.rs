//! SQS and S3: their behaviour, the connections to them, and the permissions needed.
//!
//! | module | shows |
//! |---|---|
//! | `amazon` | SQS and S3 on a local stand-in |
//! | `answers` | answers of SQS that no stand-in gives |
//! | `connections` | slow and silent connections |
//! | `credentials` | answers of STS and of credential providers that no stand-in gives |
//! | `endpoints` | where requests go, and how they name a bucket |
//! | `objects` | answers of S3 that no stand-in gives |
//! | `once` | `--once` with a ledger and outputs in S3 |
//! | `pages` | pages of other servers in place of answers of these services |
//! | `proxies` | proxies, certificates and hosts on the way to AWS |
//! | `rights` | that the printed permissions are those that are needed |
//! | `sessions` | roles of stores by key |
//! | `servers` | SQS and S3 on servers other than that of `amazon` |

mod amazon;
mod answers;
mod connections;
mod credentials;
mod endpoints;
mod objects;
mod once;
mod pages;
mod proxies;
mod rights;
mod servers;
mod sessions;
