//! The rights that a worker needs, as a policy of IAM: what the calls of this crate are refused without, and no more.
//!
//! Source of the names: "Actions, resources, and condition keys" for SQS, S3, KMS, STS and ECS in the Service
//! Authorization Reference, and the pages of each call in the API references.

use crate::s3::{ObjectAddress, StoreAddress};
use crate::sqs::QueueAddress;
use serde::Serialize;
use serde_json::{Value, json};
use wasmrun_runtime::grant::Mode;

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
        let objects = self.objects(&store);
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
        let objects = self.objects(&store);
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
        let resource = self.s3_arn(&object.store, &literal(&object.key));
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
        let bucket = format!("arn:{}:s3:::{}", self.partition_of(store), store.bucket);
        self.allow(sid, &["s3:ListBucket"], bucket, None);
    }

    /// All that lie below the prefix.
    fn objects(&self, store: &StoreAddress) -> String {
        self.s3_arn(store, &format!("{}*", literal(&store.prefix)))
    }

    fn s3_arn(&self, store: &StoreAddress, key: &str) -> String {
        format!("arn:{}:s3:::{}/{key}", self.partition_of(store), store.bucket)
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
mod tests {
    use super::*;

    const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads";

    fn statements(permissions: &Permissions) -> Vec<Value> {
        let policy: Value = serde_json::from_str(&permissions.to_json()).expect("JSON");
        assert_eq!(policy["Version"], LANGUAGE);
        policy["Statement"].as_array().expect("statements").clone()
    }

    #[test]
    fn a_worker_may_receive_and_settle_and_nothing_else_of_its_queue() {
        let mut permissions = Permissions::new(None);
        permissions.work_on(QUEUE).expect("known");
        let all = statements(&permissions);
        assert_eq!(
            all,
            [json!({
                "Sid": "Queue",
                "Effect": "Allow",
                "Action": ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
                "Resource": "arn:aws:sqs:eu-west-1:123456789012:uploads"
            })]
        );
    }

    #[test]
    fn a_queue_that_has_to_be_looked_up_may_be() {
        let mut permissions = Permissions::new(None);
        permissions.send_to("next-one", "arn:aws-cn:sqs:cn-north-1:123456789012:next").expect("known");
        let [send] = &statements(&permissions)[..] else { panic!("one statement") };
        assert_eq!(send["Sid"], "SendNextOne");
        assert_eq!(send["Action"], json!(["sqs:GetQueueUrl", "sqs:SendMessage"]));
        assert_eq!(send["Resource"], "arn:aws-cn:sqs:cn-north-1:123456789012:next");
    }

    #[test]
    fn what_an_address_leaves_out_is_asked_for() {
        let mut permissions = Permissions::new(None);
        let error = permissions.work_on("http://localhost:4566/000000000000/q").expect_err("no region");
        assert!(error.contains("AWS_REGION"), "{error}");
        let mut permissions = Permissions::new(Some("eu-west-1".into()));
        permissions.work_on("http://localhost:4566/000000000000/q").expect("known");
        let error = permissions.work_on("uploads").expect_err("no account");
        assert!(error.contains("ARN"), "{error}");
    }

    #[test]
    fn an_address_with_a_wildcard_gives_no_rights() {
        let mut permissions = Permissions::new(None);
        for queue in [
            "https://sqs.eu-west-1.amazonaws.com/*/uploads",
            "arn:aws:sqs:*:*:uploads",
            "arn:*:sqs:eu-west-1:123456789012:uploads",
            "arn:aws:sqs:eu-west-1:*:uploads",
        ] {
            permissions.work_on(queue).expect_err(queue);
        }
        for settings in ["kms-key=*", "kms-key=x:y", "kms-key=abc&region=*"] {
            let url = format!("s3://photos?encryption=kms&{settings}");
            permissions.use_store("in", &url, Mode::ReadOnly).expect_err(settings);
        }
        let mut sovereign = Permissions::new(None);
        sovereign.work_on("arn:aws-eusc:sqs:eusc-de-east-1:123456789012:uploads").expect("known");
        assert_eq!(
            statements(&sovereign)[0]["Resource"],
            "arn:aws-eusc:sqs:eusc-de-east-1:123456789012:uploads"
        );
    }

    #[test]
    fn a_store_is_used_below_its_prefix_and_as_its_mode_says() {
        let mut permissions = Permissions::new(None);
        permissions.use_store("in", "s3://photos", Mode::ReadOnly).expect("valid");
        permissions.use_store("out", "s3://thumbs/small?acl=private", Mode::WriteOnly).expect("valid");
        let all = statements(&permissions);
        let said: Vec<_> = all.iter().map(|s| (s["Sid"].clone(), s["Resource"].clone())).collect();
        let expected = [
            ("ReadIn", "arn:aws:s3:::photos/*"),
            ("ListIn", "arn:aws:s3:::photos"),
            ("WriteOut", "arn:aws:s3:::thumbs/small/*"),
        ];
        assert_eq!(said, expected.map(|(sid, resource)| (json!(sid), json!(resource))));
        assert!(all[2]["Action"].to_string().contains("PutObjectAcl"));
        let mut below = Permissions::new(None);
        below.use_store("in", "s3://photos/2026", Mode::ReadWrite).expect("valid");
        let list = &statements(&below)[1];
        assert_eq!((&list["Resource"], &list["Condition"]), (&json!("arn:aws:s3:::photos"), &Value::Null));
    }

    #[test]
    fn a_key_may_be_used_as_far_as_the_store_is() {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
        let mut permissions = Permissions::new(Some("eu-west-1".into()));
        let url = |key: &str| format!("s3://photos?encryption=kms&kms-key={key}");
        permissions.use_store("in", &url(key), Mode::ReadOnly).expect("valid");
        permissions.use_store("out", &url("alias/thumbs"), Mode::WriteOnly).expect("valid");
        let all = statements(&permissions);
        let keys: Vec<_> = all.iter().filter(|s| s["Sid"].to_string().contains("Key")).collect();
        assert_eq!(keys[0]["Action"], json!(["kms:Decrypt"]));
        assert_eq!(keys[0]["Resource"], key);
        assert_eq!(keys[1]["Action"], json!(["kms:Decrypt", "kms:GenerateDataKey"]));
        assert_eq!(keys[1]["Resource"], "arn:aws:kms:eu-west-1:*:key/*");
        assert!(keys[1]["Condition"].to_string().contains("alias/thumbs"));
    }

    #[test]
    fn statements_have_names_of_their_own() {
        let mut permissions = Permissions::new(None);
        for alias in ["a-b", "aB", "a_b"] {
            permissions.send_to(alias, QUEUE).expect("known");
        }
        let mut sids: Vec<_> = statements(&permissions).iter().map(|s| s["Sid"].to_string()).collect();
        sids.dedup();
        assert_eq!(sids.len(), 3, "{sids:?}");
    }

    #[test]
    fn a_key_with_a_wildcard_is_that_key_alone() {
        let mut permissions = Permissions::new(None);
        permissions.fetch("s3://components/a*b$.wasm").expect("valid");
        assert_eq!(statements(&permissions)[0]["Resource"], "arn:aws:s3:::components/a${*}b${$}.wasm");
    }

    #[test]
    fn a_component_is_one_object() {
        let mut permissions = Permissions::new(None);
        permissions.fetch("s3://components/a/thumbnail.wasm?version=v1").expect("valid");
        let [statement] = &statements(&permissions)[..] else { panic!("one statement") };
        assert_eq!(statement["Action"], json!(["s3:GetObjectVersion"]));
        assert_eq!(statement["Resource"], "arn:aws:s3:::components/a/thumbnail.wasm");
    }
}
