use super::*;
use crate::engine::capacity::{BoundedBy, Host, HostMemory, MemorySource};
use crate::engine::compile::Compiler;
use crate::model::limits::Limits;
use crate::task::component::LoadOptions;
use std::num::NonZeroUsize;
use std::time::UNIX_EPOCH;

const MIB: u64 = 1 << 20;
const MEMORY: u64 = 2048 * MIB;

/// Loads the smallest task, on a host with this much memory, for tasks of this much memory.
async fn component(host_bytes: u64, memory_bytes: usize) -> Component {
    component_on(host_bytes, None, memory_bytes).await
}

/// Loads it on a host on which a process may have this many file descriptors.
async fn component_on(host_bytes: u64, files: Option<u64>, memory_bytes: usize) -> Component {
    let bytes = wat::parse_str(include_str!("../../../properties/src/seeds/task.wat")).expect("a component");
    let memory = HostMemory { bytes: host_bytes, source: MemorySource::Cgroup };
    let threads = Arc::new(GuestThreads::start(NonZeroUsize::MIN).expect("a thread"));
    let options = LoadOptions {
        limits: Limits { memory_bytes, ..Limits::default() },
        instances: NonZeroUsize::new(1000).expect("not zero"),
        host: Host { memory: Some(memory), files },
        allocator: Allocator::OnDemand,
        ..LoadOptions::new("c.wasm", threads)
    };
    Component::load(&bytes, &Compiler::in_process(), options).await.expect("a component")
}

fn route(name: &str, component: Component) -> NewRoute {
    let conditions = vec![Condition::Group([name.to_owned()].into())];
    NewRoute { name: name.into(), conditions, component }
}

fn of_group(group: &str) -> Message {
    Message { group: Some(group.into()), ..Message::new("m", "") }
}

#[tokio::test]
async fn as_many_tasks_run_as_fit_if_all_are_of_the_largest_component() {
    let (small, large) = (component(MEMORY, 16 << 20).await, component(MEMORY, 256 << 20).await);
    let alone = [small.capacity(), large.capacity()];
    assert!(alone[0].instances > alone[1].instances, "{alone:?}");
    let (task_bytes, code_bytes) = (large.task_bytes(), small.code_bytes() + large.code_bytes());
    let routes =
        Routes::new(Some(small), vec![route("large", large)]).expect("it fits").expect("a component");
    let Capacity { instances, bounded_by, .. } = routes.capacity();
    assert!(instances <= alone[1].instances && bounded_by == BoundedBy::Memory);
    assert_eq!(routes.task_bytes(), task_bytes);
    assert!(instances.get() as u64 * task_bytes + code_bytes < MEMORY);
    assert!(routes.components().all(|component| component.capacity().instances == instances));
}

#[tokio::test]
async fn what_bounds_the_tasks_of_a_component_is_the_bound_that_leaves_fewest() {
    // Five tasks have enough file descriptors, and more have enough memory.
    let mut component = component_on(MEMORY, Some(256 + 5 * 16), 16 << 20).await;
    let alone = component.capacity();
    assert_eq!((alone.instances.get(), alone.bounded_by), (5, BoundedBy::Files));
    assert_eq!(component.fit_alongside(0).expect("it fits"), alone);
    // Code counts four times, and leaves memory for less than three tasks.
    let other_bytes = (MEMORY - MEMORY / 16 - 64 * MIB - 3 * component.task_bytes()) / 4;
    let fits = component.fit_alongside(other_bytes).expect("it fits");
    assert_eq!((fits.instances.get(), fits.bounded_by, fits.files), (2, BoundedBy::Memory, alone.files));
}

#[tokio::test]
async fn a_route_of_which_no_task_fits_alongside_the_others_is_named() {
    // One task of each fits alone.
    let task_bytes = component(MEMORY, 256 << 20).await.task_bytes();
    let host_bytes = (task_bytes + 64 * MIB) * 16 / 15 + MIB;
    let (small, large) = (component(host_bytes, 16 << 20).await, component(host_bytes, 256 << 20).await);
    let mut routes = vec![route("large", large)];
    for number in 0..63 {
        routes.push(route(&format!("r{number}"), component(host_bytes, 16 << 20).await));
    }
    let error = Routes::new(Some(small), routes).err().expect("too much code");
    assert_eq!(error.route.as_deref(), Some("large"), "{error}");
}

#[tokio::test]
async fn a_message_without_a_route_runs_on_the_default_component_or_is_rejected() {
    let small = || component(MEMORY, 16 << 20);
    let with = Routes::new(Some(small().await), vec![route("a", small().await)]);
    let without = Routes::new(None, vec![route("a", small().await)]);
    let (with, without) = (with.expect("it fits").expect("two"), without.expect("it fits").expect("one"));
    for routes in [&with, &without] {
        let report =
            routes.of(&of_group("a")).run(Arc::new(of_group("a")), None, std::future::pending()).await;
        assert_eq!((report.outcome, report.route.as_deref()), (Outcome::Completed, Some("a")));
    }
    let run = async |routes: &Routes, message: Message| {
        let report = routes.of(&message).run(Arc::new(message.clone()), None, std::future::pending()).await;
        (report.outcome, report.route, report.component)
    };
    assert_eq!(run(&with, of_group("b")).await, (Outcome::Completed, None, "c.wasm".into()));
    let reason = "no route matches the message".to_owned();
    assert_eq!(run(&without, of_group("b")).await, (Outcome::Rejected { reason }, None, "-".into()));
    let test = Message::new("m", r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#);
    assert_eq!(run(&without, test).await, (Outcome::Completed, None, "-".into()));
    assert_eq!((with.name(), without.name()), ("c.wasm".into(), "-".into()));
}

#[tokio::test]
async fn the_record_of_a_message_without_a_task_says_how_long_it_waited() {
    let with = Routes::new(Some(component(MEMORY, 16 << 20).await), Vec::new());
    let without = Routes::new(None, vec![route("a", component(MEMORY, 16 << 20).await)]);
    let (with, without) = (with.expect("it fits").expect("one"), without.expect("it fits").expect("one"));
    let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent"}"#;
    let message = Message { sent_at: UNIX_EPOCH, ..Message::new("m", body) };
    for routes in [&with, &without] {
        let report = routes.of(&message).run(Arc::new(message.clone()), None, std::future::pending()).await;
        assert!(!report.ran && report.usage.queued > Duration::ZERO, "{report:?}");
    }
}

#[test]
fn backends_of_two_routes_with_one_alias_are_two() {
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    let names = [of_route(None, "input"), of_route(Some(&a), "input"), of_route(Some(&b), "input")];
    assert_eq!(names, ["input", "a/input", "b/input"]);
}
