//! Builds the container image: the static program, the certificates that it trusts, and its bill of materials. Needs no
//! daemon and no registry.
//!
//! The image doesn't depend on the time of the build: files and labels carry the commit's time, so that building a
//! commit again on the same machine gives the same digest. On other machines the digest differs with the versions of
//! compilers and packages and with the paths in panic messages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{on_path, quiet},
    layers,
    places::{Places, remove},
    program::Program,
    sbom::{self, Part},
};

const NAME: &str = "localhost/wasmrun";
/// The workspace's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const CONTAINERFILE: &str = "deploy/Containerfile";
/// Maximum compressed size of the image in bytes. It must stay small, because it is downloaded before the first task
/// starts.
const MOST_BYTES: u64 = 20_000_000;
/// The Debian packages with which the image is built and run.
const PACKAGES: &str = "buildah podman runc conmon catatonit ca-certificates";
/// The programs of these packages that the tests call. catatonit holds a pod's network while its containers come and
/// go.
const PROGRAMS: [&str; 5] = ["buildah", "podman", "conmon", "catatonit", "tar"];
/// The certificates of Debian's package. The system's bundle isn't used, because the system's owner may have added
/// others that only this system should trust.
const CERTIFICATES: &str = "/usr/share/ca-certificates/mozilla";
/// User and group of the worker.
const USER: &str = "65532";

/// A built image and its location.
pub(crate) struct Image {
    /// Name and version.
    pub(crate) reference: String,
    /// OCI archive of the image.
    archive: PathBuf,
    digest: String,
    compressed_bytes: u64,
    storage: Storage,
}

impl Image {
    /// Environment variables by which the tests and a benchmark find the image.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 3] {
        [
            ("WASMRUN_IMAGE", Path::new(&self.reference)),
            ("WASMRUN_IMAGE_STORAGE", &self.storage.folder),
            ("WASMRUN_IMAGE_ARCHIVE", &self.archive),
        ]
    }
}

/// Builds the image, packs it, and prints how to run it.
pub(crate) fn run(places: &Places, program: Option<&Path>) -> Result<()> {
    let source = Source::read(places)?;
    let program = match program {
        Some(file) => Program::take(file)?,
        None => {
            // Check this before spending minutes on compiling.
            needs("buildah")?;
            Program::build(places, &source)?
        }
    };
    let processor = program.processor.image;
    let image = build(places, &program, &source)?;
    let archive = places.typed(&image.archive).display();
    println!("\nImage    {} for {processor}", image.reference);
    println!("Digest   {}", image.digest);
    println!("Size     {:.1} MB compressed", image.compressed_bytes as f64 / 1e6);
    println!("Archive  {archive}\n\nBy hand:");
    println!("  podman load --input {archive}    # or docker load, from version 25 on");
    println!("  podman run --rm --read-only --cap-drop=all --security-opt no-new-privileges \\");
    println!("      --volume $PWD/target/guests/thumbnail.wasm:/processor.wasm:ro \\");
    println!("      {} inspect /processor.wasm", image.reference);
    Ok(())
}

/// Builds the image for tests and benchmarks. Returns `None` if it can't be built here, so that tests that need it are
/// skipped.
///
/// # Errors
///
/// Fails if the image can't be built and nothing may be skipped.
pub(crate) fn ready(places: &Places) -> Result<Option<Image>> {
    let built = PROGRAMS.iter().try_for_each(|program| needs(program));
    let build = || {
        let source = Source::read(places)?;
        build(places, &Program::build(places, &source)?, &source)
    };
    match built.and_then(|()| build()) {
        Ok(image) => Ok(Some(image)),
        Err(error) if env::var_os("WASMRUN_SKIP_NOTHING").is_some() => Err(error),
        Err(error) => {
            eprintln!("There is no container image ({error:#}): what needs it is skipped.");
            Ok(None)
        }
    }
}

fn needs(program: &str) -> Result<()> {
    on_path(program)
        .map(drop)
        .with_context(|| format!("there is no {program} here; Debian's packages: {PACKAGES}"))
}

fn build(places: &Places, program: &Program, source: &Source) -> Result<Image> {
    let folder = places.target.join("image");
    let storage = Storage::prepare(&folder.join("storage"))?;
    fill(places, &folder, program, source)?;
    let reference = format!("{NAME}:{VERSION}");
    let mut build = storage.buildah();
    build
        .current_dir(&places.root)
        // chroot isolation has the fewest requirements, and nothing is run while building.
        .args([
            "build",
            "--quiet",
            "--isolation",
            "chroot",
            "--identity-label=false",
            "--file",
            CONTAINERFILE,
        ])
        .args(["--timestamp", &source.seconds, "--platform", &format!("linux/{}", program.processor.image)])
        .args(["--tag", &reference, "--tag", &format!("{NAME}:latest")]);
    for (name, value) in [("VERSION", VERSION), ("REVISION", &source.revision), ("CREATED", &source.time)] {
        build.args(["--build-arg", &format!("{name}={value}")]);
    }
    quiet(build.arg(&folder)).context("cannot build the image")?;
    // Remove older images of this name. An image that a container uses stays, and the command fails.
    let _ = quiet(storage.buildah().args(["rmi", "--prune"]));
    let (archive, digest, compressed_bytes) = pack(&folder, &storage, &reference, source)?;
    if compressed_bytes > MOST_BYTES {
        bail!("the image is {compressed_bytes} bytes compressed, and may be {MOST_BYTES}");
    }
    Ok(Image { reference, archive, digest, compressed_bytes, storage })
}

/// The commit that the image is built from.
pub(crate) struct Source {
    pub(crate) revision: String,
    /// Commit time in seconds since 1970.
    seconds: String,
    /// Commit time in RFC 3339 format.
    pub(crate) time: String,
}

impl Source {
    /// Reads the commit. A source without git has no revision, and its time is `SOURCE_DATE_EPOCH`.
    /// <https://reproducible-builds.org/docs/source-date-epoch/>
    fn read(places: &Places) -> Result<Self> {
        let git = |arguments: &[&str]| {
            let said = quiet(Command::new("git").current_dir(&places.root).args(arguments));
            said.map(|said| said.trim().to_owned())
        };
        let revision = git(&["describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"]);
        let revision = revision.unwrap_or_else(|_| "unknown".into());
        let seconds = match env::var("SOURCE_DATE_EPOCH") {
            Ok(seconds) => seconds,
            Err(_) => git(&["log", "-1", "--format=%ct"]).unwrap_or_else(|_| "0".into()),
        };
        let time =
            quiet(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{seconds}")]))
                .with_context(|| format!("{seconds:?} is no time"))?;
        Ok(Self { revision, time: time.trim().to_owned(), seconds })
    }
}

/// Puts the files that the Containerfile copies where it looks for them.
fn fill(places: &Places, folder: &Path, program: &Program, source: &Source) -> Result<()> {
    let of_processor = folder.join(program.processor.image);
    fs::create_dir_all(&of_processor)?;
    // Copy to another name first, because writing to a running program is refused.
    let (copy, place) = (of_processor.join("wasmrun.new"), of_processor.join("wasmrun"));
    fs::copy(&program.file, &copy).with_context(|| format!("cannot copy {}", program.file.display()))?;
    fs::rename(copy, place)?;
    let certificates = Part::of_debian("ca-certificates", "MPL-2.0");
    let within = [Part::sqlite(places)?, Part::uplot(places)?].into_iter().chain(certificates);
    let parts: Vec<Part> = program.parts.iter().cloned().chain(within).collect();
    let sbom = sbom::describe(places, &program.target, &parts, &source.time)?;
    fs::write(of_processor.join("wasmrun.cdx.json"), sbom)?;
    fs::write(folder.join("passwd"), format!("wasmrun:x:{USER}:{USER}::/nonexistent:/sbin/nologin\n"))?;
    fs::write(folder.join("group"), format!("wasmrun:x:{USER}:\n"))?;
    fs::write(folder.join("ca-certificates.crt"), certificates_in(Path::new(CERTIFICATES))?)?;
    make_directories(folder)
}

/// Joins the certificates in a folder into one file, in the order of their names.
fn certificates_in(folder: &Path) -> Result<Vec<u8>> {
    let entries = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut files = entries.with_context(|| {
        format!(
            "there are no certificates in {}: Debian's package ca-certificates has them",
            folder.display()
        )
    })?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        all.push(b'\n');
    }
    Ok(all)
}

/// Creates the archive `directories.tar`, with directories whose owner and mode don't depend on the user who builds.
fn make_directories(folder: &Path) -> Result<()> {
    const CACHE: &str = "var/cache/wasmrun";
    let root = folder.join("directories");
    fs::create_dir_all(root.join(CACHE))?;
    let archive = folder.join("directories.tar");
    let tar = |action: &str, owner: &str, mode: &str, names: &[&str]| {
        let mut tar = Command::new("tar");
        tar.args([action, "--numeric-owner", "--mtime=@0", "--no-recursion"])
            .args([&format!("--owner={owner}"), &format!("--group={owner}"), &format!("--mode={mode}")])
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(&root);
        quiet(tar.args(names)).map(drop)
    };
    tar("--create", "0", "0755", &["var", "var/cache"])?;
    tar("--append", USER, "0700", &[CACHE])
}

/// Writes the image as an archive. Returns the archive's path, the image's digest, and its compressed size.
fn pack(
    folder: &Path,
    storage: &Storage,
    reference: &str,
    source: &Source,
) -> Result<(PathBuf, String, u64)> {
    const LAYOUT: &str = "layout";
    let (layout, archive) = (folder.join(LAYOUT), folder.join("wasmrun.tar"));
    remove(&layout)?;
    quiet(
        storage
            .buildah()
            // A path that contains a colon can't be passed in any other way.
            .current_dir(folder)
            .args(["push", "--quiet", "--compression-format", "gzip"])
            .args([reference, &format!("oci:{LAYOUT}:{reference}")]),
    )
    .context("cannot pack the image")?;
    let digest = layers::compress(&layout).context("cannot compress the image")?;
    quiet(
        Command::new("tar")
            .args([
                "--create",
                "--sort=name",
                "--numeric-owner",
                "--owner=0",
                "--group=0",
                "--mode=u=rwX,go=rX",
            ])
            .args([&format!("--mtime=@{}", source.seconds), "--format=ustar", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&layout)
            .args(["blobs", "index.json", "oci-layout"]),
    )?;
    let blobs = fs::read_dir(layout.join("blobs/sha256"))?;
    let bytes = blobs.map(|blob| Ok(blob?.metadata()?.len())).sum::<Result<u64>>()?;
    remove(&layout)?;
    Ok((archive, digest, bytes))
}

/// Storage for the images and containers of this repository, apart from all others on the machine.
struct Storage {
    /// Folder with `storage.conf`, `containers.conf` and `registries.conf`.
    folder: PathBuf,
}

impl Storage {
    fn prepare(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let shown = folder.display();
        // vfs mounts nothing, so that the target folder can be deleted at any time.
        let storage =
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{shown}/root\"\nrunroot = \"{shown}/run\"\n");
        // Without these limits, podman asks for higher limits than a user may set who isn't root or is inside a
        // container. cgroupfs and the file log keep podman independent of systemd and its journal.
        let mut containers =
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\n\
            [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"
                .to_owned();
        // runc works with either version of control groups, but crun doesn't everywhere.
        if on_path("runc").is_some() {
            containers.push_str("runtime = \"runc\"\n");
        }
        for (name, content) in [
            ("storage.conf", storage.as_str()),
            ("containers.conf", &containers),
            // All images are local, so no registry is searched.
            ("registries.conf", "unqualified-search-registries = []\n"),
        ] {
            fs::write(folder.join(name), content)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn buildah(&self) -> Command {
        let mut buildah = Command::new("buildah");
        buildah
            .env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"))
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.folder.join("registries.conf"));
        buildah
    }
}

#[cfg(test)]
mod tests {
    use super::certificates_in;
    use std::path::Path;

    #[test]
    fn it_is_said_which_package_has_the_certificates() {
        let error = certificates_in(Path::new("/nonexistent")).expect_err("there are none");
        assert!(error.to_string().contains("ca-certificates"), "{error}");
    }
}
