//! What the theory of queues says.

use super::{plan, run, some};
use crate::plan::{Arrivals, Plan, Service};
use std::time::Duration;

/// Mean wait in a queue with `servers`, by Erlang's C formula, in mean times of a task.
pub(super) fn erlang_c(servers: u32, load: f64) -> f64 {
    let c = f64::from(servers);
    // Erlang's B formula, by its recursion.
    let blocked = (1..=servers).fold(1.0, |b, n| load * b / (f64::from(n) + load * b));
    let waits = blocked / (1.0 - load / c * (1.0 - blocked));
    waits / (c - load)
}

#[test]
fn erlang_c_is_that_of_the_tables() {
    // One server: rho / (1 - rho). Two servers at a load of one: a third of a mean time.
    assert!((erlang_c(1, 0.5) - 1.0).abs() < 1e-12);
    assert!((erlang_c(2, 1.0) - 1.0 / 3.0).abs() < 1e-12);
}

/// Tasks that wait need a permit, tasks that compute a thread. Either way it's the same queue.
#[test]
fn the_mean_wait_of_random_arrivals_is_that_of_erlang() {
    for (servers, rate, cpu) in [(1, 0.7, 0.0), (4, 3.2, 0.0), (20, 18.0, 0.0), (4, 3.0, 1.0)] {
        let mut plan = Plan {
            duration: Duration::from_secs(1_000_000),
            arrivals: vec![Arrivals::Poisson { rate }],
            service: Service::Exponential { mean: Duration::from_secs(1), cpu },
            ..plan()
        };
        plan.worker.sizing.most = some(servers as usize);
        plan.worker.threads = some(servers as usize);
        let report = run(&plan);
        let (is, expected) = (report.wait.expect("messages").mean, erlang_c(servers, rate));
        assert!((is / expected - 1.0).abs() < 0.05, "{servers} servers, {rate}/s: {is} is not {expected}");
        // Little's law.
        let in_backlog = report.backlog.mean / rate;
        assert!((in_backlog / is - 1.0).abs() < 0.01, "{in_backlog} {is}");
        assert!((report.concurrency.mean / rate - 1.0).abs() < 0.01, "{}", report.concurrency.mean);
    }
}

/// Kingman's formula: with tasks that all take the same time, messages wait half as long. It is exact for one server.
#[test]
fn the_mean_wait_for_tasks_of_one_length_is_that_of_kingman() {
    let mut plan = Plan {
        duration: Duration::from_secs(1_000_000),
        arrivals: vec![Arrivals::Poisson { rate: 0.7 }],
        service: Service::Fixed { mean: Duration::from_secs(1), cpu: 0.0 },
        ..plan()
    };
    plan.worker.sizing.most = some(1);
    let (is, expected) = (run(&plan).wait.expect("messages").mean, erlang_c(1, 0.7) / 2.0);
    assert!((is / expected - 1.0).abs() < 0.05, "{is} is not {expected}");
}

/// One thread that several tasks share: the time in the system is that of a queue with one server, whatever the
/// distribution of their work.
#[test]
fn tasks_that_compute_share_a_thread() {
    for service in [
        Service::Exponential { mean: Duration::from_secs(1), cpu: 1.0 },
        Service::Fixed { mean: Duration::from_secs(1), cpu: 1.0 },
    ] {
        let mut plan = Plan {
            duration: Duration::from_secs(1_000_000),
            arrivals: vec![Arrivals::Poisson { rate: 0.7 }],
            service,
            ..plan()
        };
        plan.worker.sizing.most = some(1000);
        let latency = run(&plan).latency.expect("messages").mean;
        assert!((latency * 0.3 - 1.0).abs() < 0.05, "{latency}");
    }
}
