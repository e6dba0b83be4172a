//! Rooms: the folders of a crate, of which each uses only those below it.

use crate::harness::repository;
use std::fs;
use std::path::Path;

/// The rooms of `crates/runtime`, from the bottom up.
const RUNTIME: [&str; 5] = ["model", "ports", "engine", "task", "worker"];
/// The rooms of `crates/cli`, from the bottom up.
const CLI: [&str; 4] = ["output", "settings", "wiring", "commands"];

/// Collects the lines of a folder's code, without comments, that contain one of `words`.
fn lines_with(folder: &Path, words: &[String], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            lines_with(&path, words, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let lines = code.filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
    }
}

fn lines_of(package: &str, room: &str, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    lines_with(&repository().join("crates").join(package).join("src").join(room), words, &mut found);
    found
}

#[test]
fn no_room_knows_one_above_it() {
    for (package, rooms) in [("runtime", &RUNTIME[..]), ("cli", &CLI)] {
        for (floor, room) in rooms.iter().enumerate() {
            let above: Vec<_> = rooms[floor + 1..].iter().map(|above| format!("crate::{above}::")).collect();
            assert_eq!(lines_of(package, room, &above), Vec::<String>::new());
        }
    }
    assert!(!lines_of("runtime", "worker", &["crate::task::".into()]).is_empty(), "it looks at the files");
    assert!(!lines_of("cli", "commands", &["crate::wiring::".into()]).is_empty(), "it looks at the files");
}

#[test]
fn the_model_is_plain_data() {
    assert_eq!(lines_of("runtime", "model", &["wasmtime".into(), "tokio".into()]), Vec::<String>::new());
}

#[test]
fn no_command_knows_another() {
    assert_eq!(lines_of("cli", "commands", &["crate::commands::".into()]), Vec::<String>::new());
}
