//! Builds the IAM policy that a worker needs: the actions that the calls of this crate are refused without, and no
//! others.
//!
//! Source of the action names: "Actions, resources, and condition keys" for SQS, S3, KMS, STS, ECR and ECS in the Service
//! Authorization Reference, and the pages of each call in the API references.

mod names;

pub use self::names::{domain, partition};
use self::names::{is_name, literal, sid};
use crate::ecr::EcrRegistry;
use crate::s3::{BucketKind, ObjectAddress, StoreAddress};
use crate::sqs::QueueAddress;
use serde::Serialize;
use serde_json::{Value, json};
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::grant::Mode;

/// Version of the policy language.
const LANGUAGE: &str = "2012-10-17";
/// Maximum length of a role's inline policies in characters, white space not counted ("IAM and AWS STS quotas").
const MOST_CHARACTERS: usize = 10_240;

/// Stands for any key in the ARN of an object.
const ANY_KEY: &str = "*";
/// Stands for the key of a role's session: the value of its tag (see `sessions`).
const SESSION_KEY: &str = "${aws:PrincipalTag/wasmrun-key}";

/// The statements of a policy, in the order in which they were added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Region of queues and keys whose address names none.
    region: Option<String>,
    statements: Vec<Statement>,
    /// What stands for the key in the ARN of a store by key.
    key: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy<'a> {
    version: &'static str,
    statement: &'a [Statement],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Value>,
}

impl Permissions {
    /// Creates a policy without statements. `region` is the region of queues and keys whose address names none.
    pub fn new(region: Option<String>) -> Self {
        Self { region, statements: Vec::new(), key: ANY_KEY }
    }

    /// Bounds stores by key to the key of the session in which a role is assumed.
    #[must_use]
    pub fn of_sessions(self) -> Self {
        Self { key: SESSION_KEY, ..self }
    }

    /// Allows receiving and settling the messages of a queue, and reading its depth.
    ///
    /// # Errors
    ///
    /// Fails if the address isn't one of a queue, or lacks the region or the account.
    pub fn work_on(&mut self, queue: &str) -> Result<(), String> {
        let settling = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        self.queue("Queue".into(), queue, &[&settling[..], &["sqs:ReceiveMessage"]].concat())
    }

    /// Allows looking up a dead-letter queue by its ARN, as redrive policies name it, and sending to it.
    ///
    /// # Errors
    ///
    /// Fails if the address isn't one of a queue, or lacks the region or the account.
    pub fn dead_letter_to(&mut self, queue: &str) -> Result<(), String> {
        let actions = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"];
        self.queue("DeadLetters".into(), queue, &actions)
    }

    /// Allows sending notifications to a queue, and reading its settings.
    ///
    /// # Errors
    ///
    /// Fails if the address isn't one of a queue, or lacks the region or the account.
    pub fn notify(&mut self, queue: &str) -> Result<(), String> {
        self.queue("Notify".into(), queue, &["sqs:GetQueueAttributes", "sqs:SendMessage"])
    }

    /// Allows sending to the queue with this alias.
    ///
    /// # Errors
    ///
    /// Fails if the address isn't one of a queue, or lacks the region or the account.
    pub fn send_to(&mut self, alias: &str, queue: &str) -> Result<(), String> {
        self.queue(sid("Send", alias), queue, &["sqs:SendMessage"])
    }

    /// Allows the operations on a store that `mode` grants, on the objects that `scope` can name. Reads include versions, as events name them. Listing is
    /// allowed because S3 reports a missing object as missing only to callers that may list.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or names an alias of an access point, whose ARN isn't known.
    pub fn use_store(&mut self, alias: &str, url: &str, scope: &Scope, mode: Mode) -> Result<(), String> {
        let store = StoreAddress::parse(url)?;
        if self.allow_sessions(sid("Use", alias), &store) {
            return self.use_key(sid("Key", alias), &store, mode);
        }
        let objects = self.objects(&store, scope)?;
        if mode.reads() {
            self.allow(sid("Read", alias), &["s3:GetObject", "s3:GetObjectVersion"], objects.clone(), None);
            self.list(sid("List", alias), &store);
        }
        if mode.writes() {
            let mut actions = vec!["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"];
            actions.extend(store.put.acl.is_some().then_some("s3:PutObjectAcl"));
            self.allow(sid("Write", alias), &actions, objects, None);
        }
        self.use_key(sid("Key", alias), &store, mode)
    }

    fn use_key(&mut self, sid: String, store: &StoreAddress, mode: Mode) -> Result<(), String> {
        let Some(key) = &store.put.kms_key else { return Ok(()) };
        let actions = ["kms:Decrypt", "kms:GenerateDataKey"];
        // A multipart upload needs `kms:Decrypt` as well.
        let actions = if mode.writes() { &actions[..] } else { &actions[..1] };
        let (key, condition) = self.key(key, store.region.as_deref())?;
        self.allow(sid, actions, key, condition);
        Ok(())
    }

    /// Allows fetching message bodies that were too large for a message.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or names an alias of an access point, whose ARN isn't known.
    pub fn read_bodies(&mut self, url: &str) -> Result<(), String> {
        self.own("Bodies", "ReadBodies", url, Mode::ReadOnly, &["s3:GetObject"])
    }

    /// Allows changing objects together with other workers. `name` is that of the statements.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or names an alias of an access point, whose ARN isn't known.
    pub fn share_objects(&mut self, name: &str, url: &str) -> Result<(), String> {
        let mut actions = vec!["s3:GetObject", "s3:PutObject"];
        actions.extend(StoreAddress::parse(url)?.put.acl.is_some().then_some("s3:PutObjectAcl"));
        self.own(name, name, url, Mode::ReadWrite, &actions)
    }

    /// Allows keeping a ledger and staged objects in objects.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or names an alias of an access point, whose ARN isn't known.
    pub fn keep_ledger(&mut self, url: &str) -> Result<(), String> {
        let mut actions = vec!["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"];
        actions.extend(StoreAddress::parse(url)?.put.acl.is_some().then_some("s3:PutObjectAcl"));
        self.own("Ledger", "Ledger", url, Mode::ReadWrite, &actions)
    }

    /// Allows these actions on the objects of a store that the worker itself uses.
    fn own(
        &mut self,
        name: &str,
        sid: &str,
        url: &str,
        mode: Mode,
        actions: &[&'static str],
    ) -> Result<(), String> {
        let store = StoreAddress::parse(url)?;
        if !self.allow_sessions(format!("Use{name}"), &store) {
            let objects = self.objects(&store, &Scope::All)?;
            self.allow(sid.into(), actions, objects, None);
            self.list(format!("List{name}"), &store);
        }
        self.use_key(format!("Key{name}"), &store, mode)
    }

    /// Allows fetching one object: the component.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or names an alias of an access point, whose ARN isn't known.
    pub fn fetch(&mut self, url: &str) -> Result<(), String> {
        let object = ObjectAddress::parse(url)?;
        let action = if object.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        if self.allow_sessions("Component".into(), &object.store) {
            return Ok(());
        }
        let resource = self.s3_arn(&object.store, &literal(&object.key))?;
        self.allow("Component".into(), &[action], resource, None);
        Ok(())
    }

    /// Allows pulling the component from a repository of ECR. The password opens all registries that the role may use, and
    /// has no resource.
    pub fn pull(&mut self, registry: &EcrRegistry, repository: &str) {
        let EcrRegistry { account, region, .. } = registry;
        let arn = format!("arn:{}:ecr:{region}:{account}:repository/{repository}", partition(region));
        self.allow("RegistryPassword".into(), &["ecr:GetAuthorizationToken"], "*".into(), None);
        let actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
        self.allow("Component".into(), &actions, arn, None);
    }

    /// Allows assuming a role for the grant with this alias; `by_key`: in sessions that have a key as their tag.
    pub fn assume(&mut self, alias: &str, role: &str, by_key: bool) {
        let actions = ["sts:AssumeRole", "sts:TagSession"];
        let actions = if by_key { &actions[..] } else { &actions[..1] };
        self.allow(sid("Assume", alias), actions, literal(role), None);
    }

    /// Allows protecting the tasks of an ECS cluster from scale-in. The cluster is taken to be in the region and
    /// account of the queue.
    ///
    /// # Errors
    ///
    /// Fails if the cluster's name is invalid, or if the queue's address lacks the region or the account.
    pub fn protect(&mut self, cluster: &str, queue: &str) -> Result<(), String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if cluster.is_empty() || !cluster.bytes().all(is_name) {
            return Err(format!(
                "{cluster:?} is not the name of a cluster: it is what stands behind cluster/ in the ARN"
            ));
        }
        let queue = QueueAddress::of(queue)?;
        let (partition, region, account) = self.place(&queue)?;
        let tasks = format!("arn:{partition}:ecs:{region}:{account}:task/{cluster}/*");
        self.allow("ScaleInProtection".into(), &["ecs:UpdateTaskProtection"], tasks, None);
        Ok(())
    }

    /// Returns whether the policy has no statements.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Returns whether the policy is longer than a role allows.
    pub fn is_too_long(&self) -> bool {
        self.to_json().chars().filter(|c| !c.is_whitespace()).count() > MOST_CHARACTERS
    }

    /// Returns the policy as JSON, in the format of IAM.
    pub fn to_json(&self) -> String {
        let mut statements = self.statements.clone();
        // Aliases that differ only in characters that a `Sid` can't hold get the same `Sid`.
        for index in 1..statements.len() {
            let (before, from) = statements.split_at_mut(index);
            if before.iter().any(|other| other.sid == from[0].sid) {
                from[0].sid.push_str(&(index + 1).to_string());
            }
        }
        let policy = Policy { version: LANGUAGE, statement: &statements };
        serde_json::to_string_pretty(&policy).unwrap_or_default()
    }

    fn queue(&mut self, sid: String, text: &str, actions: &[&'static str]) -> Result<(), String> {
        let queue = QueueAddress::of(text)?;
        let (partition, region, account) = self.place(&queue)?;
        let arn = format!("arn:{partition}:sqs:{region}:{account}:{}", queue.name);
        let mut actions = actions.to_vec();
        if queue.url.is_none() && !actions.contains(&"sqs:GetQueueUrl") {
            actions.push("sqs:GetQueueUrl");
            actions.sort_unstable();
        }
        self.allow(sid, &actions, arn, None);
        Ok(())
    }

    /// Returns the partition, region and account of a queue.
    fn place<'a>(&'a self, queue: &'a QueueAddress) -> Result<(&'a str, &'a str, &'a str), String> {
        let QueueAddress { name, account, .. } = queue;
        let region = queue.region.as_ref().or(self.region.as_ref()).ok_or_else(|| {
            format!("the region of the queue {name} is not known: give its ARN, or set AWS_REGION")
        })?;
        let account = account.as_ref().ok_or_else(|| {
            format!("the account of the queue {name} is not known: give its URL or its ARN")
        })?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{account:?} is not an account: it has twelve digits"));
        }
        is_name(region)?;
        queue.partition.as_deref().map_or(Ok(()), is_name)?;
        Ok((queue.partition.as_deref().unwrap_or_else(|| partition(region)), region, account))
    }

    /// Allows listing the whole bucket. With a condition on the prefix, S3 would answer access denied for missing
    /// objects, as a read has no prefix to match. The grant bounds the keys that a task can list.
    fn list(&mut self, sid: String, store: &StoreAddress) {
        let bucket = match BucketKind::of(&store.bucket) {
            BucketKind::AccessPoint => store.bucket.clone(),
            _ => format!("arn:{}:s3:::{}", self.partition_of(store), store.bucket),
        };
        self.allow(sid, &["s3:ListBucket"], bucket, None);
    }

    /// Allows sessions if the store is a directory bucket, where every call belongs to a session. Returns whether the
    /// store is one. Names of directory buckets are unique in their zone, so the account can be a wildcard. The rights
    /// of a session can't be narrowed, as the SDK asks for a session that reads and writes.
    fn allow_sessions(&mut self, sid: String, store: &StoreAddress) -> bool {
        if BucketKind::of(&store.bucket) != BucketKind::Directory {
            return false;
        }
        let region = store.region.as_deref().or(self.region.as_deref()).unwrap_or("*");
        let bucket = format!("arn:{}:s3express:{region}:*:bucket/{}", self.partition_of(store), store.bucket);
        self.allow(sid, &["s3express:CreateSession"], bucket, None);
        true
    }

    /// Returns the ARN of all objects below the store's prefix, or of the parts of keys.
    fn objects(&self, store: &StoreAddress, scope: &Scope) -> Result<String, String> {
        let prefix = literal(&store.prefix);
        let objects = match scope {
            Scope::All | Scope::OfKey { .. } => format!("{prefix}*"),
            Scope::EachKey { below } => format!("{prefix}{}/{}*", self.key, literal(below)),
        };
        self.s3_arn(store, &objects)
    }

    fn s3_arn(&self, store: &StoreAddress, key: &str) -> Result<String, String> {
        let bucket = &store.bucket;
        match BucketKind::of(bucket) {
            BucketKind::AccessPoint => Ok(format!("{bucket}/object/{key}")),
            BucketKind::Alias("an access point") => Err(format!(
                "{bucket} is the alias of an access point, and policies name its ARN, which only S3 knows: write s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME in its place"
            )),
            BucketKind::Alias(what) => Err(format!(
                "{bucket} is the alias of {what}, for which wasmrun cannot write a policy: write it by hand, with the ARN that S3 shows"
            )),
            BucketKind::Bucket | BucketKind::Directory => {
                Ok(format!("arn:{}:s3:::{bucket}/{key}", self.partition_of(store)))
            }
        }
    }

    fn partition_of(&self, store: &StoreAddress) -> &'static str {
        partition(store.region.as_deref().or(self.region.as_deref()).unwrap_or_default())
    }

    /// Returns the resource of a KMS key, and a condition if the key is named by an alias.
    fn key(&self, key: &str, region: Option<&str>) -> Result<(String, Option<Value>), String> {
        if key.contains(['*', '?', '$']) {
            return Err(format!("{key:?} is not a key"));
        }
        let region = region.or(self.region.as_deref());
        region.map_or(Ok(()), is_name)?;
        let region = region.unwrap_or("*");
        let usual = || format!("arn:{}:kms:{region}:*", partition(region));
        // `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`, the same with `alias/NAME`, or only the part after the last colon.
        let (place, key) = match key.rsplit_once(':') {
            Some((place, _)) if !place.starts_with("arn:") || place.split(':').count() != 5 => {
                return Err(format!("{key:?} is neither the ARN of a key, nor its id, nor an alias"));
            }
            Some((place, key)) => (place.to_owned(), key),
            None => (usual(), key),
        };
        Ok(match key.strip_prefix("key/").unwrap_or(key) {
            alias if alias.starts_with("alias/") => (
                format!("{place}:key/*"),
                Some(json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}})),
            ),
            id => (format!("{place}:key/{id}"), None),
        })
    }

    fn allow(&mut self, sid: String, action: &[&'static str], resource: String, condition: Option<Value>) {
        self.statements.push(Statement {
            sid,
            effect: "Allow",
            action: action.to_vec(),
            resource,
            condition,
        });
    }
}

#[cfg(test)]
mod tests;
