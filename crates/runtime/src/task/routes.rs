//! The components of a worker, and which of them handles a message.
//!
//! Without routes there is one component, which handles all messages. A route has a component of its own, with limits
//! and grants that no other route's tasks have: each is loaded as if it were alone, except that they share the threads
//! and the host's memory.

use crate::engine::Allocator;
use crate::engine::capacity::{Capacity, TooSmall};
use crate::engine::threads::GuestThreads;
use crate::model::event::{Decoded, decode};
use crate::model::host_error::{HostError, HostErrorKind, Used};
use crate::model::key::{Key, KeySource};
use crate::model::message::Message;
use crate::model::outcome::{Cancel, Outcome};
use crate::model::route::{Condition, first_match};
use crate::task::component::{Component, Report};
use crate::task::grant::Grants;
use crate::task::staged::StagedOutputs;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tracing::Span;

/// What stands for the component in records of messages that no component handles.
pub const NO_COMPONENT: &str = "-";

/// Messages with a component of their own.
pub struct Route {
    /// Name of the route in records, logs and metrics.
    pub name: Arc<str>,
    /// What its messages are like: all of these hold.
    pub conditions: Vec<Condition>,
    /// What handles them.
    pub component: Arc<Component>,
}

/// The components of a worker. Cloning is cheap.
#[derive(Clone)]
pub struct Routes {
    /// The routes in their order: the first that matches counts.
    routes: Arc<[Route]>,
    /// Handles messages that no route matches; `None`: they are rejected.
    default: Option<Arc<Component>>,
    /// Any of the components, for what all have in common.
    any: Arc<Component>,
    capacity: Capacity,
}

/// Error: the components don't fit on the host together.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RouteTooSmall {
    /// The route of which not even one task fits; `None`: the default component.
    pub route: Option<String>,
    /// What is too small.
    pub error: TooSmall,
}

/// A component before it shares the host with others.
pub struct NewRoute {
    /// See [`Route::name`].
    pub name: String,
    /// See [`Route::conditions`].
    pub conditions: Vec<Condition>,
    /// What handles the messages.
    pub component: Component,
}

impl From<Arc<Component>> for Routes {
    fn from(component: Arc<Component>) -> Self {
        let capacity = component.capacity();
        Self { routes: Arc::default(), default: Some(component.clone()), any: component, capacity }
    }
}

impl Routes {
    /// Puts components on one host together. As many tasks may run at once as fit if all are of the component whose tasks
    /// take most. `default` handles messages that no route matches; `None`: they are rejected. Returns `None` if there is
    /// no component.
    ///
    /// # Errors
    ///
    /// Not even one task of a component fits alongside the code of the others.
    pub fn new(
        mut default: Option<Component>,
        mut routes: Vec<NewRoute>,
    ) -> Result<Option<Self>, RouteTooSmall> {
        let of_routes = routes.iter().map(|route| &route.component);
        let code_bytes: u64 = default.iter().chain(of_routes).map(Component::code_bytes).sum();
        let all = default
            .iter_mut()
            .map(|component| (None, component))
            .chain(routes.iter_mut().map(|route| (Some(&route.name), &mut route.component)));
        let mut capacity: Option<Capacity> = None;
        for (name, component) in all {
            let fits = component.fit_alongside(code_bytes - component.code_bytes());
            let fits = fits.map_err(|error| RouteTooSmall { route: name.cloned(), error })?;
            capacity = Some(match capacity {
                Some(least) if least.instances <= fits.instances => least,
                _ => fits,
            });
        }
        let Some(capacity) = capacity else { return Ok(None) };
        let of_routes = routes.iter_mut().map(|route| &mut route.component);
        default.iter_mut().chain(of_routes).for_each(|component| component.set_instances(capacity.instances));
        let default = default.map(Arc::new);
        let routes: Arc<[Route]> = routes
            .into_iter()
            .map(|NewRoute { name, conditions, component }| Route {
                name: name.into(),
                conditions,
                component: component.into(),
            })
            .collect();
        let any = default.clone().or_else(|| routes.first().map(|route| route.component.clone()));
        Ok(any.map(|any| Self { routes, default, any, capacity }))
    }

    /// Returns where a message goes.
    pub fn of(&self, message: &Message) -> Routed<'_> {
        if self.routes.is_empty() {
            return Routed { routes: self, route: None };
        }
        let conditions = self.routes.iter().map(|route| route.conditions.as_slice());
        let found = first_match(conditions, message, |route, url| {
            self.routes[route].component.grants().announced_key(url)
        });
        Routed { routes: self, route: found.map(|route| &self.routes[route]) }
    }

    /// Returns the routes in their order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Returns all components: the default one, and those of routes.
    pub fn components(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.default.iter().chain(self.routes.iter().map(|route| &route.component))
    }

    /// Returns the grants of each component: of the default one, and of each route, with the route's name.
    pub(crate) fn grants(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &Grants)> {
        let default = self.default.iter().map(|component| (None, component.grants()));
        default.chain(self.routes.iter().map(|route| (Some(&route.name), route.component.grants())))
    }

    /// Returns the key of a message, which `source` finds.
    pub fn key(&self, source: &KeySource, message: &Message) -> Key {
        source.key(message, |url| self.object_key(message, url))
    }

    /// Returns the key of an object that a message announces, in the store of the message's own route.
    pub(crate) fn object_key(&self, message: &Message, url: &str) -> Option<String> {
        self.of(message).component()?.grants().key_of(url)
    }

    /// Returns the name of the default component, or [`NO_COMPONENT`].
    pub fn name(&self) -> Arc<str> {
        self.default.as_ref().map_or_else(|| NO_COMPONENT.into(), |component| component.name())
    }

    /// Returns how many tasks may run at once, whatever their components.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Returns the longest time that a task may take.
    pub fn timeout(&self) -> Duration {
        self.components().map(|component| component.timeout()).max().unwrap_or_default()
    }

    /// Returns the most bytes that a task within its limits can make the process hold.
    pub fn task_bytes(&self) -> u64 {
        self.components().map(|component| component.task_bytes()).max().unwrap_or_default()
    }

    /// Returns where the instances of the components come from: [`Allocator::OnDemand`] if those of any do.
    pub fn allocator(&self) -> Allocator {
        let is_pooled = self.components().all(|component| component.allocator() == Allocator::Pooling);
        if is_pooled { Allocator::Pooling } else { Allocator::OnDemand }
    }

    /// Returns the threads on which all tasks compute.
    pub fn threads(&self) -> &GuestThreads {
        self.any.threads()
    }

    /// Returns a span that adds the trace of a message to the log lines of its task, or an empty span.
    pub fn task_span(&self, message: &Message) -> Span {
        self.any.task_span(message)
    }

    /// Returns the name of each backend that tasks use, in the order of the components: aliases, after the name of the
    /// route and a slash for a route's.
    pub(crate) fn backends(&self) -> Vec<String> {
        let backends = self
            .grants()
            .flat_map(|(route, grants)| grants.backends().map(move |backend| of_route(route, &backend)));
        backends.collect()
    }

    /// Reclaims the memory that the components' pools keep for future tasks.
    pub(crate) async fn reclaim_idle_memory(&self) {
        for component in self.components() {
            component.reclaim_idle_memory().await;
        }
    }

    /// Waits until all stores have closed and removed what tasks left open, as [`Component::clear_away`] does.
    pub async fn clear_away(&self) {
        futures_util::future::join_all(self.components().map(|component| component.clear_away())).await;
    }
}

/// Lists the names of the routes.
impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, route) in self.routes.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " " }, route.name)?;
        }
        Ok(())
    }
}

/// The name of a backend of a route's tasks, which others' tasks may have another backend by.
pub(crate) fn of_route(route: Option<&Arc<str>>, backend: &str) -> String {
    match route {
        Some(route) => format!("{route}/{backend}"),
        None => backend.to_owned(),
    }
}

/// Where a message goes.
#[derive(Clone, Copy)]
pub struct Routed<'r> {
    routes: &'r Routes,
    /// `None`: no route matches.
    route: Option<&'r Route>,
}

impl<'r> Routed<'r> {
    /// Returns the name of the route, if one matches.
    pub fn route(&self) -> Option<&'r Arc<str>> {
        self.route.map(|route| &route.name)
    }

    /// Returns the component that handles the message; `None`: it is rejected.
    pub fn component(&self) -> Option<&'r Arc<Component>> {
        match self.route {
            Some(route) => Some(&route.component),
            None => self.routes.default.as_ref(),
        }
    }

    /// Runs the task of the message, as [`Component::run`] does, or rejects the message. `key`: the message's key, if
    /// messages have keys.
    pub async fn run(
        self,
        message: Arc<Message>,
        key: Option<&Key>,
        cancelled: impl Future<Output = Cancel>,
    ) -> Report {
        self.run_with(message, key, None, cancelled).await
    }

    /// Runs the task of the message like [`Routed::run`]. With `outputs`, what it writes and deletes is staged there.
    pub(crate) async fn run_with(
        self,
        message: Arc<Message>,
        key: Option<&Key>,
        outputs: Option<&Arc<StagedOutputs>>,
        cancelled: impl Future<Output = Cancel>,
    ) -> Report {
        let Some(component) = self.component() else { return self.unmatched(&message) };
        let mut report = component.run_with(message, key, outputs, cancelled).await;
        if let Some(name) = self.route() {
            if let Some(error) =
                report.host_error.as_mut().filter(|error| error.kind == HostErrorKind::NotGranted)
            {
                error.text += &format!("; the route {name} has only the grants of its own table [[route]]");
            }
            let used = report.well.iter_mut().chain(report.host_error.as_mut().map(|error| &mut error.used));
            used.for_each(|used| used.backend = of_route(Some(name), &used.backend));
            report.route = Some(name.clone());
        }
        report
    }

    /// Returns the report of a message that ended before it had an instance.
    pub(crate) fn without_task(
        &self,
        message: &Message,
        outcome: Outcome,
        host_error: Option<Box<HostError>>,
    ) -> Report {
        let name = self.component().map_or_else(|| NO_COMPONENT.into(), |component| component.name());
        Report {
            trace: self.routes.any.task_trace(message),
            route: self.route().cloned(),
            ..Report::of_no_instance(name, message, outcome, host_error)
        }
    }

    /// Rejects a message that no route matches. S3's test event needs no work.
    fn unmatched(&self, message: &Message) -> Report {
        let outcome = match decode(&message.body) {
            Decoded::Test => Outcome::Completed,
            _ => Outcome::Rejected { reason: "no route matches the message".into() },
        };
        self.without_task(message, outcome, None)
    }

    /// Returns whether the task of the message may use a backend.
    pub(crate) fn may_use(&self, used: &Used) -> bool {
        let granted = |component: &Arc<Component>| {
            component.grants().backends().any(|backend| of_route(self.route(), &backend) == used.backend)
        };
        self.component().is_none_or(granted)
    }

    /// Returns the alias of a backend of the route's component.
    pub(crate) fn alias<'b>(&self, used: &'b Used) -> &'b str {
        let of_route = |name| used.backend.strip_prefix(name)?.strip_prefix('/');
        self.route().and_then(|name| of_route(&**name)).unwrap_or(&used.backend)
    }
}

#[cfg(all(test, feature = "compiler"))]
#[path = "routes_tests.rs"]
mod tests;
