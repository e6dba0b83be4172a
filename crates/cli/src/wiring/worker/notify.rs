//! Opens the recipient of notifications, and the store in which the messages of groups are counted.

use crate::output::failure::Failure;
use crate::settings::notify::NotifySetting;
use crate::settings::worker::WorkerSettings;
use crate::wiring::backends::{Backends, Open};
use crate::wiring::protected::FileUse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_http::{Client, PostRecipient};
use wasmrun_runtime::model::completion::GroupSource;
use wasmrun_runtime::ports::groups::GroupStore;
use wasmrun_runtime::ports::recipient::{QueueRecipient, Recipient};
use wasmrun_runtime::worker::{GroupOptions, NotifyOptions};

/// What tells somebody how messages end.
#[derive(Default)]
pub(super) struct Notified {
    recipient: Option<Open<dyn Recipient>>,
    groups: Option<(GroupSource, Open<dyn GroupStore>)>,
}

impl Notified {
    /// Opens what the settings name.
    pub(super) async fn open(backends: &Backends, worker: &WorkerSettings) -> Result<Self, Failure> {
        let recipient = match &worker.notify.notify {
            Some(setting) => Some(open_recipient(backends, setting).await?),
            None => None,
        };
        let groups = match (&worker.notify.complete_group, &worker.notify.group_store) {
            (Some(source), Some(url)) => Some((source.clone(), backends.open_groups(url).await?)),
            _ => None,
        };
        Ok(Self { recipient, groups })
    }

    /// Returns the files that no guest may write to.
    pub(super) fn files(&self) -> [(FileUse, Option<&PathBuf>); 2] {
        let of_recipient = self.recipient.as_ref().and_then(|open| open.file.as_ref());
        let of_groups = self.groups.as_ref().and_then(|(_, open)| open.file.as_ref());
        [
            (FileUse::Queue("the queue of notifications"), of_recipient),
            (FileUse::Alone("the group store"), of_groups),
        ]
    }

    /// Returns the options of the worker. `digests` are those of the components, by the names of their routes.
    pub(super) fn options(
        self,
        digests: BTreeMap<Option<String>, String>,
    ) -> (Option<NotifyOptions>, Option<GroupOptions>) {
        let notify = self.recipient.map(|open| NotifyOptions { recipient: open.backend, digests });
        (notify, self.groups.map(|(source, open)| GroupOptions { source, store: open.backend }))
    }
}

/// Opens the recipient of notifications. A queue must exist.
async fn open_recipient(
    backends: &Backends,
    setting: &NotifySetting,
) -> Result<Open<dyn Recipient>, Failure> {
    match setting {
        NotifySetting::Queue(url) => {
            let Open { backend: queue, file } = backends.open_queue(url).await?;
            let recipient = QueueRecipient::new(queue).await;
            let recipient = recipient.map_err(|error| Failure::queue(url, &error))?;
            Ok(Open { backend: Arc::new(recipient), file })
        }
        NotifySetting::Post(url) => {
            let client = Client::from_environment().map_err(|why| setting.unusable(&why))?;
            let recipient =
                PostRecipient::new(url, client).ok_or_else(|| setting.unusable("it is no such URL"))?;
            Ok(Open { backend: Arc::new(recipient), file: None })
        }
    }
}
