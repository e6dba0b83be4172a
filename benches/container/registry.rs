//! A registry on a loopback address, and how long a component takes from there.

use crate::shared::{Killed, free_address, guests, until};
use serde_json::json;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wasmrun_benches::{Report, Way, cost, interleaved, output};

/// Debian's `docker-registry`, which `cargo xtask bench container` installs.
const PROGRAM: &str = "WASMRUN_DOCKER_REGISTRY";
/// The bytes of the component that is pulled side by side with curl.
const PULLED_BYTES: usize = 10_000_000;
/// What the code cache adds to the names of what was pulled.
const CONTENT: &str = "sha256-";

/// Killed when dropped.
pub(crate) struct Registry {
    _process: Killed,
    address: SocketAddr,
}

impl Registry {
    /// Starts it, if it's installed.
    pub(crate) fn start(scratch: &Path) -> Option<Self> {
        let program = std::env::var_os(PROGRAM)?;
        let address = free_address();
        let settings = scratch.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            scratch.join("registry").display()
        );
        fs::write(&settings, text).expect("a file");
        let mut command = Command::new(program);
        command.arg("serve").arg(settings).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { _process: Killed::start(&mut command), address };
        until("the registry", || TcpStream::connect(address).is_ok());
        Some(registry)
    }

    /// The URL of an artefact by its tag.
    pub(crate) fn url(&self, repository: &str) -> String {
        format!("oci://{}/{repository}:1", self.address)
    }

    /// Pushes a component, and returns its URL with the digest.
    pub(crate) fn push(&self, program: &Path, component: &Path, repository: &str) -> String {
        let mut push = Command::new(program);
        let pushed = output(push.arg("push").arg(component).arg(self.url(repository))).expect("pushed");
        pushed.trim().to_owned()
    }

    /// Compares how long curl takes to fetch the file of a component with what pulling adds to `wasmrun inspect`: the
    /// request for the tag, the manifest and the file, both digests, and the copy in the cache.
    pub(crate) fn pull(&self, report: &mut Report, program: &Path, scratch: &Path) {
        let file = scratch.join("padded.wasm");
        fs::write(&file, padded(&fs::read(guests::path("thumbnail")).expect("a guest"))).expect("a file");
        self.push(program, &file, "padded");
        let cache = scratch.join("pulled");
        let inspect = |component: &str| {
            let mut command = Command::new(program);
            command.args(["inspect", component]).env("WASMRUN_CACHE", &cache);
            command
        };
        let [from_file, from_registry] = [file.display().to_string(), self.url("padded")];
        // The code is in the cache, and so is the component.
        output(&mut inspect(&from_registry)).expect("a component");
        let digest = pulled(&cache)
            .into_iter()
            .find(|file| file.metadata().is_ok_and(|metadata| metadata.len() == PULLED_BYTES as u64))
            .and_then(|file| Some(file.file_name()?.to_str()?.strip_prefix(CONTENT)?.to_owned()));
        let blob =
            format!("http://{}/v2/padded/blobs/sha256:{}", self.address, digest.expect("it was pulled"));
        let timed = |command: &mut Command| {
            cost(1, || {
                output(command).expect("it works");
            })
        };
        let mut fetch = Command::new("curl");
        fetch.args(["--silent", "--fail", "--output"]).arg(scratch.join("blob")).arg(&blob);
        let ways = [
            Way::new("curl", |_| timed(&mut fetch)),
            Way::new("file", |_| timed(&mut inspect(&from_file))),
            Way::new("registry", |_| {
                pulled(&cache).iter().for_each(|file| fs::remove_file(file).expect("a file"));
                timed(&mut inspect(&from_registry))
            }),
        ];
        let found = interleaved("Pulls", report.size.pick(1, 40), ways);
        let [curl, file, registry] = [0, 1, 2].map(|way: usize| found[way].median("wall_us") / 1e3);
        let row = |what: &str, milliseconds: f64| json!({"what": what, "ms": milliseconds, "ratio": milliseconds / curl});
        let rows = [row("curl fetches the file", curl), row("wasmrun pulls the component", registry - file)];
        report.table("pull", "= what | ms = ms:1 | of curl's = ratio:2", rows);
    }
}

/// The manifests and components that were pulled into a cache.
fn pulled(cache: &Path) -> Vec<PathBuf> {
    let entries = cache.read_dir().expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_pulled = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(CONTENT))
    };
    paths.filter(is_pulled).collect()
}

/// The component, of [`PULLED_BYTES`] with a custom section of bytes that don't compress.
fn padded(component: &[u8]) -> Vec<u8> {
    use std::io::Read as _;

    // A size of five bytes in LEB128, and the section's name, which is empty.
    const HEAD: usize = 1 + 5 + 1;
    let random = PULLED_BYTES - component.len() - HEAD;
    let size = random + 1;
    let mut all = component.to_vec();
    all.push(0);
    all.extend((0..5).map(|group| (size >> (7 * group) & 0x7f) as u8 | if group < 4 { 0x80 } else { 0 }));
    all.push(0);
    let source = File::open("/dev/urandom").expect("random bytes");
    source.take(random as u64).read_to_end(&mut all).expect("random bytes");
    all
}
