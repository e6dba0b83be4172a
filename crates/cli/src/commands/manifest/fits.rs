//! Settings of a worker that can't work in a container: files on its disk, and values of another machine.

use crate::output::failure::Failure;
use crate::settings::as_flags::Flags;
use crate::settings::file::ConfigFile;
use crate::settings::notify::NotifySetting;
use crate::settings::route_table::RouteTable;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use crate::settings::worker::WorkerSettings;
use crate::wiring::backends::is_s3;
use std::path::Path;
use wasmrun_aws::is_queue_address;

/// Refuses queues and other files of the worker that would be on a disk.
pub(super) fn needs_no_disk(worker: &WorkerSettings, usage: Option<&Path>) -> Result<(), Failure> {
    let notified = worker.notify.notify.as_ref().and_then(NotifySetting::queue);
    let queues =
        [("dead-letter queue", worker.delivery.dead_letter.as_deref()), ("queue of notifications", notified)];
    for (what, queue) in queues {
        queue.map_or(Ok(()), |queue| of_amazon(what, queue))?;
    }
    for (what, url) in
        [("group store", &worker.notify.group_store), ("budget store", &worker.budgets.budget_store)]
    {
        if let Some(url) = url.as_ref().filter(|url| !is_s3(url)) {
            return Err(no_disk(&format!("the {what} is {url}"), "use s3://BUCKET/PREFIX"));
        }
    }
    if let Some(prices) = worker.budgets.prices.as_ref().filter(|path| !path.is_absolute()) {
        let prices = prices.display();
        return Err(Failure::usage(format!(
            "the price table {prices} is a relative path: write its absolute path in the image"
        )));
    }
    if let Some(usage) = usage {
        return Err(no_disk(&format!("the usage file is {}", usage.display()), "leave it out"));
    }
    if let Some(control) = &worker.control {
        return Err(Failure::usage(format!(
            "the control socket is {}, and the container has no place for it: leave it out",
            control.display()
        )));
    }
    if let Some(ledger) = worker.once.once.as_ref().filter(|url| !is_s3(url)) {
        return Err(no_disk(&format!("the ledger of --once is {ledger}"), "use s3://BUCKET/PREFIX"));
    }
    Ok(())
}

/// Refuses environment keys with the worker's own value.
pub(super) fn check_environment(settings: &Flags, file: &ConfigFile) -> Result<(), Failure> {
    if let Some(key) = settings.inherited().next() {
        return Err(Failure::usage(format!(
            "the environment key {key} has the worker's own value, and the container has none: write --env {key}=VALUE"
        )));
    }
    if let Some(key) = file.route.iter().find_map(RouteTable::inherits) {
        return Err(Failure::usage(format!(
            "the environment key {key} of a route has the worker's own value, and the container has none: give it a value"
        )));
    }
    Ok(())
}

/// Refuses a component that a container can't have, and queues, stores and buckets that are files.
pub(super) fn fits_container(task: &TaskPlan) -> Result<(), Failure> {
    in_container(&task.component)?;
    task.registry.check(&task.component)?;
    for (alias, queue) in &task.grants.sends {
        of_amazon(&format!("queue {alias}"), queue)?;
    }
    if let Some(store) = task.grants.stores.iter().find(|store| !is_s3(&store.url)) {
        let what = format!("the store {} is {}", store.alias, store.url);
        return Err(no_disk(&what, "use s3://BUCKET"));
    }
    if let Some(bucket) = task.grants.buckets.first() {
        let what = format!("the key-value bucket {} is {}", bucket.alias, bucket.url);
        return Err(no_disk(&what, "leave it out"));
    }
    Ok(())
}

/// Refuses a queue that isn't a queue of SQS.
pub(super) fn of_amazon(what: &str, queue: &str) -> Result<(), Failure> {
    if is_queue_address(queue) {
        return Ok(());
    }
    Err(no_disk(&format!("the {what} is {queue}"), "use a queue of SQS"))
}

fn no_disk(what: &str, instead: &str) -> Failure {
    Failure::usage(format!("{what}, and the container has no disk that outlives it: {instead}"))
}

/// Refuses a component that a container can't have.
fn in_container(component: &Source) -> Result<(), Failure> {
    match component {
        Source::File(path) if !path.is_absolute() => Err(Failure::usage(format!(
            "the component {} is a relative path: name an object in S3, an artefact in a registry, or the absolute path of a file in the image",
            path.display()
        ))),
        _ => Ok(()),
    }
}
