//! Builds the guests and collects their components where tests, the demo and benchmarks look for them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    command,
    places::{Places, remove},
    targets::{COMPONENT_TARGET, MODULE_TARGET},
    toolchain::Toolchain,
    tools::CARGO_COMPONENT,
};

/// The guests that users copy, which must build in every way that users build.
const EXAMPLES: &str = "guest-examples";
/// Components that misbehave, for the tests.
const TEST_GUESTS: &str = "tests/guests";
/// The page that shows a whole guest, and the section with its crate.
const FIRST_GUEST: (&str, &str) = ("docs/src/getting-started/first-guest.md", "## The crate");

/// Where plain cargo builds, relative to the target folder.
const BUILD: &str = "guest-build";

/// The profiles of the examples: what users get, and what compiles quickly.
const SHIPPED: &str = "release";
const QUICK: &str = "demo";

/// The ways to build the guests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kinds {
    /// With plain cargo.
    Cargo,
    /// With plain cargo, and the examples also with `cargo component`.
    CargoAndCargoComponent,
}

/// Sets up what is missing and builds all guests.
///
/// # Errors
///
/// Fails if no toolchain is available or a guest doesn't compile.
pub(crate) fn build(places: &Places, kinds: Kinds) -> Result<()> {
    let targets: &[&str] = match kinds {
        Kinds::Cargo => &[COMPONENT_TARGET],
        Kinds::CargoAndCargoComponent => &[COMPONENT_TARGET, MODULE_TARGET],
    };
    let toolchain = Toolchain::ready(places, targets)?;
    let target = target_of(&toolchain, places.target.join(BUILD))?;
    let first = first_guest(places)?;
    for folder in [&places.root.join(EXAMPLES), &places.root.join(TEST_GUESTS), &first] {
        build_folder(places, folder, plain(&toolchain, SHIPPED), &target)?;
    }
    collect(&built(&target, COMPONENT_TARGET, SHIPPED), &places.guests())?;

    if kinds == Kinds::CargoAndCargoComponent {
        let component = CARGO_COMPONENT.ready(places)?;
        let target = target_of(&toolchain, places.target.join("guest-build-component"))?;
        for folder in [&places.root.join(EXAMPLES), &first] {
            let mut cargo = toolchain.command(&component);
            cargo.args(["component", "build", "--release", "--target", MODULE_TARGET]);
            build_folder(places, folder, cargo, &target)?;
        }
        collect(&built(&target, MODULE_TARGET, SHIPPED), &places.guests().join("component"))?;
    }
    Ok(())
}

/// Sets up what is missing, builds one of the examples, and returns the folder with its component. With `quick`, compiles
/// faster to a slower component, into that folder.
///
/// # Errors
///
/// Fails if no toolchain is available or the guest doesn't compile.
pub(crate) fn build_example(places: &Places, name: &str, quick: Option<PathBuf>) -> Result<PathBuf> {
    let profile = if quick.is_some() { QUICK } else { SHIPPED };
    let components = quick.unwrap_or_else(|| places.guests());
    let toolchain = Toolchain::ready(places, &[COMPONENT_TARGET])?;
    let target = target_of(&toolchain, places.target.join(BUILD))?;
    let mut cargo = plain(&toolchain, profile);
    // The program is built at the same time, and shows its progress.
    cargo.args(["--quiet", "--package", name]);
    build_folder(places, &places.root.join(EXAMPLES), cargo, &target)?;
    collect(&built(&target, COMPONENT_TARGET, profile), &components)?;
    Ok(components)
}

fn plain(toolchain: &Toolchain, profile: &str) -> Command {
    let mut cargo = toolchain.cargo();
    cargo.args(["build", "--profile", profile, "--target", COMPONENT_TARGET]);
    cargo
}

/// Empties a target folder that another toolchain filled. Cargo does so by itself if the compiler's version differs. It
/// doesn't notice a standard library that was rebuilt, and then fails with "can't find crate".
fn target_of(toolchain: &Toolchain, folder: PathBuf) -> Result<PathBuf> {
    let record = folder.join("toolchain");
    let identity = toolchain.identity()?;
    if !fs::read_to_string(&record).is_ok_and(|recorded| recorded == identity) {
        remove(&folder)?;
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&record, identity))
            .with_context(|| format!("cannot write {}", record.display()))?;
    }
    Ok(folder)
}

fn built(target: &Path, triple: &str, profile: &str) -> PathBuf {
    target.join(triple).join(profile)
}

/// Writes the crate that the page shows, next to a folder `wasmrun` that links to this repository, as the page's
/// manifest expects.
fn first_guest(places: &Places) -> Result<PathBuf> {
    let (page, heading) = FIRST_GUEST;
    let text = fs::read_to_string(places.root.join(page)).with_context(|| format!("cannot read {page}"))?;
    let beside = places.target.join("first-guest");
    let folder = beside.join("shout");
    fs::create_dir_all(folder.join("src"))?;
    let repository = beside.join("wasmrun");
    if !fs::read_link(&repository).is_ok_and(|linked| linked == places.root) {
        remove(&repository)?;
        symlink(&places.root, &repository)?;
    }
    for (language, file) in [("toml", "Cargo.toml"), ("rust", "src/lib.rs")] {
        let block = fenced(&text, heading, language)
            .with_context(|| format!("{page} has no block of {language} in {heading:?}"))?;
        fs::write(folder.join(file), block)?;
    }
    // Use the versions of the other guests, so that cargo doesn't need to download others.
    fs::copy(places.root.join(EXAMPLES).join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(folder)
}

/// The first fenced block of this language in a section of a document.
fn fenced<'a>(document: &'a str, heading: &str, language: &str) -> Option<&'a str> {
    let (_, section) = document.split_once(&format!("\n{heading}\n"))?;
    let section = section.split("\n## ").next()?;
    let (_, block) = section.split_once(&format!("\n```{language}\n"))?;
    block.split("```").next()
}

fn build_folder(places: &Places, folder: &Path, mut cargo: Command, target: &Path) -> Result<()> {
    if !has_packages(folder) {
        return Ok(());
    }
    // The lock file of a crate outside the repository has entries that it doesn't need, which cargo would have to
    // remove.
    if folder.starts_with(&places.root)
        && !folder.starts_with(&places.target)
        && folder.join("Cargo.lock").is_file()
    {
        cargo.arg("--locked");
    }
    let name = places.typed(folder).display().to_string();
    eprintln!("Building {name} …");
    let status = cargo
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .status()
        .with_context(|| format!("cannot run {}", command::typed(&cargo)))?;
    if !status.success() {
        bail!("the guests in {name} do not build");
    }
    Ok(())
}

/// Whether the workspace has members. Cargo refuses to build a workspace without any.
fn has_packages(workspace: &Path) -> bool {
    let Ok(manifest) = fs::read_to_string(workspace.join("Cargo.toml")) else {
        return false;
    };
    let is_package = manifest.lines().any(|line| line.trim() == "[package]");
    is_package
        || fs::read_dir(workspace).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.path().join("Cargo.toml").is_file()))
        })
}

/// Copies the components in `from` that differ from those in `to`.
fn collect(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(()); // Nothing was built yet.
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let path = entry?.path();
        let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|e| e == "wasm")) else {
            continue;
        };
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let copy = to.join(name);
        if !is_component(&bytes) || fs::read(&copy).is_ok_and(|old| old == bytes) {
            continue;
        }
        // Replace the file atomically, in case a worker is just starting with it.
        let partial = copy.with_extension("partial");
        fs::write(&partial, &bytes)
            .and_then(|()| fs::rename(&partial, &copy))
            .with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}

/// Whether these bytes are a component. Its preamble differs from a module's in the layer.
/// <https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>
fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

#[cfg(test)]
mod tests {
    use super::{collect, fenced, has_packages, is_component};
    use std::{env, fs, path::PathBuf, process};

    fn folder(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("xtask-{name}-{}", process::id()));
        fs::create_dir_all(folder.join("member")).expect("folder");
        folder
    }

    #[test]
    fn a_workspace_without_members_is_left_out() {
        let folder = folder("members");
        assert!(!has_packages(&folder));
        fs::write(folder.join("Cargo.toml"), "[workspace]\nmembers = []\n").expect("file");
        assert!(!has_packages(&folder));
        fs::write(folder.join("member/Cargo.toml"), "").expect("file");
        assert!(has_packages(&folder));
        fs::remove_dir_all(folder).expect("clean up");
    }

    #[test]
    fn a_block_is_found_in_its_own_section_alone() {
        let document = "# A\n\n```toml\n1\n```\n\n## B\n\n```toml\n2\n```\n\n## C\n\n```rust\n3\n```\n";
        assert_eq!(fenced(document, "## B", "toml"), Some("2\n"));
        assert_eq!(fenced(document, "## B", "rust"), None);
        assert_eq!(fenced(document, "## D", "toml"), None);
    }

    #[test]
    fn only_components_are_collected() {
        let (component, module) = (b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0");
        assert!(is_component(component));
        assert!(!is_component(module));
        assert!(!is_component(b"\0asm"));

        let folder = folder("collect");
        fs::write(folder.join("good.wasm"), component).expect("file");
        fs::write(folder.join("module.wasm"), module).expect("file");
        let to = folder.join("guests");
        collect(&folder, &to).expect("collect");
        assert_eq!(fs::read(to.join("good.wasm")).expect("copy"), component);
        assert!(!to.join("module.wasm").exists());
        fs::remove_dir_all(folder).expect("clean up");
    }
}
