//! Emulates IAM in front of a server that has no access control. Checks each request against a policy, and refuses it
//! with the same error as AWS.
//!
//! The required action and resource of each operation are those of "Actions, resources, and condition keys" for SQS and
//! S3 in the Service Authorization Reference. The errors are those that SQS and S3 send.

use super::stub::{Answer, Request, Stub};
use super::{ACCOUNT, Wire, lock};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

const REGION: &str = "eu-west-1";

/// KMS keys by the path of the object or upload that they encrypt.
type Keys = Mutex<HashMap<String, String>>;

/// A proxy that passes on the requests that a policy allows.
pub(crate) struct Guard {
    stub: Stub,
    allowed: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<Mutex<BTreeSet<String>>>,
}

/// An action on a resource that a request needs permission for.
#[derive(Clone)]
struct Need {
    action: String,
    resource: String,
}

impl Guard {
    /// Starts a guard in front of the server at this address, for a principal with these policy statements.
    pub(crate) fn before(server: &str, statements: Vec<Value>) -> Self {
        let [allowed, refused]: [Arc<Mutex<BTreeSet<String>>>; 2] = Default::default();
        let (to, used, turned_away) = (server.to_owned(), allowed.clone(), refused.clone());
        let keys = Keys::default();
        let stub = Stub::answering(move |request| {
            let needs = needs(request, &keys);
            if let Some(need) = needs.iter().find(|need| !is_allowed(&statements, need)) {
                lock(&turned_away).insert(need.action.clone());
                return refusal(request, need);
            }
            let answer = forward(request, &to).unwrap_or_else(|_| Answer::new(502, ""));
            // S3 reveals that an object doesn't exist only to callers that may list the bucket.
            if let (Answer::Response { status: 404, .. }, Some(list)) = (&answer, list_instead(&needs)) {
                if !is_allowed(&statements, &list) {
                    lock(&turned_away).insert(list.action.clone());
                    return refusal(request, &list);
                }
                lock(&used).insert(list.action);
            }
            lock(&used).extend(needs.into_iter().map(|need| need.action));
            answer
        });
        Self { stub, allowed, refused }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.stub.endpoint()
    }

    /// The actions that requests used.
    pub(crate) fn used(&self) -> BTreeSet<String> {
        lock(&self.allowed).clone()
    }

    /// The actions that were missing in refused requests.
    pub(crate) fn refused(&self) -> BTreeSet<String> {
        lock(&self.refused).clone()
    }
}

fn needs(request: &Request, keys: &Keys) -> Vec<Need> {
    match request.header("x-amz-target").strip_prefix("AmazonSQS.") {
        Some(operation) => vec![of_sqs(operation, request)],
        None => [of_s3(request), of_kms(request, keys)].concat(),
    }
}

/// Lists the KMS permissions that a request needs: `GenerateDataKey` to write encrypted content, `Decrypt` to read it,
/// and both to upload a part ("Uploading an object using multipart upload" in the S3 user guide, on AWS KMS).
fn of_kms(request: &Request, keys: &Keys) -> Vec<Need> {
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    let named = request.header("x-amz-server-side-encryption-aws-kms-key-id");
    if !named.is_empty() {
        lock(keys).insert(path.clone(), named.to_owned());
    }
    let Some(key) = lock(keys).get(&path).cloned() else { return Vec::new() };
    let is_part = request.target.contains("partNumber=");
    let (writes, reads) = match &*request.method {
        "GET" => (false, true),
        "PUT" => (true, is_part),
        "POST" => (!named.is_empty(), false),
        _ => (false, false),
    };
    let need = |action: &str| Need { action: format!("kms:{action}"), resource: key.clone() };
    [writes.then(|| need("GenerateDataKey")), reads.then(|| need("Decrypt"))].into_iter().flatten().collect()
}

/// The permission for a batch operation is that for the single operation.
fn of_sqs(operation: &str, request: &Request) -> Need {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let name = match body["QueueUrl"].as_str() {
        Some(url) => url.rsplit('/').next().unwrap_or_default(),
        None => body["QueueName"].as_str().unwrap_or_default(),
    };
    let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
    Need { action, resource: format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}") }
}

/// The permission to list the bucket, which decides the error if an object that was to be read doesn't exist.
fn list_instead(needs: &[Need]) -> Option<Need> {
    let reads = |need: &&Need| need.action.starts_with("s3:GetObject");
    let bucket = needs.iter().find(reads)?.resource.split('/').next()?.to_owned();
    Some(Need { action: "s3:ListBucket".into(), resource: bucket })
}

fn of_s3(request: &Request) -> Vec<Need> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let query: HashMap<_, _> =
        query.split('&').map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    // The path of the bucket itself is `/BUCKET/`.
    let path = decoded(path.trim_matches('/'));
    let need = |action: &str, path: &str| Need {
        action: format!("s3:{action}"),
        resource: format!("arn:aws:s3:::{path}"),
    };
    let read = |has_version: bool| if has_version { "GetObjectVersion" } else { "GetObject" };
    let is_object = path.contains('/');
    match &*request.method {
        "GET" if !is_object => {
            vec![need("ListBucket", &path)]
        }
        "GET" | "HEAD" => vec![need(read(query.contains_key("versionId")), &path)],
        "DELETE" if query.contains_key("uploadId") => vec![need("AbortMultipartUpload", &path)],
        "DELETE" => vec![need("DeleteObject", &path)],
        _ => {
            let source = request.header("x-amz-copy-source");
            let (from, version) =
                source.split_once("?versionId=").map_or((source, None), |(a, b)| (a, Some(b)));
            let copied = (!from.is_empty())
                .then(|| need(read(version.is_some()), decoded(from).trim_start_matches('/')));
            let acl = (!request.header("x-amz-acl").is_empty()).then(|| need("PutObjectAcl", &path));
            [Some(need("PutObject", &path)), acl, copied].into_iter().flatten().collect()
        }
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn is_allowed(statements: &[Value], need: &Need) -> bool {
    statements.iter().any(|statement| {
        assert_eq!(statement["Condition"], Value::Null, "a condition that is not known here");
        let actions = statement["Action"].as_array().expect("actions");
        actions.iter().any(|action| *action == *need.action)
            && matches(statement["Resource"].as_str().expect("a resource"), &need.resource)
    })
}

/// Matches a pattern with `*`, as far as the policies here use them.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))
        }),
    }
}

fn refusal(request: &Request, need: &Need) -> Answer {
    let Need { action, resource, .. } = need;
    let who = format!("arn:aws:sts::{ACCOUNT}:assumed-role/worker/wasmrun");
    if action.starts_with("sqs:") {
        let action = action.to_ascii_lowercase();
        let said = format!(
            "User: {who} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
        );
        let body = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "message": said});
        return Answer::new(403, body.to_string()).with("content-type", "application/x-amz-json-1.0");
    }
    if action.starts_with("kms:") {
        let said = format!(
            "User: {who} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
        );
        return Answer::new(
            403,
            format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"),
        );
    }
    // For some callers S3 names neither action nor resource, and an answer to HEAD has no body.
    let said = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>1</RequestId><HostId>2</HostId></Error>";
    let said = if request.method == "HEAD" { "" } else { said };
    Answer::new(403, said).with("content-type", "application/xml")
}

/// Forwards a request to the server and returns the answer.
fn forward(request: &Request, to: &str) -> io::Result<Answer> {
    let mut server = Wire::try_to(to.parse().expect("an address"))?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in request.headers.iter().filter(|(name, _)| *name != "connection") {
        head += &format!("{name}: {value}\r\n");
    }
    server.try_send(format!("{head}connection: close\r\n\r\n"))?;
    server.try_send(&request.body)?;
    let is_head = request.method == "HEAD";
    let response = server.try_response()?;
    if !response.is_whole && !is_head {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut answer = Answer::new(response.status(), response.body);
    for (name, value) in &response.head.headers {
        let of_connection = ["connection", "keep-alive", "transfer-encoding"].contains(&name.as_str());
        // In an answer to HEAD, the content length is that of the object.
        if !of_connection && (name != "content-length" || is_head) {
            answer = answer.with(name, value);
        }
    }
    Ok(answer)
}
