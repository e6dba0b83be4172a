//! Stores each file that is sent to it, and announces it to a queue as S3 would. README.md in the folder above lists the
//! guest's environment variables and grants.

use serde_json::json;
use std::io::{self, Write};
use wasmrun_guest::object_store::{self, ErrorKind};
use wasmrun_guest::{ObjectInfo, Queue, Store, warn};
use wstd::http::body::util::BodyExt;
use wstd::http::{Body, Error, HeaderValue, Method, Request, Response, StatusCode};

/// Why a file is refused that no store would keep, with the bounds of `wasmrun:task`.
const NOT_KEPT: &str = "the store cannot keep a file with this name and content type: a name has at most 1,024 characters, \
                        and a content type at most 256, all of them ASCII\n";

/// Answers a request. An error ends the task: the client sees the status 500, and the log says why.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    if !matches!(*request.method(), Method::PUT | Method::POST) {
        let refused = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header("allow", "PUT, POST");
        return Ok(refused.body("send a file with PUT or POST\n".into())?);
    }
    let Some(key) = key(request.uri().path()).map(str::to_owned) else {
        return wrong_request("name the file with letters, digits, dots, hyphens and slashes\n");
    };
    let content_type = request.headers().get("content-type").map(HeaderValue::to_str).transpose();
    let Ok(content_type) = content_type.map(|text| text.map(str::to_owned)) else {
        return wrong_request(NOT_KEPT);
    };
    let bucket = std::env::var("BUCKET")?;
    let written = match store(&key, content_type, request.into_body()).await {
        Err(error) if is_of_client(&error) => {
            warn!("{error}");
            return wrong_request(NOT_KEPT);
        }
        written => written?,
    };
    // If this fails, the client sees that, and can send the file again: nothing is left half done.
    Queue::open("jobs")?.send(announcement(&bucket, &key, &written))?;
    let created = Response::builder().status(StatusCode::CREATED).header("location", format!("/{key}"));
    Ok(created.body(format!("stored {} bytes\n", written.size).into())?)
}

fn wrong_request(why: &'static str) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(StatusCode::BAD_REQUEST).body(why.into())?)
}

/// Writes the body of a request to an object. Nothing is stored unless all of the body arrives.
async fn store(key: &str, content_type: Option<String>, body: Body) -> Result<ObjectInfo, Error> {
    let uploads = Store::open("uploads")?;
    let mut object = uploads.new_object(key);
    if let Some(content_type) = content_type {
        object = object.content_type(content_type);
    }
    let mut object = object.write()?;
    let mut body = body.into_boxed_body();
    while let Some(frame) = body.frame().await.transpose()? {
        // A frame that isn't data holds trailers.
        object.write_all(frame.data_ref().map_or(&[], |part| part))?;
    }
    Ok(object.finish()?)
}

/// Reports whether the store refuses what the client sent, such as a name that is too long. The other errors of a store are
/// the operator's.
fn is_of_client(error: &Error) -> bool {
    let of_writer = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    let of_store = error.downcast_ref::<object_store::Error>().or_else(of_writer);
    of_store.is_some_and(|error| matches!(error.kind(), ErrorKind::Other(_)))
}

/// Returns the key of the object at a path. Keys of these characters are the same in URLs and in notifications.
fn key(path: &str) -> Option<&str> {
    let key = path.strip_prefix('/')?;
    let is_plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    key.split('/').all(is_plain).then_some(key)
}

/// Returns the notification that S3 would send for this object.
fn announcement(bucket: &str, key: &str, written: &ObjectInfo) -> String {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": key, "size": written.size, "eTag": written.etag},
        },
    }]})
    .to_string()
}
