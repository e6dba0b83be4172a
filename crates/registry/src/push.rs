//! Writes an artefact: the layer, its configuration, and the manifest, in the layout of the Wasm OCI artefact.

use crate::digest::Digest;
use crate::manifest::{MANIFEST, WASM, WASM_CONFIG};
use crate::reference::Reference;
use crate::session::{Access, Ask, Session};
use crate::transport::describe;
use crate::{Registry, RegistryError};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;
use wasmrun_http::{Response, SLOWEST_BYTES_PER_SECOND};

/// Time for a push in addition to its size divided by [`SLOWEST_BYTES_PER_SECOND`].
const PATIENCE: Duration = Duration::from_secs(120);

/// What is pushed.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The component.
    pub component: Bytes,
    /// File name of the component, under which other tools pull it.
    pub title: String,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// When it was made, by RFC 3339.
    pub created: String,
    /// Who made it.
    pub author: Option<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    component: Interfaces<'a>,
}

#[derive(Serialize)]
struct Interfaces<'a> {
    exports: &'a [String],
    imports: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u64,
    media_type: &'static str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'static str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Title<'a>>,
}

/// The annotation that `oras pull` takes a file's name from.
#[derive(Serialize)]
struct Title<'a> {
    #[serde(rename = "org.opencontainers.image.title")]
    title: &'a str,
}

impl<'a> Descriptor<'a> {
    fn of(media_type: &'static str, content: &[u8], title: Option<&'a str>) -> Self {
        let annotations = title.map(|title| Title { title });
        Self { media_type, digest: Digest::of(content).to_string(), size: content.len() as u64, annotations }
    }
}

impl Artefact {
    /// Returns the configuration: the same bytes for the same component.
    fn config(&self) -> Vec<u8> {
        let config = Config {
            created: &self.created,
            author: self.author.as_deref(),
            architecture: "wasm",
            // The specification's name for a component, whatever WASI it uses.
            os: "wasip2",
            layer_digests: [Digest::of(&self.component).to_string()],
            component: Interfaces { exports: &self.exports, imports: &self.imports },
        };
        serde_json::to_vec(&config).unwrap_or_default()
    }

    fn manifest(&self, config: &[u8]) -> Vec<u8> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: Descriptor::of(WASM_CONFIG, config, None),
            layers: [Descriptor::of(WASM, &self.component, Some(&self.title))],
            annotations: &self.annotations,
        };
        serde_json::to_vec(&manifest).unwrap_or_default()
    }
}

impl Registry {
    /// Pushes a component, and returns the digest of its manifest. What the registry has already isn't sent again. The tag
    /// is set last, so that it never names an incomplete artefact.
    ///
    /// # Errors
    ///
    /// See [`RegistryError`].
    pub async fn push(&self, reference: &Reference, artefact: &Artefact) -> Result<Digest, RegistryError> {
        let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
            return Err(RegistryError::unfit(
                "a component is pushed to a tag: write oci://HOST/REPOSITORY:TAG",
            ));
        };
        let patience =
            PATIENCE + Duration::from_secs(artefact.component.len() as u64 / SLOWEST_BYTES_PER_SECOND);
        let pushed = timeout(patience, self.push_to(reference, tag, artefact)).await;
        let host = reference.host();
        pushed.unwrap_or_else(|_| Err(RegistryError::Unavailable(format!("{host} does not answer in time"))))
    }

    async fn push_to(
        &self,
        reference: &Reference,
        tag: &str,
        artefact: &Artefact,
    ) -> Result<Digest, RegistryError> {
        let mut session = Session::new(self, reference, Access::Push);
        let config = artefact.config();
        let manifest = artefact.manifest(&config);
        let digest = Digest::of(&manifest);
        upload(&mut session, artefact.component.clone()).await?;
        upload(&mut session, config.into()).await?;
        let path = session.path(&format!("manifests/{tag}"));
        let ask =
            Ask { content_type: Some(MANIFEST), content: manifest.into(), ..Ask::new(Method::PUT, path) };
        let response = session.ask(&ask).await?;
        let stated = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        expect(&session, response, &[StatusCode::CREATED, StatusCode::OK], "take the manifest").await?;
        match stated.filter(|stated| *stated != digest) {
            Some(stated) => Err(RegistryError::Unavailable(format!(
                "{} keeps the manifest with the digest {stated} instead of {digest}",
                session.server()
            ))),
            None => Ok(digest),
        }
    }
}

/// Uploads a blob in one piece, unless the repository has it.
async fn upload(session: &mut Session<'_>, content: Bytes) -> Result<(), RegistryError> {
    let digest = Digest::of(&content);
    let known = Ask::new(Method::HEAD, session.path(&format!("blobs/{digest}")));
    if session.ask(&known).await?.status == StatusCode::OK {
        return Ok(());
    }
    let begin = Ask::new(Method::POST, session.path("blobs/uploads/"));
    let response = session.ask(&begin).await?;
    let location = response.header("location").unwrap_or_default().to_owned();
    expect(session, response, &[StatusCode::ACCEPTED], "begin an upload").await?;
    let separator = if location.contains('?') { '&' } else { '?' };
    let location = format!("{location}{separator}digest={digest}");
    let put = Ask {
        content_type: Some("application/octet-stream"),
        content,
        ..Ask::new(Method::PUT, String::new())
    };
    let response = session.ask_where(&location, &put).await?;
    expect(
        session,
        response,
        &[StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK],
        "take the content",
    )
    .await
}

async fn expect(
    session: &Session<'_>,
    response: Response,
    expected: &[StatusCode],
    what: &str,
) -> Result<(), RegistryError> {
    if expected.contains(&response.status) {
        return Ok(());
    }
    let (status, said) = (response.status, describe(response).await);
    let why = format!("{} does not {what}: it answered {said}", session.server());
    Err(match status {
        StatusCode::NOT_FOUND => RegistryError::Unfit(why),
        _ => RegistryError::Unavailable(why),
    })
}
