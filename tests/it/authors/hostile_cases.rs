//! Cases that try to read other files, or too much.

use super::{fails, only, project, test};
use crate::harness::field;
use std::fs;
use std::os::unix::fs::symlink;

const SECRET: &str = "the secret of the host";

/// A bad case fails alone, and the others run.
#[test]
fn a_case_reads_no_file_outside_its_directory() {
    let world = project(&[("good", "message = 'ok'"), ("up", "message-file = '../../secret'")]);
    world.write("secret", SECRET);
    let secret = world.path("secret");
    world.write("cases/absolute/case.toml", format!("message-file = {secret:?}"));
    world.write("cases/link/case.toml", "message-file = 'message.txt'");
    symlink(&secret, world.path("cases/link/message.txt")).expect("linked");
    world.write("cases/given/case.toml", "");
    fs::create_dir_all(world.path("cases/given/given/input")).expect("created");
    symlink(&secret, world.path("cases/given/given/input/x")).expect("linked");
    world.write("cases/folder/case.toml", "");
    fs::create_dir_all(world.path("cases/folder/given")).expect("created");
    symlink("/etc", world.path("cases/folder/given/input")).expect("linked");
    symlink("/etc", world.path("cases/whole")).expect("linked");
    let output = fails(&world, &["ok      good", "1 passed, 6 failed"]);
    let says = |text: &str| output.stdout.iter().filter(|line| line.contains(text)).count();
    assert_eq!((says("leads out of the case"), says("is a symbolic link")), (2, 4), "{output}");
    assert!(!output.to_string().contains(SECRET), "{output}");
}

#[test]
fn an_update_writes_to_no_file_outside_its_directory() {
    let world = project(&[("put", "message = 'put note.txt done'")]);
    world.write("secret", SECRET);
    fs::create_dir_all(world.path("cases/put/expected")).expect("created");
    symlink(world.path(""), world.path("cases/put/expected/output")).expect("linked");
    test(&world).arg("--update").ends().exited_with(1);
    assert!(!world.path("note.txt").exists());
    // Keys that no file can have.
    fs::remove_file(world.path("cases/put/expected/output")).expect("removed");
    for key in ["a//b", "./x", "a/./b"] {
        world.write("cases/put/case.toml", format!("message = 'put {key} done'"));
        let output = test(&world).arg("--update").ends().exited_with(1);
        assert!(output.to_string().contains("no file can hold the object"), "{key}: {output}");
    }
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let world = project(&[("case", "")]);
    world.write("cases/case/case.toml", vec![b'#'; (1 << 20) + 1]);
    fails(&world, &["it is larger than 1.0 MiB"]);
    world.write("cases/case/case.toml", "message-file = 'body'");
    world.write("cases/case/body", vec![b'x'; (1 << 20) + 1]);
    fails(&world, &["it is larger than 1.0 MiB"]);
    world.write("cases/case/case.toml", "message = 'ok'\n[expect]\nreason = { matches = '(x{1000}){1000}' }");
    fails(&world, &["is no regular expression, or too large a one"]);
    world.write("cases/case/case.toml", "message = 'ok'");
    let large = world.path("cases/case/given/input/large");
    fs::create_dir_all(large.parent().expect("a directory")).expect("created");
    let file = fs::File::create(&large).expect("created");
    file.set_len((256 << 20) + 1).expect("a sparse file");
    fails(&world, &["cannot use the object large: it is larger than 256.0 MiB"]);
    fs::remove_file(large).expect("removed");
    for number in 0..1_000 {
        world.create_dir(&format!("cases/c{number}"));
    }
    test(&world).fails_with(2, "there are more than 1000 cases");
}

/// What a guest writes stays in memory, so it is bounded; what it logs moves no cursor.
#[test]
fn a_hostile_guest_is_bounded_and_shown_as_text() {
    let world = project(&[("case", "message = 'write-bytes 300000000 x'")]);
    let case = only(&world);
    assert_eq!((field(&case, "outcome"), field(&case, "reason")), ("limit-exceeded", "write-size"), "{case}");
    world.write("cases/case/case.toml", "message = 'get x'\n[expect]\noutcome = 'rejected'");
    world.write("cases/case/given/input/x", "\u{1b}[2J\u{202e}evil");
    let output = fails(&world, &["\\u{1b}[2J\\u{202e}evil"]);
    assert!(!output.to_string().contains('\u{1b}'), "{output}");
}
