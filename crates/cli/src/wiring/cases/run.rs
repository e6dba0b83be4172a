//! Runs the task of a case, and collects what is seen of it.

use super::files::Case;
use super::log::{LogLine, TaskLog};
use super::queue::SentQueue;
use crate::output::failure::Failure;
use crate::settings::config_values::check_config_values;
use crate::settings::environment::check_variable;
use crate::settings::grants;
use crate::settings::project::{CaseStore, ProjectFile, case_store};
use crate::wiring::component::{guest_threads, host, run_task};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::instrument::WithSubscriber;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::model::event::notification;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::{Attribute, AttributeValue, Message, OutgoingMessage};
use wasmrun_runtime::ports::memory::{MemoryBucket, MemoryStore};
use wasmrun_runtime::ports::object_store::{MAX_PAGE, ObjectStore};
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::command::CommandOptions;
use wasmrun_runtime::task::component::{Component, LoadOptions, Report};
use wasmrun_runtime::task::directory::Directory;
use wasmrun_runtime::task::grant::{BucketGrant, Grants, Mode, StoreGrant};

/// Id of a case's message. It seeds the random numbers of a deterministic task.
const MESSAGE_ID: &str = "case";
/// Time at which a case's message is sent, and its objects are written: 2026-01-01, in seconds since 1970.
const SENT_AT: Duration = Duration::from_secs(1_767_225_600);
/// Maximum number of bytes that the task of a case writes: what it writes stays in memory.
const MAX_WRITTEN_BYTES: u64 = 256 << 20;

/// Runs cases of one component.
pub(crate) struct Runner {
    pub(crate) project: ProjectFile,
    /// Content of the component's file.
    pub(crate) bytes: Vec<u8>,
    /// The component's file in errors.
    pub(crate) shown: String,
    pub(crate) compiler: Compiler,
    pub(crate) allocator: Allocator,
}

/// What is seen of a case's task.
pub(crate) struct Observed {
    pub(crate) report: Report,
    pub(crate) log: Vec<LogLine>,
    /// The messages that were sent, by the alias of each granted queue.
    pub(crate) sent: BTreeMap<String, Vec<OutgoingMessage>>,
    /// The objects after the task, by the alias of each store that it may write to.
    pub(crate) objects: BTreeMap<String, BTreeMap<String, SeenObject>>,
}

/// An object after the task.
pub(crate) struct SeenObject {
    pub(crate) content: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The grants of a case, with access to what the task leaves behind.
struct CaseGrants {
    stores: BTreeMap<String, (MemoryStore, Mode)>,
    queues: BTreeMap<String, Arc<SentQueue>>,
    buckets: BTreeMap<String, BucketGrant>,
    env: Vec<(String, String)>,
    config_values: BTreeMap<String, String>,
    directories: Vec<Arc<Directory>>,
}

impl Runner {
    /// Loads the component without grants, so that what is wrong with it is said once, and the code is in the cache.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let limits = self.project.limits.clone().resolve(Default::default(), false)?;
        let deterministic = self.project.deterministic.unwrap_or(true);
        // The stores of objects aren't granted here.
        let command = CommandOptions { input: None, output: None, ..self.project.command.options()? };
        self.load(Grants::default(), limits, command, false, deterministic).await.map(drop)
    }

    async fn load(
        &self,
        grants: Grants,
        limits: Limits,
        command: CommandOptions,
        raw_body: bool,
        deterministic: bool,
    ) -> Result<Component, Failure> {
        let options = LoadOptions {
            command,
            grants,
            limits,
            host: host(None),
            allocator: self.allocator,
            raw_body,
            deterministic,
            ..LoadOptions::new(&self.shown, guest_threads(NonZeroUsize::MIN)?)
        };
        Component::load(&self.bytes, &self.compiler, options)
            .await
            .map_err(|error| Failure::component(&self.shown, &error))
    }

    /// Runs the task of a case.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the case.
    pub(crate) async fn run(&self, case: &Case) -> Result<Observed, String> {
        self.try_run(case).await.map_err(|failure| failure.to_string())
    }

    async fn try_run(&self, case: &Case) -> Result<Observed, Failure> {
        let file = &case.file;
        let granted = CaseGrants::of(&self.project, case)?;
        let message = granted.message(case).await?;
        let mut limits = file.limits.clone().resolve(self.project.limits.clone(), false)?;
        limits.write_bytes = limits.write_bytes.min(MAX_WRITTEN_BYTES);
        let raw_body = file.raw_body.or(self.project.raw_body).unwrap_or(false);
        let deterministic = file.deterministic.or(self.project.deterministic).unwrap_or(true);
        let component = self
            .load(granted.grants(), limits, self.project.command.options()?, raw_body, deterministic)
            .await?;
        let log = TaskLog::default();
        let report =
            run_task(Arc::new(component).into(), message, None, |task| task.with_subscriber(log.collector()))
                .await?;
        Ok(Observed { report, log: log.lines(), sent: granted.sent(), objects: granted.written().await? })
    }
}

impl CaseGrants {
    fn of(project: &ProjectFile, case: &Case) -> Result<Self, Failure> {
        let file = &case.file;
        let mut env = project.env.clone();
        env.extend(file.env.clone());
        for (key, value) in &env {
            check_variable(key, Some(value))?;
        }
        let mut config_values = project.config_value.clone();
        config_values.extend(file.config_value.clone());
        check_config_values(&config_values)?;
        let aliases_of_objects =
            file.expect.objects.iter().flatten().filter_map(|(name, _)| name.split_once('/'));
        let expected: BTreeSet<&str> = case
            .expected
            .iter()
            .flat_map(|objects| objects.keys().map(String::as_str))
            .chain(aliases_of_objects.map(|(alias, _)| alias))
            .collect();
        let named = [&project.store, &file.store].into_iter().flat_map(|stores| stores.keys());
        let aliases: BTreeSet<&str> =
            named.chain(case.given.keys()).map(String::as_str).chain(expected.iter().copied()).collect();
        let mut stores = BTreeMap::new();
        for alias in aliases {
            let default = if expected.contains(alias) { "rw" } else { "ro" };
            let setting = file.store.get(alias).or_else(|| project.store.get(alias));
            let CaseStore { url, mode } =
                case_store(alias, setting.map_or(default, String::as_str)).map_err(Failure::usage)?;
            let store = MemoryStore::at(&url).with_time(UNIX_EPOCH + SENT_AT);
            for (key, content) in case.given.get(alias).into_iter().flatten() {
                store.insert(key, content.clone());
            }
            stores.insert(alias.to_owned(), (store, mode));
        }
        let queues = project.send.iter().chain(&file.send);
        let queues = queues
            .chain(file.expect.sent.iter().flat_map(BTreeMap::keys))
            .map(|alias| (alias.clone(), Arc::new(SentQueue::new(format!("memory:{alias}")))));
        // Each case begins with empty buckets.
        let bucket = |alias: &String| {
            let bucket = Arc::new(MemoryBucket::default());
            (alias.clone(), BucketGrant { alias: alias.clone(), bucket, mode: Mode::ReadWrite })
        };
        let buckets = project.keyvalue.iter().chain(&file.keyvalue).map(bucket).collect();
        Ok(Self {
            buckets,
            stores,
            queues: queues.collect(),
            env: env.into_iter().collect(),
            config_values,
            directories: grants::directories(&project.dir)?,
        })
    }

    fn grants(&self) -> Grants {
        let store = |(alias, (store, mode)): (&String, &(MemoryStore, Mode))| {
            let store = Arc::new(store.clone());
            (alias.clone(), StoreGrant { alias: alias.clone(), store, mode: *mode, scope: Scope::All })
        };
        let queue =
            |(alias, queue): (&String, &Arc<SentQueue>)| (alias.clone(), queue.clone() as Arc<dyn Queue>);
        Grants {
            stores: self.stores.iter().map(store).collect(),
            queues: self.queues.iter().map(queue).collect(),
            buckets: self.buckets.clone(),
            // A case doesn't depend on a server.
            http: None,
            env: self.env.clone(),
            config_values: self.config_values.clone(),
            directories: self.directories.clone(),
        }
    }

    /// Returns the message of a case: its body, or the event that announces a given object.
    async fn message(&self, case: &Case) -> Result<Arc<Message>, Failure> {
        let file = &case.file;
        let sent_at = file.sent_at.map_or(UNIX_EPOCH + SENT_AT, |time| time.0);
        let bodies = [&file.message, &case.body, &file.announce].into_iter().flatten().count();
        if bodies > 1 {
            return Err(Failure::usage("message, message-file and announce exclude each other: keep one"));
        }
        let body = match (&file.message, &case.body) {
            (Some(body), _) | (None, Some(body)) => body.clone(),
            (None, None) => self.announcement(case, sent_at).await?,
        };
        let attributes: Vec<Attribute> = file
            .attributes
            .iter()
            .map(|(name, value)| Attribute { name: name.clone(), value: AttributeValue::Text(value.clone()) })
            .collect();
        let outgoing =
            OutgoingMessage { body, attributes, group: file.group.clone(), ..OutgoingMessage::default() };
        outgoing
            .validate()
            .map_err(|reason| Failure::usage(format!("the message cannot be sent: {reason}")))?;
        let id = file.id.as_deref().unwrap_or(MESSAGE_ID);
        Ok(Arc::new(Message {
            attributes: outgoing.attributes,
            receive_count: file.receive_count.unwrap_or(1),
            sent_at,
            group: outgoing.group,
            ..Message::new(id, outgoing.body)
        }))
    }

    /// Returns the event that announces the object that the case names, or else the only given object.
    async fn announcement(&self, case: &Case, sent_at: SystemTime) -> Result<String, Failure> {
        let given: Vec<(&str, &str)> = case
            .given
            .iter()
            .flat_map(|(alias, objects)| objects.keys().map(|key| (alias.as_str(), key.as_str())))
            .collect();
        let (alias, key) = match (&case.file.announce, &given[..]) {
            (Some(name), _) => name
                .split_once('/')
                .filter(|place| given.contains(place))
                .ok_or_else(|| Failure::usage(format!("the announced object {name} is not in given/")))?,
            (None, [only]) => *only,
            (None, []) => return Err(Failure::usage("it has no message: set message in case.toml")),
            (None, _) => {
                return Err(Failure::usage(
                    "several objects are given: set announce = \"ALIAS/KEY\" or message in case.toml",
                ));
            }
        };
        let Some((store, _)) = self.stores.get(alias) else {
            return Err(Failure::usage(format!("there is no store {alias}")));
        };
        let info = store.head(key, None).await.map_err(|error| Failure::store(store.url(), &error))?;
        Ok(notification(store.url(), key, info.size, info.etag.as_deref(), sent_at))
    }

    fn sent(&self) -> BTreeMap<String, Vec<OutgoingMessage>> {
        self.queues.iter().map(|(alias, queue)| (alias.clone(), queue.sent())).collect()
    }

    /// Returns the objects of the stores that the task may write to.
    async fn written(&self) -> Result<BTreeMap<String, BTreeMap<String, SeenObject>>, Failure> {
        let mut written = BTreeMap::new();
        for (alias, (store, _)) in self.stores.iter().filter(|(_, (_, mode))| mode.writes()) {
            let failed = |error| Failure::store(store.url(), &error);
            let (mut objects, mut after) = (BTreeMap::new(), None);
            loop {
                let page = store.list("", after.as_deref(), MAX_PAGE).await.map_err(failed)?;
                for object in page.objects {
                    let info = store.head(&object.key, None).await.map_err(failed)?;
                    let content = store.content(&object.key).map(|content| content.to_vec());
                    let seen = SeenObject {
                        content: content.unwrap_or_default(),
                        content_type: info.content_type,
                        cache_control: info.cache_control,
                        metadata: info.metadata.into_iter().collect(),
                    };
                    objects.insert(object.key, seen);
                }
                after = page.continuation;
                if after.is_none() {
                    break;
                }
            }
            written.insert(alias.clone(), objects);
        }
        Ok(written)
    }
}
