//! The targets that guests are built for, and a check whether a toolchain supports them.

use std::{fs, path::Path};

/// The target that plain cargo builds guests for.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";
/// The target that `cargo component` builds for before it adapts the module.
pub(crate) const MODULE_TARGET: &str = "wasm32-wasip1";

/// Whether a target's library folder holds a standard library.
pub(crate) fn has_std(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libstd-") && name.ends_with(".rlib")
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::has_std;
    use std::{fs, process};

    #[test]
    fn a_folder_without_a_standard_library_is_not_a_target() {
        let folder = std::env::temp_dir().join(format!("xtask-has-std-{}", process::id()));
        assert!(!has_std(&folder));
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join("libcore-1.rlib"), "").expect("file");
        assert!(!has_std(&folder));
        fs::write(folder.join("libstd-1.rlib"), "").expect("file");
        assert!(has_std(&folder));
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
