//! What must hold of an entry, whatever several workers do in any order.

use super::*;
use proptest::prelude::*;

/// A step of one of several workers on one entry.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A worker receives a message and claims its entry.
    Claim {
        worker: usize,
        message: u8,
    },
    Commit {
        worker: usize,
    },
    /// The worker completes its own run, whether or not it has committed anything.
    Complete {
        worker: usize,
    },
    GiveUp {
        worker: usize,
    },
    /// The worker completes the commit that it found.
    Finish {
        worker: usize,
    },
    Sweep {
        worker: usize,
    },
    Pass {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..3_usize;
    let step = prop_oneof![
        4 => (worker.clone(), 0..3_u8).prop_map(|(worker, message)| Step::Claim { worker, message }),
        3 => worker.clone().prop_map(|worker| Step::Commit { worker }),
        2 => worker.clone().prop_map(|worker| Step::Complete { worker }),
        1 => worker.clone().prop_map(|worker| Step::GiveUp { worker }),
        2 => worker.clone().prop_map(|worker| Step::Finish { worker }),
        1 => worker.prop_map(|worker| Step::Sweep { worker }),
        2 => (1..80_u64).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What must hold of one entry, whatever its workers do.
#[derive(Default)]
struct Expected {
    /// The run whose outputs are certain to be put in place.
    committed: Option<RunToken>,
    /// End of the window of a completed entry, in seconds.
    completed_until: Option<u64>,
    /// The message that holds the commit, if it isn't a sweep, and until when in seconds.
    committing: (Option<u8>, u64),
    /// Runs that may still commit, by worker, and their messages.
    runs: BTreeMap<usize, (RunToken, u8)>,
    found: BTreeMap<usize, Commit>,
    now: u64,
}

/// How long whoever finds a late commit has for it, in seconds.
fn late() -> u64 {
    (LASTS + outputs(1).placing_time()).as_secs()
}

impl Expected {
    fn is_completed(&self) -> bool {
        self.completed_until.is_some_and(|until| self.now < until)
    }

    async fn claim(&mut self, worker: usize, by: u8, ledger: &dyn Ledger) {
        let run = new_run(ledger, "x").await;
        match ledger.claim(entry("x"), message(by), run, LASTS).await.unwrap() {
            Claim::Ours => {
                assert!(!self.is_completed() && self.committed.is_none(), "it ran again");
                self.completed_until = None;
                self.runs.insert(worker, (run, by));
            }
            Claim::Completed => assert!(self.is_completed()),
            Claim::Taken { left } => assert!(left <= LASTS && !self.is_completed()),
            Claim::Committing(commit) => {
                assert_eq!(Some(commit.run), self.committed, "the list of another run");
                let (holder, until) = self.committing;
                assert!(holder == Some(by) || self.now >= until, "another worker may be placing");
                self.committing = (Some(by), self.now + late());
                self.found.insert(worker, commit);
            }
        }
    }

    async fn take(&mut self, step: Step, world: &World, ledger: &dyn Ledger) {
        let (id, window) = (entry("x"), WINDOW.as_secs() / 30);
        let short = Duration::from_secs(window);
        match step {
            Step::Claim { worker, message: by } => self.claim(worker, by, ledger).await,
            Step::Commit { worker } => {
                let Some(&(run, by)) = self.runs.get(&worker) else { return };
                if ledger.commit(id, run, &outputs(1), LASTS).await.unwrap() {
                    assert!(!self.is_completed() && self.committed.is_none_or(|before| before == run));
                    // A message that found the commit late keeps it.
                    let holder = self.committed.map_or(Some(by), |_| self.committing.0);
                    self.committed = Some(run);
                    self.committing = (holder, self.now + LASTS.as_secs());
                }
            }
            Step::Complete { worker } => {
                let Some((run, _)) = self.runs.remove(&worker) else { return };
                if ledger.complete(id, run, short).await.unwrap() {
                    assert!(!self.is_completed() && self.committed.is_none_or(|before| before == run));
                    (self.committed, self.completed_until) = (None, Some(self.now + window));
                }
            }
            Step::GiveUp { worker } => {
                if let Some((run, _)) = self.runs.remove(&worker) {
                    ledger.give_up(id, run).await.unwrap();
                }
            }
            Step::Finish { worker } => {
                let Some(commit) = self.found.remove(&worker) else { return };
                if ledger.complete(commit.entry, commit.run, short).await.unwrap() {
                    assert_eq!(self.committed, Some(commit.run));
                    (self.committed, self.completed_until) = (None, Some(self.now + window));
                }
            }
            Step::Sweep { worker } => {
                for commit in ledger.sweep(10, LASTS).await.unwrap().unfinished {
                    assert_eq!(Some(commit.run), self.committed);
                    assert!(self.now >= self.committing.1, "another worker may be placing");
                    self.committing = (None, self.now + late());
                    self.found.insert(worker, commit);
                }
            }
            Step::Pass { seconds } => {
                world.pass(Duration::from_secs(seconds));
                self.now += seconds;
            }
        }
        if let Some(run) = self.committed {
            assert_eq!(ledger.live(vec![run]).await, Ok(vec![run]), "its outputs would be swept");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn of_all_runs_of_an_entry_one_commits_in_a_window_whatever_its_workers_do(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for world in World::each() {
                let ledger = world.ledger();
                let mut expected = Expected::default();
                for &step in &steps {
                    expected.take(step, &world, &*ledger).await;
                }
            }
        });
    }
}
