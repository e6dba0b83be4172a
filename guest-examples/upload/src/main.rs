//! Stores each file that is sent to it, and announces it to a queue as S3 would. README.md in the folder above lists the
//! guest's environment variables and grants.

use serde_json::json;
use std::io::Write;
use wasmrun_guest::{ObjectInfo, Queue, Store};
use wstd::http::body::util::BodyExt;
use wstd::http::{Body, Error, Method, Request, Response, StatusCode};

/// Answers a request. An error ends the task: the client sees the status 500, and the log says why.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    if !matches!(*request.method(), Method::PUT | Method::POST) {
        let refused = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header("allow", "PUT, POST");
        return Ok(refused.body("send a file with PUT or POST\n".into())?);
    }
    let Some(key) = key(request.uri().path()).map(str::to_owned) else {
        let refused = Response::builder().status(StatusCode::BAD_REQUEST);
        return Ok(refused.body("name the file with letters, digits, dots, hyphens and slashes\n".into())?);
    };
    let bucket = std::env::var("BUCKET")?;
    let written = store(&key, request).await?;
    // If this fails, the client sees that, and can send the file again: nothing is left half done.
    Queue::open("jobs")?.send(announcement(&bucket, &key, &written))?;
    let created = Response::builder().status(StatusCode::CREATED).header("location", format!("/{key}"));
    Ok(created.body(format!("stored {} bytes\n", written.size).into())?)
}

/// Writes the body of a request to an object. Nothing is stored unless all of the body arrives.
async fn store(key: &str, request: Request<Body>) -> Result<ObjectInfo, Error> {
    let uploads = Store::open("uploads")?;
    let mut object = uploads.new_object(key);
    if let Some(content_type) = request.headers().get("content-type") {
        object = object.content_type(content_type.to_str()?);
    }
    let mut object = object.write()?;
    let mut body = request.into_body().into_boxed_body();
    while let Some(frame) = body.frame().await.transpose()? {
        // A frame that isn't data holds trailers.
        object.write_all(frame.data_ref().map_or(&[], |part| part))?;
    }
    Ok(object.finish()?)
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
