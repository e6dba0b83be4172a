//! Tests of the scaler with tasks that are shorter than a tick.

use super::*;

/// Two threads that compute without a pause, for tasks that each take the same time.
struct Busy {
    scaler: Scaler,
    instances: usize,
}

impl Busy {
    fn new() -> Self {
        Self { scaler: Scaler::new(scaling(0, 64)), instances: 1 }
    }

    fn step(&mut self, ended: u64) {
        let computed = TICK * 2.min(self.instances as u32);
        let occupied = TICK * self.instances as u32;
        let snapshot = Snapshot {
            elapsed: TICK,
            of_full_receives: 1000,
            running: self.instances,
            occupied,
            computed,
            waited: occupied - computed,
            ended,
            service: computed,
            ..Snapshot::default()
        };
        self.instances = self.scaler.decide(&snapshot).instances.get();
    }

    /// Makes `steps` steps with tasks that each take `task`. Returns the number after each step.
    fn steps(&mut self, steps: usize, task: Duration) -> Vec<usize> {
        let step = |_| {
            let threads = self.instances.min(2) as f64;
            self.step((TICK.as_secs_f64() * threads / task.as_secs_f64()) as u64);
            self.instances
        };
        (0..steps).map(step).collect()
    }
}

#[test]
fn of_short_tasks_each_thread_has_several() {
    let settled = |task| Busy::new().steps(200, Duration::from_micros(task)).pop();
    assert_eq!([1, 25, 100, 200, 10_000].map(settled), [20, 16, 4, 3, 3].map(Some));
}

#[test]
fn short_tasks_of_changing_length_move_the_number_seldom() {
    let mut worker = Busy::new();
    worker.steps(200, Duration::from_micros(40));
    let numbers: Vec<usize> =
        [30, 50, 45, 35].into_iter().cycle().take(400).fold(Vec::new(), |mut all, task| {
            all.extend(worker.steps(1, Duration::from_micros(task)));
            all
        });
    let changes = numbers.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 2, "{changes}: {numbers:?}");
}

#[test]
fn quick_tasks_do_not_speak_for_slow_ones_beside_them() {
    let mut worker = Busy::new();
    worker.steps(200, Duration::from_micros(25));
    // One task in each step is refused at once. All others compute and don't end.
    let numbers: Vec<usize> = (0..200)
        .map(|_| {
            worker.step(1);
            worker.instances
        })
        .collect();
    assert_eq!(numbers[20..].iter().max(), Some(&3), "{numbers:?}");
}

#[test]
fn a_burst_of_short_tasks_begins_with_what_was_of_use_to_the_one_before() {
    let mut worker = Busy::new();
    worker.steps(200, Duration::from_micros(25));
    // The first snapshot, before a task has ended.
    let begins = Snapshot {
        elapsed: Duration::from_secs(1),
        of_full_receives: 10,
        running: 10,
        occupied: Duration::from_micros(100),
        computed: Duration::from_micros(50),
        waited: Duration::from_micros(50),
        ..Snapshot::default()
    };
    assert_eq!(worker.scaler.decide(&begins).instances.get(), 16);
}
