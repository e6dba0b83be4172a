//! Worlds: the kinds of components that run as tasks. wasmrun's own world comes first; each other one is an adapter in
//! front of the same task, with the same store, limits, outcomes and usage.

use super::command;
use super::host::files;
use super::host::{Handled, MessageHandle, Task, TaskPre};
use super::messaging::{self, MessagingRequestReply, MessagingRequestReplyPre};
use super::service;
use super::spin::{self, SpinSqs, SpinSqsPre};
use super::store::{Delivered, TaskState};
use std::sync::Arc;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Result, Store};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

/// A world that wasmrun runs. Of a component that fits several, the first counts: a program may export `main` without
/// meaning it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// wasmrun's own: the component exports a handler of messages.
    Task,
    /// Spin's SQS trigger: the component exports a function that handles a message.
    SpinSqs,
    /// `wasi:messaging`: the component exports a handler of messages.
    Messaging,
    /// A service: the component exports a handler of HTTP requests. It has no queue, and often a `main` that does
    /// nothing.
    Service,
    /// A program with `main`.
    Command,
}

impl World {
    /// Returns the world that a component with these exports fits, if there is one.
    pub(crate) fn of<'a>(exports: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        exports.into_iter().filter_map(Self::of_export).min()
    }

    fn of_export(name: &str) -> Option<Self> {
        if name.starts_with("wasmrun:task/handler@") {
            Some(Self::Task)
        } else if name == spin::EXPORT {
            Some(Self::SpinSqs)
        } else if name == messaging::EXPORT {
            Some(Self::Messaging)
        } else if name.starts_with("wasi:cli/run@0.2.") {
            Some(Self::Command)
        } else if name.starts_with(service::EXPORT) {
            Some(Self::Service)
        } else {
            None
        }
    }

    /// Returns the name of the world.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "wasmrun:task/task@0.1.0",
            Self::SpinSqs => spin::WORLD,
            Self::Messaging => messaging::WORLD,
            Self::Command => "wasi:cli/command@0.2",
            Self::Service => "wasi:http/proxy@0.2",
        }
    }

    /// Returns whether a guest of this world can be told which objects its message announces. Others receive each body
    /// as it was sent, and what it announces has no meaning.
    pub(crate) fn knows_objects(self) -> bool {
        matches!(self, Self::Task | Self::Command)
    }
}

/// A component that is ready to be instantiated.
#[derive(Clone)]
pub(crate) enum Linked {
    Task(TaskPre<TaskState>),
    SpinSqs(SpinSqsPre<TaskState>),
    Messaging(MessagingRequestReplyPre<TaskState>),
    Command(CommandPre<TaskState>),
    Service(ProxyPre<TaskState>),
}

impl Linked {
    pub(crate) fn new(world: World, pre: InstancePre<TaskState>) -> Result<Self> {
        Ok(match world {
            World::Task => Self::Task(TaskPre::new(pre)?),
            World::SpinSqs => Self::SpinSqs(SpinSqsPre::new(pre)?),
            World::Messaging => Self::Messaging(MessagingRequestReplyPre::new(pre)?),
            World::Command => Self::Command(CommandPre::new(pre)?),
            World::Service => Self::Service(ProxyPre::new(pre)?),
        })
    }

    pub(crate) fn world(&self) -> World {
        match self {
            Self::Task(_) => World::Task,
            Self::SpinSqs(_) => World::SpinSqs,
            Self::Messaging(_) => World::Messaging,
            Self::Command(_) => World::Command,
            Self::Service(_) => World::Service,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.component().engine()
    }

    pub(crate) fn component(&self) -> &Component {
        match self {
            Self::Task(pre) => pre.instance_pre().component(),
            Self::SpinSqs(pre) => pre.instance_pre().component(),
            Self::Messaging(pre) => pre.instance_pre().component(),
            Self::Command(pre) => pre.instance_pre().component(),
            Self::Service(pre) => pre.instance_pre().component(),
        }
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<TaskState>) -> Result<Instance> {
        Ok(match self {
            Self::Task(pre) => Instance::Task(pre.instantiate_async(store).await?),
            Self::SpinSqs(pre) => Instance::SpinSqs(pre.instantiate_async(store).await?),
            Self::Messaging(pre) => Instance::Messaging(pre.instantiate_async(store).await?),
            Self::Command(pre) => Instance::Command(pre.instantiate_async(store).await?),
            Self::Service(pre) => Instance::Service(pre.instantiate_async(store).await?),
        })
    }
}

/// The instance of a task.
pub(crate) enum Instance {
    Task(Task),
    SpinSqs(SpinSqs),
    Messaging(MessagingRequestReply),
    Command(Command),
    Service(Proxy),
}

impl Instance {
    /// Calls the guest with the message, and completes what it has written: its files, and at last its standard output.
    pub(crate) async fn handle(&self, store: &mut Store<TaskState>, delivered: Arc<Delivered>) -> Handled {
        if let Err(failure) = self.call(store, delivered).await? {
            return Ok(Err(failure));
        }
        match files::complete(store.data_mut()).await? {
            Ok(()) => command::complete(store.data_mut()).await,
            failure => Ok(failure),
        }
    }

    async fn call(&self, store: &mut Store<TaskState>, delivered: Arc<Delivered>) -> Handled {
        match self {
            Self::Task(instance) => {
                let message = store.data_mut().table.push(MessageHandle(delivered))?;
                instance.wasmrun_task_handler().call_handle(store, message).await
            }
            Self::SpinSqs(instance) => spin::run(instance, store, &delivered).await,
            Self::Messaging(instance) => messaging::run(instance, store, delivered).await,
            Self::Command(instance) => command::run(instance, store, &delivered).await,
            Self::Service(instance) => service::run(instance, store, &delivered).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_with_a_handler_is_no_command_even_if_it_has_main_as_well() {
        let both = ["wasi:cli/run@0.2.3", "wasmrun:task/handler@0.1.0"];
        assert_eq!(World::of(both), Some(World::Task));
        assert_eq!(World::of(["wasi:cli/run@0.2.3", "handle-queue-message"]), Some(World::SpinSqs));
        assert_eq!(World::of(["memory", "wasi:cli/run@0.2.0"]), Some(World::Command));
        assert_eq!(World::of(["wasi:cli/run@0.3.0"]), None);
        assert_eq!(World::of([]), None);
    }
}
