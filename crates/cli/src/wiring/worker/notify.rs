//! Opens the recipient of notifications, and the store in which the messages of groups are counted.

use crate::output::failure::Failure;
use crate::settings::notify::NotifySetting;
use crate::settings::worker::WorkerSettings;
use crate::wiring::backends::Backends;
use crate::wiring::protected::FileUse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_http::{Client, PostRecipient};
use wasmrun_runtime::ports::recipient::{QueueRecipient, Recipient};
use wasmrun_runtime::worker::{GroupOptions, NotifyOptions};

/// What tells somebody how messages end.
#[derive(Default)]
pub(super) struct Notified {
    pub(super) recipient: Option<OpenRecipient>,
    pub(super) groups: Option<OpenGroups>,
}

/// A recipient that is open.
pub(super) struct OpenRecipient {
    pub(super) recipient: Arc<dyn Recipient>,
    /// Path of its file. `None` for a queue of SQS and a server.
    pub(super) file: Option<PathBuf>,
}

/// A store of groups that is open.
pub(super) struct OpenGroups {
    options: GroupOptions,
    /// Path of its file. `None` for one in S3.
    file: Option<PathBuf>,
}

impl Notified {
    /// Opens what the settings name.
    pub(super) async fn open(backends: &Backends, worker: &WorkerSettings) -> Result<Self, Failure> {
        let recipient = match &worker.notify.notify {
            Some(setting) => Some(open_recipient(backends, setting).await?),
            None => None,
        };
        let groups = match (&worker.notify.complete_group, &worker.notify.group_store) {
            (Some(source), Some(url)) => {
                let (store, file) = backends.open_groups(url).await?;
                Some(OpenGroups { options: GroupOptions { source: source.clone(), store }, file })
            }
            _ => None,
        };
        Ok(Self { recipient, groups })
    }

    /// Returns the files that no guest may write to.
    pub(super) fn files(&self) -> [(FileUse, Option<&PathBuf>); 2] {
        let of_recipient = self.recipient.as_ref().and_then(|open| open.file.as_ref());
        let of_groups = self.groups.as_ref().and_then(|open| open.file.as_ref());
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
        let notify = self.recipient.map(|open| NotifyOptions { recipient: open.recipient, digests });
        (notify, self.groups.map(|open| open.options))
    }
}

/// Opens the recipient of notifications. A queue must exist.
async fn open_recipient(backends: &Backends, setting: &NotifySetting) -> Result<OpenRecipient, Failure> {
    match setting {
        NotifySetting::Queue(url) => {
            let opened = backends.open_queue(url).await?;
            let file = opened.file.clone();
            let recipient = QueueRecipient::new(opened.into_queue()).await;
            let recipient = recipient.map_err(|error| Failure::queue(url, &error))?;
            Ok(OpenRecipient { recipient: Arc::new(recipient), file })
        }
        NotifySetting::Post(url) => {
            let client = Client::from_environment().map_err(|why| setting.unusable(&why))?;
            let recipient =
                PostRecipient::new(url, client).ok_or_else(|| setting.unusable("it is no such URL"))?;
            Ok(OpenRecipient { recipient: Arc::new(recipient), file: None })
        }
    }
}
