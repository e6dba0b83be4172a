//! What a worker with a ledger refuses at the start.

use super::{OnceOptions, writable};
use crate::ports::staging_area::staging_of;
use crate::task::grant::{Grants, StoreGrant};
use crate::task::routes::{Routes, of_route};
use crate::worker::options::{StartError, WorkerOptions, check_own};

/// # Errors
///
/// A writable store can't stage, two of them hold the same objects, or the ledger lies where others read or write.
pub(super) fn check(once: &OnceOptions, options: &WorkerOptions, routes: &Routes) -> Result<(), StartError> {
    let ledger = &*once.ledger;
    for (route, grant) in writable(routes) {
        if staging_of(&*grant.store, ledger.area()).is_none() {
            let (name, url) = (of_route(route, &grant.alias), grant.store.url());
            return Err(StartError::Settings(format!(
                "--once stages outputs for the store {name} ({url}) next to a ledger in S3, and the ledger is {}: use --once s3://BUCKET/PREFIX, grant the store as ro, or use a dir: store",
                ledger.url()
            )));
        }
    }
    check_own("ledger", ledger.url(), options, routes)?;
    check_apart(routes)?;
    warn_of_others(&routes.grants().map(|(_, grants)| grants).collect::<Vec<_>>());
    Ok(())
}

/// Refuses a writable store that lies in another one: an object would have two places, and the last output for it
/// wouldn't be known. Several aliases of one store have the same places, and so have stores of different routes, as a task
/// has only one route. But a store with a staging area of its own must not lie where tasks of another route write.
fn check_apart(routes: &Routes) -> Result<(), StartError> {
    for (outer_route, outer) in writable(routes) {
        // The URLs of stores that stage end with `/`.
        let lies_in = |(route, inner): &(_, &StoreGrant)| {
            inner.store.url() != outer.store.url()
                && inner.store.url().starts_with(outer.store.url())
                && (*route == outer_route || inner.store.staging().is_some())
        };
        if let Some((route, inner)) = writable(routes).find(lies_in) {
            return Err(StartError::Settings(format!(
                "--once cannot tell apart the objects of the store {} ({}) and of the store {} ({}), in which it lies: grant one of them as ro, or use one store for both",
                of_route(route, &inner.alias),
                inner.store.url(),
                of_route(outer_route, &outer.alias),
                outer.store.url()
            )));
        }
    }
    Ok(())
}

/// Warns of what tasks may send or write outside of stores.
fn warn_of_others(grants: &[&Grants]) {
    let any = |is_granted: fn(&Grants) -> bool| grants.iter().any(|grants| is_granted(grants));
    let outside: Vec<&str> = [
        ("messages to queues", any(|grants| !grants.queues.is_empty())),
        ("key-values", any(|grants| grants.buckets.values().any(|grant| grant.mode.writes()))),
        ("HTTP requests", any(|grants| grants.http.is_some())),
    ]
    .into_iter()
    .filter_map(|(what, is_granted)| is_granted.then_some(what))
    .collect();
    if !outside.is_empty() {
        tracing::warn!(
            outside = outside.join(", "),
            "--once covers objects only: what else a task sends or writes takes effect at once, and again if it runs again"
        );
    }
}
