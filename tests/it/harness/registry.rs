//! A real registry: Debian's `docker-registry`, with a directory of its own.

use super::wire::{Response, Wire};
use super::{Command, Process, World, free_port, installed, scratch};
use sha2::{Digest, Sha256};
use std::path::Path;
use tempfile::TempDir;

/// Users that the registry with credentials knows, with bcrypt hashes of `secret` and of the password that moto issues for
/// ECR (cost 4, so that a login takes a millisecond).
const USERS: &str = "me:$2b$04$/70pa6vo//RbClITnGE1VOQVM3Ll2SwlRJkAcvhsehJjSAjzfHa/C
AWS:$2b$04$owfo1YEUGQ9b2VnmeWGqL.PmbW2YDRN0gbh9FBn13FtHQkHIRdAcG
";

/// A registry that is stopped with the test.
pub(crate) struct DockerRegistry {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl DockerRegistry {
    /// Starts a registry without TLS. Prints that the test is skipped and returns `None` if it isn't installed.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| String::new(), "")
    }

    /// Starts a registry that knows the user `me` with the password `secret`.
    pub(crate) fn with_users() -> Option<Self> {
        Self::with(users, "")
    }

    /// Starts a registry with users and TLS, with the files `cert.pem` and `key.pem` of a world.
    pub(crate) fn with_tls(world: &World) -> Option<Self> {
        let file = |name: &str| world.path(name).display().to_string();
        Self::with(users, &format!(", tls: {{certificate: {}, key: {}}}", file("cert.pem"), file("key.pem")))
    }

    fn with(users: impl FnOnce(&Path) -> String, http: &str) -> Option<Self> {
        let program = installed("docker-registry", "WASMRUN_DOCKER_REGISTRY")?;
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        let (root, port) = (directory.path(), free_port());
        let (data, users) = (root.join("data").display().to_string(), users(root));
        let settings = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{port}{http}}}\n{users}"
        );
        let file = root.join("settings.yml");
        std::fs::write(&file, settings).expect("written");
        let process = Command::new(program, root).arg("serve").arg(&file).start_server(port);
        Some(Self { port, _process: process, _directory: directory })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The name of an artefact, such as `thumbnail:1`.
    pub(crate) fn url(&self, artefact: &str) -> String {
        format!("oci://{}/{artefact}", self.host())
    }

    /// Puts content as a blob.
    pub(crate) fn put_blob(&self, repository: &str, content: &[u8]) {
        let begun = self.exchange("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        let place = begun.header("location").strip_prefix("http://service.test").expect("a place");
        let path = format!("{place}&digest=sha256:{:x}", Sha256::digest(content));
        let answer = self.exchange("PUT", &path, &[], content);
        assert_eq!(answer.status(), 201, "{answer:?}");
    }

    /// Returns the manifest of a tag.
    pub(crate) fn manifest(&self, repository: &str, tag: &str) -> String {
        let accept = ("accept", "application/vnd.oci.image.manifest.v1+json");
        self.exchange("GET", &format!("/v2/{repository}/manifests/{tag}"), &[accept], b"").text()
    }

    /// Puts content as a manifest under a tag or its digest.
    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, content: &str) {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.exchange("PUT", &path, &[("content-type", media_type)], content.as_bytes());
        assert_eq!(answer.status(), 201, "{answer:?}");
    }

    /// Sends a request on a connection of its own.
    fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let headers = [headers, &[("connection", "close")]].concat();
        Wire::to(([127, 0, 0, 1], self.port).into()).exchange(method, path, &headers, body)
    }
}

fn users(root: &Path) -> String {
    let file = root.join("htpasswd");
    std::fs::write(&file, USERS).expect("written");
    format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display())
}
