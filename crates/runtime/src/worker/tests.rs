//! A worker whose limits change while its tasks run.

use super::*;
use crate::capacity::{Host, HostMemory, MemorySource};
use crate::compile::Compiler;
use crate::component::LoadOptions;
use crate::engine::Allocator;
use crate::grant::Grants;
use crate::memory::MemoryQueue;
use std::pin::pin;
use std::task::{Context, Waker};

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
/// For two tasks within the usual limits.
const HOST: HostMemory = HostMemory { bytes: 2 << 30, source: MemorySource::Cgroup };

async fn worker() -> Worker {
    let text = include_str!("../../../../tests/guests/wat/large-calls.wat");
    let component = wat::parse_str(text).expect("a component");
    let options = LoadOptions {
        grants: Grants::default(),
        limits: Limits::default(),
        instances: TWO,
        host: Host { memory: Some(HOST), ..Host::default() },
        threads: NonZeroUsize::MIN,
        allocator: Allocator::Pooling,
        raw_body: false,
        deterministic: false,
    };
    let component = Component::load(&component, &Compiler::in_process(), options).await.expect("loaded");
    assert_eq!(component.capacity().instances, TWO);
    let [queue, dead] =
        ["main", "dead"].map(|name| Arc::new(MemoryQueue::new(name, Duration::from_secs(30))));
    let options = WorkerOptions { instances: TWO, scale: None, ..WorkerOptions::default() };
    Worker::new(queue, Some(dead), Arc::new(component), options).await.expect("a worker")
}

#[tokio::test]
async fn larger_limits_hold_once_no_more_tasks_run_than_fit_with_them_and_no_more_ever_do() {
    let worker = worker().await;
    let both = Sizing { most: TWO, scale: None };
    let usual = worker.component.limits();
    let large = Limits { memory_bytes: 1 << 30, ..usual.clone() };
    let mut tasks = vec![worker.instances.try_acquire(), worker.instances.try_acquire()];
    assert!(tasks.iter().all(Option::is_some));

    let reload = |limits: &Limits| worker.reload(limits.clone(), both).expect("they fit");
    {
        let mut given_up = pin!(reload(&large));
        assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(reload(&usual).await.most, TWO, "as if it hadn't been");

    let mut reloaded = pin!(reload(&large));
    assert!(reloaded.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(worker.component.limits().memory_bytes, usual.memory_bytes);
    tasks.pop();
    assert_eq!(reloaded.await.most, NonZeroUsize::MIN);
    assert_eq!(worker.component.limits().memory_bytes, large.memory_bytes);

    // The one that runs may be large.
    assert_eq!(reload(&usual).await.most, NonZeroUsize::MIN);
    assert_eq!(worker.component.limits().memory_bytes, usual.memory_bytes);
    assert!(worker.instances.try_acquire().is_none());
}
