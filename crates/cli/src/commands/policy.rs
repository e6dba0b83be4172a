//! `wasmrun policy`: prints the IAM policy that a configuration needs.

use crate::output::failure::Failure;
use crate::output::to_stdout;
use crate::settings::file::ConfigFile;
use crate::settings::flags::{PolicyArgs, RunArgs, TaskArgs};
use crate::settings::grants::{GrantPlan, StoreSetting};
use crate::settings::notify::NotifySetting;
use crate::settings::queues::queues;
use crate::settings::source::Source;
use crate::wiring::backends::{is_s3, is_sqlite, unknown_queue};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wasmrun_aws::{EcrRegistry, Permissions, is_queue_address};
use wasmrun_runtime::task::by_key::Scope;

pub(crate) fn policy(args: PolicyArgs) -> Result<ExitCode, Failure> {
    let asks_for_dead_letters = args.role.is_none();
    let (permissions, names_dead_letters) = permissions(args)?;
    if permissions.is_empty() {
        return Err(Failure::usage("no rights are needed: no queue, store or registry here is Amazon's"));
    }
    if permissions.is_too_long() {
        return Err(Failure::usage(
            "the policy is longer than IAM takes for a role: give some of the grants roles of their own with --assume-role",
        ));
    }
    to_stdout(format!("{}\n", permissions.to_json()).as_bytes());
    if asks_for_dead_letters && !names_dead_letters {
        let _ = writeln!(
            io::stderr(),
            "note: if the queue's redrive policy names a dead-letter queue, its rights are missing here: add --dead-letter URL"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the required permissions. The second value is `false` if the queue may have a dead-letter queue that the
/// settings don't name.
fn permissions(args: PolicyArgs) -> Result<(Permissions, bool), Failure> {
    let PolicyArgs { cluster, role, mut run } = args;
    let mut file = ConfigFile::read(run.task.config.as_deref())?;
    let components = components(&mut file, run.component.take());
    let all = all_grants(&run.task, &mut file)?;
    if let Some(role) = &role
        && !all.iter().any(|(_, grants)| grants.roles.values().any(|known| known == role))
    {
        return Err(Failure::usage(format!("no grant uses the role {role}: see --assume-role")));
    }
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].map(|name| std::env::var(name).ok());
    let region = region.into_iter().flatten().find(|region| !region.is_empty());
    let permissions = Permissions::new(region);
    let mut permissions = if role.is_some() { permissions.of_sessions() } else { permissions };

    let mut names_dead_letters = true;
    if role.is_none() {
        names_dead_letters = allow_worker(&mut permissions, run, &mut file, components, cluster.as_deref())?;
        for (route, GrantPlan { stores, roles, .. }) in &all {
            for (alias, role) in roles {
                let is_by_key = |store: &StoreSetting| store.alias == *alias && store.scope != Scope::All;
                permissions.assume(&named(route, alias), role, stores.iter().any(is_by_key));
            }
        }
    }
    for (route, GrantPlan { stores, sends, roles, .. }) in all {
        // A grant is used with its own role's rights, or with the worker's.
        let is_used = |alias: &str| roles.get(alias) == role.as_ref();
        for store in stores.iter().filter(|store| is_used(&store.alias) && is_s3(&store.url)) {
            let StoreSetting { alias, url, mode, scope } = store;
            let used = permissions.use_store(&named(&route, alias), url, scope, *mode);
            used.map_err(|why| wrong(url, why))?;
        }
        for (alias, url) in sends.into_iter().filter(|(alias, _)| is_used(alias)) {
            if let Some(url) = of_amazon(Some(url))? {
                permissions.send_to(&named(&route, &alias), &url).map_err(|why| wrong(&url, why))?;
            }
        }
    }
    Ok((permissions, names_dead_letters))
}

/// Allows what the worker itself does. Returns `false` if the queue may have a dead-letter queue that the settings don't
/// name.
fn allow_worker(
    permissions: &mut Permissions,
    run: RunArgs,
    file: &mut ConfigFile,
    components: BTreeSet<PathBuf>,
    cluster: Option<&str>,
) -> Result<bool, Failure> {
    let worker = run.worker.over(std::mem::take(&mut file.worker));
    let named = queues(run.queue, &mut file.queue)?.into_iter();
    let queues = named.map(|queue| of_amazon(Some(queue.url))).collect::<Result<Vec<_>, _>>()?;
    let queues: Vec<String> = queues.into_iter().flatten().collect();
    let dead_letter = of_amazon(worker.delivery.dead_letter)?;
    let names_dead_letters = queues.is_empty() || dead_letter.is_some();
    for queue in &queues {
        permissions.work_on(queue).map_err(|why| wrong(queue, why))?;
    }
    if let Some(queue) = dead_letter {
        permissions.dead_letter_to(&queue).map_err(|why| wrong(&queue, why))?;
    }
    let notified = worker.notify.notify.as_ref().and_then(NotifySetting::queue).map(str::to_owned);
    if let Some(queue) = of_amazon(notified)? {
        permissions.notify(&queue).map_err(|why| wrong(&queue, why))?;
    }
    for (name, url) in [("Groups", &worker.notify.group_store), ("Budgets", &worker.budgets.budget_store)] {
        if let Some(url) = url.as_ref().filter(|url| is_s3(url)) {
            permissions.share_objects(name, url).map_err(|why| wrong(url, why))?;
        }
    }
    if let Some(url) = worker.once.once.as_ref().filter(|url| is_s3(url)) {
        permissions.keep_ledger(url).map_err(|why| wrong(url, why))?;
    }
    if let Some(url) = &worker.delivery.body_store {
        permissions.read_bodies(url).map_err(|why| wrong(url, why))?;
    }
    for component in components {
        fetch(permissions, &component)?;
    }
    if let Some(cluster) = cluster {
        let queue = queues.first().ok_or_else(|| Failure::usage("--cluster needs a queue of SQS"))?;
        permissions.protect(cluster, queue).map_err(|why| wrong(cluster, why))?;
    }
    Ok(names_dead_letters)
}

/// Allows fetching a component.
fn fetch(permissions: &mut Permissions, component: &Path) -> Result<(), Failure> {
    match Source::of(component)? {
        Source::Object(url) => permissions.fetch(&url).map_err(|why| wrong(&url, why))?,
        Source::Artefact(reference) => {
            if let Some(registry) = EcrRegistry::of(reference.host()) {
                permissions.pull(&registry, reference.repository());
            }
        }
        Source::File(_) => {}
    }
    Ok(())
}

fn wrong(what: &str, why: String) -> Failure {
    Failure::usage(format!("cannot tell the rights on {what}: {why}"))
}

/// Returns the components that the worker runs, each once.
fn components(file: &mut ConfigFile, typed: Option<PathBuf>) -> BTreeSet<PathBuf> {
    let of_routes = file.route.iter().filter_map(|route| route.component.clone());
    let of_routes: Vec<PathBuf> = of_routes.collect();
    typed.or_else(|| file.component.take()).into_iter().chain(of_routes).collect()
}

/// Returns the grants on AWS of the default component, and of each route with its name.
fn all_grants(args: &TaskArgs, file: &mut ConfigFile) -> Result<Vec<(Option<String>, GrantPlan)>, Failure> {
    let grants = args.grants.on_aws().over(file.grants())?;
    let mut all = vec![(None, grants.on_aws().plan()?)];
    for mut route in std::mem::take(&mut file.route) {
        let name = route.name()?;
        let grants = route.grants().on_aws().plan().map_err(|failure| failure.of_route(Some(&name)))?;
        all.push((Some(name), grants));
    }
    Ok(all)
}

/// Returns the name of a grant among those of all routes.
fn named(route: &Option<String>, alias: &str) -> String {
    route.iter().map(String::as_str).chain([alias]).collect::<Vec<_>>().join("-")
}

/// Returns the queue if it is a queue of SQS. Refuses an unknown kind of queue.
fn of_amazon(queue: Option<String>) -> Result<Option<String>, Failure> {
    match queue {
        Some(queue) if is_sqlite(&queue) => Ok(None),
        Some(queue) if !is_queue_address(&queue) => Err(unknown_queue(&queue)),
        queue => Ok(queue),
    }
}
