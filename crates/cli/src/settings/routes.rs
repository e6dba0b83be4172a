//! Routes: merges what their tables have with what all tasks share.
//!
//! A route has no grant, environment or configuration value but its own: neither flags and variables nor the top of the
//! file add any. Only the limits that it doesn't set are those of all tasks.

use super::by_key;
use super::limit_flags::LimitSettings;
use super::route_table::{RouteTable, Unmatched};
use super::source::Source;
use super::task::TaskPlan;
use crate::output::failure::Failure;
use wasmrun_runtime::model::route::{Condition, MOST_ROUTES};

/// A route, with the settings of its tasks.
#[derive(Clone)]
pub(crate) struct RoutePlan {
    pub(crate) name: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) task: TaskPlan,
}

/// The routes, and what becomes of messages that none of them matches.
#[derive(Clone, Default)]
pub(crate) struct RoutesPlan {
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) unmatched: Unmatched,
}

/// What routes share with all tasks.
pub(super) struct Shared<'a> {
    /// The settings of the default component.
    pub(super) task: &'a TaskPlan,
    /// The component at the top of the file, if there is one.
    pub(super) component: Option<&'a Source>,
    pub(super) limits: &'a LimitSettings,
    pub(super) fetches_bodies: bool,
}

impl RoutesPlan {
    /// Validates the tables `route`.
    pub(super) fn new(
        tables: Vec<RouteTable>,
        unmatched: Option<Unmatched>,
        shared: &Shared<'_>,
    ) -> Result<Self, Failure> {
        check_number(&tables, unmatched)?;
        let mut routes: Vec<RoutePlan> = Vec::new();
        for table in tables {
            let name = table.name()?;
            if routes.iter().any(|route| route.name == name) {
                return Err(Failure::usage(format!("two routes have the name {name}: give each its own")));
            }
            let route = RoutePlan::of(table, name.clone(), shared)
                .map_err(|failure| failure.of_route(Some(&name)))?;
            routes.push(route);
        }
        let unmatched = unmatched.unwrap_or_default();
        if unmatched == Unmatched::Reject && shared.task.has_grants() {
            return Err(Failure::usage(
                "grants and settings outside of the routes are those of the default component, and with `unmatched = \"reject\"` no message reaches it: move them into a route",
            ));
        }
        Ok(Self { routes, unmatched })
    }
}

fn check_number(tables: &[RouteTable], unmatched: Option<Unmatched>) -> Result<(), Failure> {
    if tables.is_empty() && unmatched.is_some() {
        return Err(Failure::usage("`unmatched` has no effect without a route: add a table [[route]]"));
    }
    if tables.len() > MOST_ROUTES {
        return Err(Failure::usage(format!(
            "the configuration has {} routes, more than {MOST_ROUTES}: give the others a queue of their own",
            tables.len()
        )));
    }
    Ok(())
}

impl RoutePlan {
    fn of(mut table: RouteTable, name: String, shared: &Shared<'_>) -> Result<Self, Failure> {
        let grants = table.grants();
        let conditions = table.conditions.conditions()?;
        let component = table.component.as_deref().map(Source::of).transpose()?;
        let component = component.or_else(|| shared.component.cloned()).ok_or_else(|| {
            Failure::usage("it has no component: set `component` in the route, or at the top of the file")
        })?;
        let grants = grants.plan()?;
        by_key::check_source(&grants.stores, shared.task.key.as_ref())?;
        let reads = grants.stores.iter().any(|store| store.mode.reads());
        if conditions.iter().any(Condition::is_of_objects) && !reads {
            return Err(Failure::usage(
                "object-prefix and object-suffix match keys in a store of the route, and it may read none: add one, such as store.input = \"s3://BUCKET:ro\"",
            ));
        }
        let limits = table.limits.resolve(shared.limits.clone(), shared.fetches_bodies)?;
        let command = table.command.options()?;
        let task = TaskPlan { component, grants, limits, command, ..shared.task.clone() };
        Ok(Self { name, conditions, task })
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
