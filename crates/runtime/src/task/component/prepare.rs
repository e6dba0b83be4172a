//! What the task of a message sees: the objects that the message announces, and the grants of the message's key.

use super::{Component, Version};
use crate::model::event::{self, Decoded};
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::key::Key;
use crate::model::message::Message;
use crate::model::outcome::{Outcome, shorten};
use crate::task::by_key::UnusableKey;
use crate::task::grant::{Grants, Unannounced};
use crate::task::staged::StagedOutputs;
use crate::task::store::{Delivered, TaskConfig};
use std::sync::Arc;

/// Why a message's task isn't run, and the host error that caused it, if any.
pub(super) type NotRun = (Outcome, Option<Box<HostError>>);

impl Component {
    /// Finds out what a message's task sees: returns the version with the grants of the message's key, and the message
    /// with the objects that it announces.
    pub(super) fn prepare(
        &self,
        version: &Arc<Version>,
        message: Arc<Message>,
        key: Option<&Key>,
    ) -> Result<(Arc<Version>, Delivered), NotRun> {
        let of_key = version.of_key(key).map_err(|unusable| {
            let knows_objects = version.pre.world().knows_objects();
            // S3's test event has no object, and so it may have no key.
            let is_test = knows_objects && matches!(event::decode(&message.body), Decoded::Test);
            if is_test { (Outcome::Completed, None) } else { unusable }
        })?;
        let delivered = self.delivered(&of_key, message)?;
        Ok((of_key, delivered))
    }

    /// Decodes which objects the message announces.
    fn delivered(&self, version: &Version, message: Arc<Message>) -> Result<Delivered, NotRun> {
        if !version.pre.world().knows_objects() {
            return Ok(Delivered::plain(message));
        }
        let mut body_hidden = false;
        let objects = match event::decode(&message.body) {
            Decoded::Plain => Vec::new(),
            // The guest receives the text, so it can tell such a message from one that announces nothing.
            Decoded::Unclear(reason) if self.common.options.raw_body => {
                tracing::warn!(
                    message_id = message.id,
                    reason = shorten(&reason),
                    "delivered as text a message that looks like an event"
                );
                Vec::new()
            }
            Decoded::Unclear(reason) => {
                let text = format!(
                    "the message looks like an object event and cannot be decoded: {reason}; --raw-body delivers it as text"
                );
                return Err((Outcome::Rejected { reason: shorten(&text) }, None));
            }
            Decoded::Test => return Err((Outcome::Completed, None)),
            Decoded::Objects(events) => {
                let announced = version.config.grants.announce(events);
                let objects = announced.map_err(|error| self.unannounced(&message, error))?;
                body_hidden = !self.common.options.raw_body;
                objects
            }
        };
        Ok(Delivered { message, body_hidden, objects })
    }

    /// Rejects a message with an object that its task can't receive.
    fn unannounced(&self, message: &Message, Unannounced { url, bad_key }: Unannounced) -> NotRun {
        let object = shorten(&url);
        if let Some(bad_key) = bad_key {
            tracing::warn!(
                message_id = message.id,
                object,
                why = %bad_key,
                "rejected a message: the key of the announced object cannot be used"
            );
            let reason = format!("the announced object's key cannot be used: {bad_key}");
            return (Outcome::Rejected { reason }, None);
        }
        tracing::warn!(message_id = message.id, object, "no readable store holds the announced object");
        let reason = "no grant: the message announces an object outside every readable store";
        let outcome = Outcome::Rejected { reason: reason.into() };
        // Another key's object is the sender's mistake. No other message would meet the error.
        if self.grants().hold_for_some_key(&url) {
            return (outcome, None);
        }
        let error = HostError {
            used: Used { backend: "grants".into(), access: Access::Read },
            kind: HostErrorKind::NotGranted,
            text: format!(
                "no readable store holds the announced object {object:?}: grant one with --store ALIAS=URL:ro (granted: {})",
                self.grants()
            ),
        };
        (outcome, Some(Box::new(error)))
    }
}

impl Version {
    /// Returns the version of a task whose outputs are staged, if there are `outputs` to note them in.
    pub(super) fn staging(self: &Arc<Self>, outputs: Option<&Arc<StagedOutputs>>) -> Arc<Self> {
        match outputs {
            None => self.clone(),
            Some(outputs) => {
                let grants = outputs.grants(&self.config.grants);
                Arc::new(self.with_grants(grants))
            }
        }
    }

    fn with_grants(&self, grants: Grants) -> Self {
        let config = TaskConfig { grants: Arc::new(grants), ..TaskConfig::clone(&self.config) };
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// Returns the version as one message's task sees it. Without grants by key, that is this version. Keys that can't
    /// name a part of a store end their messages as rejected, and so does a missing key.
    pub(super) fn of_key(self: &Arc<Self>, key: Option<&Key>) -> Result<Arc<Self>, NotRun> {
        let grants = &self.config.grants;
        if !grants.are_by_key() {
            return Ok(self.clone());
        }
        let narrowed = match key {
            Some(key) => grants.of_key(key),
            None => grants.of_key(&Key::none()),
        };
        match narrowed {
            Ok(grants) => Ok(Arc::new(self.with_grants(grants))),
            Err((alias, unusable)) => Err((rejected(alias, unusable), None)),
        }
    }
}

fn rejected(alias: &str, unusable: UnusableKey) -> Outcome {
    Outcome::Rejected {
        reason: format!(
            "unusable key: the message's key names its part of the store {alias}, and {unusable}"
        ),
    }
}
