//! Reads and loads the components of a worker: the default one, and those of routes.

use super::backends::Backends;
use super::compiler::compiler;
use super::component::{self, Placement, ReadComponent};
use super::protected::{protected_files, refuse_shared_files};
use crate::output::failure::Failure;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmrun_runtime::engine::cache::Cache;
use wasmrun_runtime::task::routes::{NewRoute, RouteTooSmall, Routes};

/// Reads all components, in the order of [`TaskPlan::components`]. One that routes share is read once.
pub(crate) async fn read(
    plan: &TaskPlan,
    cache: Option<&Cache>,
    backends: &Backends,
) -> Result<Vec<Arc<ReadComponent>>, Failure> {
    let mut all: Vec<(&Source, Arc<ReadComponent>)> = Vec::new();
    for (route, task) in plan.components() {
        let source = &task.component;
        let read = match all.iter().find(|(before, _)| *before == source) {
            Some((_, read)) => read.clone(),
            None => {
                let read =
                    component::read(source, &task.engine.compile, &task.registry, cache, backends).await;
                Arc::new(read.map_err(|failure| failure.of_route(route))?)
            }
        };
        all.push((source, read));
    }
    Ok(all.into_iter().map(|(_, read)| read).collect())
}

/// Returns the digest of each component that was read, by the name of its route; `None` is the default component.
pub(crate) fn digests(plan: &TaskPlan, read: &[Arc<ReadComponent>]) -> BTreeMap<Option<String>, String> {
    let named = plan.components().map(|(route, _)| route.map(str::to_owned));
    named.zip(read.iter().map(|read| read.digest().to_owned())).collect()
}

/// Opens the grants of all components, and loads the components that were read.
pub(crate) async fn load(
    plan: &TaskPlan,
    backends: &Backends,
    read: Vec<Arc<ReadComponent>>,
    cache: Option<Cache>,
    mut placement: Placement,
) -> Result<Routes, Failure> {
    let mut written = std::mem::take(&mut placement.protected);
    let mut granted = Vec::new();
    for (route, task) in plan.components() {
        let opened = component::open_grants(task, backends, &mut written).await;
        granted.push(opened.map_err(|failure| failure.of_route(route))?);
    }
    refuse_shared_files(&written)?;
    let mut protected = protected_files(plan, cache.as_ref())?;
    protected.append(&mut written);
    // Now all files are known to which no guest may write, whatever its route.
    for ((route, task), grants) in plan.components().zip(&mut granted) {
        let opened = component::open_stores(task, backends, &protected, grants).await;
        opened.map_err(|failure| failure.of_route(route))?;
    }
    let (compiler, threads) =
        (compiler(&plan.engine.compile, cache)?, component::guest_threads(plan.engine.threads()?)?);
    let (mut default, mut routes) = (None, Vec::new());
    for (((route, task), read), grants) in plan.components().zip(read).zip(granted) {
        let loaded =
            component::load((route, task), &read, &compiler, grants, &placement, threads.clone()).await;
        let component = loaded.map_err(|failure| failure.of_route(route))?;
        match route {
            None => default = Some(component),
            Some(name) => routes.push((name.to_owned(), component)),
        }
    }
    let conditions = plan.routes.routes.iter().map(|route| route.conditions.clone());
    let routes = routes.into_iter().zip(conditions);
    let routes = routes.map(|((name, component), conditions)| NewRoute { name, conditions, component });
    match Routes::new(default, routes.collect()) {
        Ok(routes) => routes.ok_or_else(none),
        Err(RouteTooSmall { route, error }) => {
            Err(Failure::usage(error.to_string()).of_route(route.as_deref()))
        }
    }
}

fn none() -> Failure {
    Failure::usage("there is no component to run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::ConfigFile;
    use crate::settings::flags::{Cli, Command};
    use crate::settings::worker::WorkerSettings;
    use clap::Parser;

    #[tokio::test]
    async fn a_component_that_routes_share_is_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["a.wasm", "b.wasm"] {
            std::fs::write(path(name), name).expect("written");
        }
        let route = |name: &str, component: &str| {
            format!("[[route]]\nname = '{name}'\nmatch.group = '{name}'\n{component}\n")
        };
        let other = format!("component = '{}'", path("b.wasm"));
        let file = [format!("component = '{}'\n", path("a.wasm")), route("one", ""), route("two", &other)];
        let mut file = ConfigFile::parse(&file.concat(), &"wasmrun.toml").expect("a file");
        let Some(Command::Run(args)) = Cli::try_parse_from(["wasmrun", "run"]).expect("arguments").command
        else {
            panic!("another command")
        };
        let plan = TaskPlan::new(None, args.task, &mut file, &WorkerSettings::default());
        let plan = plan.expect("a plan");
        let read = read(&plan, None, &Backends::new(plan.aws.clone())).await.expect("read");
        assert!(Arc::ptr_eq(&read[0], &read[1]));
        assert_eq!(
            read.iter().map(|read| &*read.bytes).collect::<Vec<_>>(),
            [b"a.wasm", b"a.wasm", b"b.wasm"]
        );
        let digests = digests(&plan, &read);
        assert!(
            digests[&None] == digests[&Some("one".into())] && digests[&None] != digests[&Some("two".into())]
        );
    }
}
