//! The queue in memory.

use crate::model::message::{Message, OutgoingMessage};
use crate::ports::queue::{Delivery, Depth, Queue, QueueAttributes, QueueError, Receipt};
use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A standard queue in memory.
pub struct MemoryQueue {
    url: String,
    attributes: QueueAttributes,
    state: Mutex<QueueState>,
    arrived: Notify,
}

#[derive(Default)]
struct QueueState {
    visible: VecDeque<Message>,
    /// Received messages, by receipt, with the time when each becomes visible again.
    in_flight: HashMap<String, (Message, Instant)>,
    delayed: Vec<(Instant, Message)>,
    next: u64,
}

impl MemoryQueue {
    /// Creates an empty queue with this visibility timeout.
    pub fn new(name: &str, visibility_timeout: Duration) -> Self {
        let attributes = QueueAttributes { visibility_timeout, ..QueueAttributes::default() };
        Self { url: format!("memory:{name}"), attributes, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Returns the visible messages, oldest first.
    pub fn visible(&self) -> Vec<Message> {
        self.lock().visible.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

impl QueueState {
    fn name(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}-{}", self.next)
    }

    /// Makes due messages visible, and returns when the next one is due.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut later = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        if !self.delayed.is_empty() {
            for (at, message) in std::mem::take(&mut self.delayed) {
                if at <= now {
                    self.visible.push_back(message);
                } else {
                    later(at);
                    self.delayed.push((at, message));
                }
            }
        }
        // Checked only if nothing is visible: a scan of all messages in flight would dominate the cost of a receive.
        if self.visible.is_empty() {
            let due: Vec<String> = self
                .in_flight
                .iter()
                .filter(|(_, (_, at))| {
                    if *at > now {
                        later(*at);
                    }
                    *at <= now
                })
                .map(|(receipt, _)| receipt.clone())
                .collect();
            for receipt in due {
                if let Some((message, _)) = self.in_flight.remove(&receipt) {
                    self.visible.push_back(message);
                }
            }
        }
        next
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn url(&self) -> &str {
        &self.url
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        Ok(self.attributes.clone())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let mut state = self.lock();
        state.advance(Instant::now());
        Ok(Depth {
            visible: state.visible.len() as u64,
            in_flight: state.in_flight.len() as u64,
            delayed: state.delayed.len() as u64,
        })
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        let deadline = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            let next = {
                let now = Instant::now();
                let mut state = self.lock();
                let next = state.advance(now);
                let count = max.min(state.visible.len());
                if count > 0 {
                    let visible_at = now + self.attributes.visibility_timeout;
                    let mut deliveries = Vec::with_capacity(count);
                    for _ in 0..count {
                        let Some(mut message) = state.visible.pop_front() else {
                            break;
                        };
                        message.receive_count += 1;
                        let receipt = state.name("receipt");
                        state.in_flight.insert(receipt.clone(), (message.clone(), visible_at));
                        deliveries.push(Delivery { message, receipt: Receipt(receipt), visible_at });
                    }
                    return Ok(deliveries);
                }
                next
            };
            let until = next.map_or(deadline, |next| next.min(deadline));
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(until.into()) => {}
                () = stop.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let mut state = self.lock();
        receipts
            .iter()
            .map(|receipt| {
                state.in_flight.remove(&receipt.0);
                Ok(())
            })
            .collect()
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        let now = Instant::now();
        let mut state = self.lock();
        let answers = messages
            .iter()
            .map(|(receipt, visibility)| match state.in_flight.get_mut(&receipt.0) {
                Some((_, visible_at)) => {
                    *visible_at = now + *visibility;
                    Ok(())
                }
                None => Err(QueueError::ReceiptExpired),
            })
            .collect();
        drop(state);
        self.arrived.notify_waiters();
        answers
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        let now = Instant::now();
        let mut state = self.lock();
        let answers = messages
            .iter()
            .map(|outgoing| {
                outgoing.validate().map_err(QueueError::InvalidMessage)?;
                let message = Message {
                    id: state.name("message"),
                    body: outgoing.body.clone(),
                    attributes: outgoing.attributes.clone(),
                    receive_count: 0,
                    sent_at: SystemTime::now(),
                    group: outgoing.group.clone(),
                    trace_header: outgoing.trace_header.clone(),
                };
                let id = message.id.clone();
                match outgoing.delay {
                    Some(delay) => state.delayed.push((now + delay, message)),
                    None => state.visible.push_back(message),
                }
                Ok(id)
            })
            .collect();
        drop(state);
        self.arrived.notify_waiters();
        answers
    }
}
