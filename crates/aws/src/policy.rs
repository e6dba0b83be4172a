//! The rights that a worker needs, as a policy of IAM: what the calls of this crate are refused without, and no more.
//!
//! Source of the names: "Actions, resources, and condition keys" for SQS, S3, KMS, STS and ECS in the Service
//! Authorization Reference, and the pages of each call in the API references.

use crate::s3::{BucketKind, ObjectAddress, StoreAddress};
use crate::sqs::QueueAddress;
use serde::Serialize;
use serde_json::{Value, json};
use wasmrun_runtime::task::grant::Mode;

/// The version of the policy language.
const LANGUAGE: &str = "2012-10-17";
/// A policy on a role may have so many characters, white space not counted ("IAM and AWS STS quotas").
const MOST_CHARACTERS: usize = 10_240;

/// What somebody may do, in the order in which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Where no address names a region.
    region: Option<String>,
    statements: Vec<Statement>,
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
    /// Nothing yet. `region` is that of queues and keys whose address names none.
    pub fn new(region: Option<String>) -> Self {
        Self { region, statements: Vec::new() }
    }

    /// To receive the messages of a queue, to settle them, and to see how many there are.
    ///
    /// # Errors
    ///
    /// What its address doesn't say.
    pub fn work_on(&mut self, queue: &str) -> Result<(), String> {
        let settling = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
        self.queue("Queue".into(), queue, &[&settling[..], &["sqs:ReceiveMessage"]].concat())
    }

    /// To find a dead-letter queue by its ARN, as redrive policies name it, and to send to it.
    ///
    /// # Errors
    ///
    /// What its address doesn't say.
    pub fn dead_letter_to(&mut self, queue: &str) -> Result<(), String> {
        let actions = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"];
        self.queue("DeadLetters".into(), queue, &actions)
    }

    /// To send to the queue that tasks know by this name.
    ///
    /// # Errors
    ///
    /// What its address doesn't say.
    pub fn send_to(&mut self, alias: &str, queue: &str) -> Result<(), String> {
        self.queue(sid("Send", alias), queue, &["sqs:SendMessage"])
    }

    /// To do with a store what a mode says. Versions are read where events name them; a missing object is told as such
    /// to whoever may list.
    ///
    /// # Errors
    ///
    /// What is wrong with its URL.
    pub fn use_store(&mut self, alias: &str, url: &str, mode: Mode) -> Result<(), String> {
        let store = StoreAddress::parse(url)?;
        if self.allow_sessions(sid("Use", alias), &store) {
            return self.use_key(sid("Key", alias), &store, mode);
        }
        let objects = self.objects(&store)?;
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
        // Who writes in parts reads what is encrypted, too.
        let actions = if mode.writes() { &actions[..] } else { &actions[..1] };
        let (key, condition) = self.key(key, store.region.as_deref())?;
        self.allow(sid, actions, key, condition);
        Ok(())
    }

    /// To fetch bodies that were too large for a message.
    ///
    /// # Errors
    ///
    /// What is wrong with its URL.
    pub fn read_bodies(&mut self, url: &str) -> Result<(), String> {
        let store = StoreAddress::parse(url)?;
        if self.allow_sessions("UseBodies".into(), &store) {
            return self.use_key("KeyBodies".into(), &store, Mode::ReadOnly);
        }
        let objects = self.objects(&store)?;
        self.allow("ReadBodies".into(), &["s3:GetObject"], objects, None);
        self.list("ListBodies".into(), &store);
        self.use_key("KeyBodies".into(), &store, Mode::ReadOnly)
    }

    /// To fetch one object: the component.
    ///
    /// # Errors
    ///
    /// What is wrong with its URL.
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

    /// To take a role for the grant of this name.
    pub fn assume(&mut self, alias: &str, role: &str) {
        self.allow(sid("Assume", alias), &["sts:AssumeRole"], literal(role), None);
    }

    /// To keep a task of ECS in this cluster from being ended while it works. The cluster is where the queue is.
    ///
    /// # Errors
    ///
    /// What the queue's address doesn't say.
    pub fn protect(&mut self, cluster: &str, queue: &str) -> Result<(), String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if cluster.is_empty() || !cluster.bytes().all(is_name) {
            return Err(format!(
                "{cluster:?} isn't the name of a cluster: it's what stands behind cluster/ in the ARN"
            ));
        }
        let queue = QueueAddress::of(queue)?;
        let (partition, region, account) = self.place(&queue)?;
        let tasks = format!("arn:{partition}:ecs:{region}:{account}:task/{cluster}/*");
        self.allow("ScaleInProtection".into(), &["ecs:UpdateTaskProtection"], tasks, None);
        Ok(())
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Whether the policy is longer than a role's may be.
    pub fn is_too_long(&self) -> bool {
        self.to_json().chars().filter(|c| !c.is_whitespace()).count() > MOST_CHARACTERS
    }

    /// The policy, as IAM reads it.
    pub fn to_json(&self) -> String {
        let mut statements = self.statements.clone();
        // Aliases that differ in what a statement's name can't hold.
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
        if !queue.is_url && !actions.contains(&"sqs:GetQueueUrl") {
            actions.push("sqs:GetQueueUrl");
            actions.sort_unstable();
        }
        self.allow(sid, &actions, arn, None);
        Ok(())
    }

    /// Partition, region and account.
    fn place<'a>(&'a self, queue: &'a QueueAddress) -> Result<(&'a str, &'a str, &'a str), String> {
        let QueueAddress { name, account, .. } = queue;
        let region = queue.region.as_ref().or(self.region.as_ref()).ok_or_else(|| {
            format!("the region of the queue {name} isn't known: give its ARN, or set AWS_REGION")
        })?;
        let account = account
            .as_ref()
            .ok_or_else(|| format!("the account of the queue {name} isn't known: give its URL or its ARN"))?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{account:?} isn't an account: it has twelve digits"));
        }
        is_name(region)?;
        queue.partition.as_deref().map_or(Ok(()), is_name)?;
        Ok((queue.partition.as_deref().unwrap_or_else(|| partition(region)), region, account))
    }

    /// Of the whole bucket: with a condition on the prefix, S3 would say of missing objects that they are refused, as it
    /// then doesn't know the prefix. What a task lists is bounded by its grant.
    fn list(&mut self, sid: String, store: &StoreAddress) {
        let bucket = match BucketKind::of(&store.bucket) {
            BucketKind::AccessPoint => store.bucket.clone(),
            _ => format!("arn:{}:s3:::{}", self.partition_of(store), store.bucket),
        };
        self.allow(sid, &["s3:ListBucket"], bucket, None);
    }

    /// Allows sessions if the store is a directory bucket, in which all is done in them; tells whether it is. Names of such
    /// buckets are unique in their zone, so that the account may be left open. What a session may do can't be narrowed: the
    /// SDK asks for one that reads and writes.
    fn allow_sessions(&mut self, sid: String, store: &StoreAddress) -> bool {
        if BucketKind::of(&store.bucket) != BucketKind::Directory {
            return false;
        }
        let region = store.region.as_deref().or(self.region.as_deref()).unwrap_or("*");
        let bucket = format!("arn:{}:s3express:{region}:*:bucket/{}", self.partition_of(store), store.bucket);
        self.allow(sid, &["s3express:CreateSession"], bucket, None);
        true
    }

    /// All that lie below the prefix.
    fn objects(&self, store: &StoreAddress) -> Result<String, String> {
        self.s3_arn(store, &format!("{}*", literal(&store.prefix)))
    }

    fn s3_arn(&self, store: &StoreAddress, key: &str) -> Result<String, String> {
        let bucket = &store.bucket;
        match BucketKind::of(bucket) {
            BucketKind::AccessPoint => Ok(format!("{bucket}/object/{key}")),
            BucketKind::Alias("an access point") => Err(format!(
                "{bucket} is the alias of an access point, and policies name its ARN, which only S3 knows: write s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME in its place"
            )),
            BucketKind::Alias(what) => Err(format!(
                "{bucket} is the alias of {what}, for which no policy can be told: write it by hand, with the ARN that S3 shows"
            )),
            BucketKind::Bucket | BucketKind::Directory => {
                Ok(format!("arn:{}:s3:::{bucket}/{key}", self.partition_of(store)))
            }
        }
    }

    fn partition_of(&self, store: &StoreAddress) -> &'static str {
        partition(store.region.as_deref().or(self.region.as_deref()).unwrap_or_default())
    }

    /// The resource that a key of KMS is, and under which condition if it's named by an alias.
    fn key(&self, key: &str, region: Option<&str>) -> Result<(String, Option<Value>), String> {
        if key.contains(['*', '?', '$']) {
            return Err(format!("{key:?} isn't a key"));
        }
        let region = region.or(self.region.as_deref());
        region.map_or(Ok(()), is_name)?;
        let region = region.unwrap_or("*");
        let usual = || format!("arn:{}:kms:{region}:*", partition(region));
        // `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`, the same with `alias/NAME`, or what stands behind the last colon.
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

/// Of a region or a partition.
fn is_name(text: &str) -> Result<(), String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_name.then_some(()).ok_or_else(|| format!("{text:?} is neither a region nor a partition"))
}

/// The world of accounts that a region belongs to ("Amazon Resource Names" in the IAM user guide).
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ => "aws",
    }
}

/// A text that means itself in a policy, which knows wildcards and variables.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut literal, c| {
        match c {
            '*' | '?' | '$' => literal.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => literal.push(c),
        }
        literal
    })
}

/// The name of a statement, which may hold letters and digits.
fn sid(verb: &str, alias: &str) -> String {
    let words = alias.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(verb.to_owned(), |sid, word| sid + &word[..1].to_ascii_uppercase() + &word[1..])
}

#[cfg(test)]
mod tests;
