//! Builds a Rust toolchain for Wasm guests from Debian packages, for machines where rustup can't download one.
//!
//! Debian packages a current rustc and its library's source, but no standard library for WASI. This module downloads
//! the packages with apt into its own folder, unpacks them there, compiles the standard library, and lays all of it out
//! as a sysroot. It doesn't change the system and doesn't need root: apt uses private lists and a private cache, and
//! the programs run from where they were unpacked.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use crate::{
    apt::Apt,
    command::{on_path, quiet},
    places::remove,
    targets::{COMPONENT_TARGET, MODULE_TARGET, has_std},
};

/// File that is written last into a finished sysroot. Its first line names the layout.
const STAMP: &str = "wasmrun-xtask";
/// Must change with the layout, so that toolchains with an older layout are built again.
const LAYOUT: &str = "layout 1";

/// Whether a finished toolchain of the current layout is there.
pub(crate) fn is_complete(sysroot: &Path) -> bool {
    fs::read_to_string(sysroot.join(STAMP)).is_ok_and(|stamp| stamp.lines().next() == Some(LAYOUT))
}

/// Distinguishes this toolchain from any other, including one of the same versions that was built at another time. Code
/// compiled with one standard library doesn't fit another.
pub(crate) fn identity(sysroot: &Path) -> Result<String> {
    fs::read_to_string(sysroot.join(STAMP)).context("the guest toolchain has gone; run this again")
}

/// Builds the toolchain in a folder next to `sysroot` and moves it there when it is finished, so that an interrupted
/// build leaves nothing that looks like a toolchain.
///
/// # Errors
///
/// Fails if the system isn't a Debian with the packages, if they can't be downloaded, or if the library doesn't
/// compile.
pub(crate) fn build(cache: &Path, sysroot: &Path) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if on_path(program).is_none() {
            bail!("there is no {program} to download Debian's Rust packages with");
        }
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("cannot create a lock file")?;
    lock.lock().context("cannot lock the cache folder")?;
    if is_complete(sysroot) {
        return Ok(()); // Another run built it while this one waited.
    }
    let start = Instant::now();
    eprintln!(
        "Building a toolchain for Wasm guests in {} (about two minutes on two cores, once; the system is not touched).",
        sysroot.display()
    );
    let partial = sysroot.with_extension("partial");
    let downloads = cache.join("apt");
    for left_by_an_interrupted_run in [&partial, &downloads] {
        remove(left_by_an_interrupted_run)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let packages = Apt::new(&downloads)?.unpack(&partial.join("debian"))?;
    let layout = Layout::make(&partial)?;
    layout.compile_std(&partial.join("build"))?;
    remove(&partial.join("build"))?;
    // Two thirds of the size is source code that is no longer needed.
    remove(&partial.join("debian/usr/src"))?;
    let built_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let stamp = format!("{LAYOUT}\nbuilt {built_at}\n{}\n", packages.join("\n"));
    fs::write(partial.join(STAMP), stamp)?;
    remove(sysroot)?;
    fs::rename(&partial, sysroot)
        .with_context(|| format!("cannot move the toolchain to {}", sysroot.display()))?;
    remove(&downloads)?;
    eprintln!("The toolchain is ready after {} s.", start.elapsed().as_secs());
    Ok(())
}

/// The sysroot: links to the unpacked packages, scripts that start their programs, and folders for the targets.
///
/// Links are relative and scripts find their own location, so that the folder can be moved.
struct Layout {
    root: PathBuf,
}

impl Layout {
    fn make(root: &Path) -> Result<Self> {
        let layout = Self { root: root.to_owned() };
        let libraries = layout.libraries()?;
        let host = layout.host()?;
        let bin = root.join("bin");
        fs::create_dir_all(&bin)?;
        for (program, set_up) in [
            ("rustc", r#"set -- --sysroot "$root" "$@""#),
            ("rustdoc", r#"set -- --sysroot "$root" "$@""#),
            ("cargo", r#"export RUSTC="${RUSTC:-$root/bin/rustc}" RUSTDOC="${RUSTDOC:-$root/bin/rustdoc}""#),
        ] {
            write_program(&bin.join(program), &script(program, &libraries, set_up))?;
        }
        let rustlib = root.join("lib/rustlib");
        let host_bin = rustlib.join(&host).join("bin");
        fs::create_dir_all(host_bin.join("gcc-ld"))?;
        symlink("../../debian/usr/lib/rustlib/src", rustlib.join("src"))?;
        symlink(format!("../../../debian/usr/lib/rustlib/{host}/lib"), rustlib.join(&host).join("lib"))?;
        let linkers = layout.linkers()?;
        symlink(format!("../../../../{linkers}/lld"), host_bin.join("rust-lld"))?;
        symlink(format!("../../../../../{linkers}/wasm-ld"), host_bin.join("gcc-ld/wasm-ld"))?;
        fs::copy(component_linker(&host)?, host_bin.join("wasm-component-ld"))
            .context("cannot copy wasm-component-ld")?;
        Ok(layout)
    }

    /// The folder of the packages' shared libraries, relative to the sysroot. Its name depends on the architecture.
    fn libraries(&self) -> Result<String> {
        self.find("debian/usr/lib", "-linux-").context("the packages hold no shared libraries")
    }

    /// The folder of LLVM's linkers, relative to the sysroot.
    fn linkers(&self) -> Result<String> {
        let llvm = self.find("debian/usr/lib", "llvm-").context("the packages hold no LLVM")?;
        Ok(format!("{llvm}/bin"))
    }

    /// The target of the packages' own standard library.
    fn host(&self) -> Result<String> {
        let folder = self
            .find("debian/usr/lib/rustlib", "-linux-")
            .context("the packages hold no standard library")?;
        Ok(folder.rsplit('/').next().unwrap_or(&folder).to_owned())
    }

    fn find(&self, folder: &str, part: &str) -> Option<String> {
        fs::read_dir(self.root.join(folder)).ok()?.find_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.contains(part).then(|| format!("{folder}/{name}"))
        })
    }

    /// Compiles the standard library for both targets and puts it where rustc looks for it.
    fn compile_std(&self, folder: &Path) -> Result<()> {
        let package = folder.join("empty");
        fs::create_dir_all(package.join("src"))?;
        fs::write(package.join("src/lib.rs"), "")?;
        fs::write(
            package.join("Cargo.toml"),
            "[package]\nname = \"empty\"\nedition = \"2024\"\n[workspace]\n",
        )?;
        let rustc = self.root.join("bin/rustc");
        let version = quiet(Command::new(&rustc).arg("--version"))?;
        let flags = [
            // Without this, no guest can be built with `lto = true`.
            "-Cembed-bitcode=yes".to_owned(),
            // Panic messages name the library's files with the same paths as rustup's toolchains, not with the path of
            // a home folder.
            format!(
                "--remap-path-prefix={}=/rustc/{}",
                self.root.join("lib/rustlib/src/rust").display(),
                version.split_whitespace().nth(1).unwrap_or("unknown")
            ),
        ];
        for target in [MODULE_TARGET, COMPONENT_TARGET] {
            eprintln!("  Compiling the standard library for {target} with {} …", version.trim());
            quiet(
                Command::new(self.root.join("bin/cargo"))
                    .current_dir(&package)
                    .args(["build", "--release", "--target", target])
                    .arg("-Zbuild-std=std,panic_abort,panic_unwind")
                    .env("CARGO_TARGET_DIR", folder.join("target"))
                    .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
                    .env("RUSTC", &rustc)
                    // Building the standard library is a feature of nightly compilers.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env_remove("RUSTDOC")
                    .env_remove("RUSTC_WRAPPER"),
            )
            .with_context(|| format!("cannot compile the standard library for {target}"))?;
            self.install(target, &folder.join("target").join(target).join("release/deps"))?;
        }
        Ok(())
    }

    fn install(&self, target: &str, built: &Path) -> Result<()> {
        let library = self.root.join("lib/rustlib").join(target).join("lib");
        let c_library = library.join("self-contained");
        fs::create_dir_all(&c_library)?;
        for entry in fs::read_dir(built)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if text.ends_with(".rlib") && !text.starts_with("libempty-") {
                fs::rename(entry.path(), library.join(&name))?;
            }
        }
        if !has_std(&library) {
            bail!("compiling the standard library for {target} left no library");
        }
        for file in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
            fs::copy(self.root.join("debian/usr/lib/wasm32-wasi").join(file), c_library.join(file))
                .with_context(|| format!("the package wasi-libc holds no {file}"))?;
        }
        Ok(())
    }
}

/// Finds the linker that makes a component from a module. rustup's toolchains include it; Debian leaves it out.
fn component_linker(host: &str) -> Result<PathBuf> {
    const PROGRAM: &str = "wasm-component-ld";
    let sysroot = quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let with_rustc = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin").join(PROGRAM);
    if with_rustc.is_file() {
        return Ok(with_rustc);
    }
    on_path(PROGRAM).with_context(|| {
        format!("neither rustc nor PATH has {PROGRAM}; install it with `cargo install {PROGRAM} --locked`")
    })
}

/// A script that starts an unpacked program with the libraries that were unpacked next to it.
fn script(program: &str, libraries: &str, set_up: &str) -> String {
    format!(
        r#"#!/bin/sh
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd -P) || exit
export LD_LIBRARY_PATH="$root/{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
{set_up}
exec "$root/debian/usr/bin/{program}" "$@"
"#
    )
}

pub(crate) fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn a_script_finds_its_own_place() {
        let text = script("rustc", "debian/usr/lib/x", "set -- --version");
        assert!(
            text.contains(r#"LD_LIBRARY_PATH="$root/debian/usr/lib/x${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}""#)
        );
        assert!(text.ends_with("exec \"$root/debian/usr/bin/rustc\" \"$@\"\n"), "{text}");
    }
}
