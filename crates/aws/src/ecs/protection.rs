//! Manages scale-in protection: ECS doesn't stop a protected task when the service scales in.
//!
//! Protection is set before the first message's task starts, renewed while any task runs, and ended a few seconds after
//! the last one, as a protected task holds up deployments.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use super::agent::{ask, text};
use async_trait::async_trait;
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use wasmrun_runtime::worker::TasksStart;

/// Variable with the URL of the agent.
const ENDPOINT: &str = "ECS_AGENT_URI";
/// How long protection lasts unless it is renewed, in minutes. A worker that is killed holds up deployments for no
/// longer.
const EXPIRES_IN: u64 = 10;
/// [`EXPIRES_IN`] as a duration.
const EXPIRES: Duration = Duration::from_secs(EXPIRES_IN * 60);
/// Protection is renewed when no more than this time is left.
const RENEW_AT: Duration = Duration::from_secs(6 * 60);
/// Idle time after which protection is ended. Messages often come one after the other.
const IDLE: Duration = Duration::from_secs(5);
/// Longest time that the start of tasks waits for the agent.
const TASKS_WAIT: Duration = Duration::from_secs(1);
/// Timeout of a request to the agent, which forwards the request to ECS.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time without requests after a failed one.
const PAUSE: Duration = Duration::from_secs(30);
/// Interval of the checks whether protection must change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Protects this ECS task from scale-in while messages are processed. Clones share their state.
#[derive(Clone, Debug)]
pub struct Protection(Arc<Agent>);

#[derive(Debug)]
struct Agent {
    url: String,
    /// Whether tasks may start without asking the agent: the ECS task is protected, or can't be protected now.
    settled: AtomicBool,
    /// Locked while a request to the agent is under way.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// End of the current protection; `None` if there is none.
    until: Option<Instant>,
    /// End of a protection that may exist, because a request for it failed.
    perhaps: Option<Instant>,
    /// End of the pause after a failed request.
    pause: Option<Instant>,
    idle_since: Option<Instant>,
    /// Whether the last request failed, and so was logged already.
    failed: bool,
}

impl State {
    /// Returns the request that the agent should get now: `true` to set or renew protection, `false` to end it.
    fn wanted(&mut self, busy: bool, now: Instant) -> Option<bool> {
        self.idle_since = if busy { None } else { self.idle_since.or(Some(now)) };
        if self.pause.is_some_and(|pause| now < pause) {
            return None;
        }
        match self.until {
            _ if busy => self.until.is_none_or(|until| until < now + RENEW_AT).then_some(true),
            None if self.perhaps.is_none_or(|perhaps| perhaps < now) => None,
            _ => self.idle_since.is_some_and(|since| now - since >= IDLE).then_some(false),
        }
    }

    /// Updates the state with the result of a request.
    fn learn(&mut self, wanted: bool, answer: Result<(), String>, now: Instant) {
        match answer {
            Ok(()) => {
                self.until = wanted.then(|| now + EXPIRES);
                self.perhaps = None;
                self.pause = None;
                self.failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(error, protected = wanted, "cannot change the ECS scale-in protection");
                }
                self.until = self.until.filter(|until| *until > now);
                if wanted {
                    self.perhaps = Some(now + EXPIRES);
                }
                self.pause = Some(now + PAUSE);
            }
        }
    }
}

impl Protection {
    /// Returns the protection, or `None` if the environment names no agent.
    pub fn from_environment() -> Option<Self> {
        let agent = std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty())?;
        let url = format!("{}/task-protection/v1/state", agent.trim_end_matches('/'));
        Some(Self(Arc::new(Agent { url, settled: AtomicBool::new(false), state: Mutex::default() })))
    }

    /// Renews protection while tasks run, and ends it when none runs. Runs until the future is dropped.
    pub async fn keep(&self, busy: impl Fn() -> bool) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.0.update(&busy).await;
        }
    }

    /// Ends protection, if there is or may be any. Called when the worker has ended.
    pub async fn end(&self) {
        let mut state = self.0.state.lock().await;
        if state.until.or(state.perhaps).is_some() {
            let answer = self.0.ask(false).await;
            state.learn(false, answer, Instant::now());
        }
    }
}

impl Agent {
    async fn update(&self, busy: impl Fn() -> bool) {
        let mut state = self.state.lock().await;
        // A task that starts from now on waits for the lock. A task that has started makes `busy` return `true`.
        self.settled.store(false, Ordering::SeqCst);
        if let Some(wanted) = state.wanted(busy(), Instant::now()) {
            let answer = self.ask(wanted).await;
            state.learn(wanted, answer, Instant::now());
        }
        let now = Instant::now();
        let can_wait = state.pause.is_some_and(|pause| now < pause);
        self.settled.store(state.until.is_some() || can_wait, Ordering::SeqCst);
    }

    async fn ask(&self, protected: bool) -> Result<(), String> {
        let wanted = match protected {
            true => json!({ "ProtectionEnabled": true, "ExpiresInMinutes": EXPIRES_IN }),
            false => json!({ "ProtectionEnabled": false }),
        };
        let answer = ask(Method::PUT, &self.url, Some(&wanted), PATIENCE).await?;
        if answer["protection"]["ProtectionEnabled"] == Value::Bool(protected) {
            tracing::debug!(protected, "changed the ECS scale-in protection");
            Ok(())
        } else {
            Err(format!("it answers {}", text(&answer)))
        }
    }
}

#[async_trait]
impl TasksStart for Protection {
    async fn before_tasks(&self) {
        if self.0.settled.load(Ordering::SeqCst) {
            return;
        }
        // The request continues after the timeout, so that its result is recorded.
        let agent = self.0.clone();
        let asked = tokio::spawn(async move { agent.update(|| true).await });
        if tokio::time::timeout(TASKS_WAIT, asked).await.is_err() {
            // Later tasks don't wait for the same request.
            self.0.settled.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn protection_is_set_renewed_in_time_and_given_up_soon_after_the_last_task() {
        let (mut state, began) = (State::default(), Instant::now());
        assert_eq!(state.wanted(false, began), None, "there is nothing to give up");
        assert_eq!(state.wanted(true, began), Some(true));
        state.learn(true, Ok(()), began);
        assert_eq!(state.wanted(true, after(began, 200)), None);
        assert_eq!(state.wanted(true, after(began, 241)), Some(true), "it would expire");
        state.learn(true, Ok(()), after(began, 241));
        assert_eq!(state.wanted(false, after(began, 250)), None);
        assert_eq!(state.wanted(true, after(began, 254)), None, "one more came");
        assert_eq!(state.wanted(false, after(began, 255)), None);
        assert_eq!(state.wanted(false, after(began, 260)), Some(false));
        state.learn(false, Ok(()), after(began, 260));
        assert_eq!(state.wanted(false, after(began, 270)), None);
    }

    #[test]
    fn an_agent_that_fails_is_asked_again_after_a_pause_and_not_sooner() {
        let (mut state, began) = (State::default(), Instant::now());
        state.learn(true, Err("no".into()), began);
        assert_eq!(state.wanted(true, after(began, 29)), None);
        assert_eq!(state.wanted(true, after(began, 31)), Some(true));
        state.learn(true, Err("no answer".into()), after(began, 31));
        assert_eq!(state.wanted(false, after(began, 62)), None, "idle since now");
        assert_eq!(state.wanted(false, after(began, 68)), Some(false), "it may have been heard");
        state.learn(true, Ok(()), after(began, 70));
        // Protection stays until it expires.
        state.learn(false, Err("no".into()), after(began, 80));
        assert!(state.until.is_some());
        assert_eq!(state.wanted(false, after(began, 111)), Some(false));
        state.learn(false, Err("no".into()), after(began, 1000));
        assert!(state.until.is_none(), "it has expired");
    }
}
