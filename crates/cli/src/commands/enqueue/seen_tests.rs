use super::*;

fn object(key: &str, etag: &str) -> ObjectSummary {
    ObjectSummary { key: key.into(), size: 1, etag: Some(etag.into()), modified_at: None }
}

#[test]
fn what_was_announced_is_known_the_next_time_and_what_was_cut_off_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    let open = || Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
    let mut seen = open();
    seen.add(&[object("a\n\"", "1"), object("b", "1")]).expect("written");
    seen.add(&[object("b", "2"), object("c", "1")]).expect("written");
    seen.forget_all_but(|key| key != "c").expect("written");
    drop(seen);
    File::options().append(true).open(&path).and_then(|mut file| file.write_all(b"[\"d\",\"")).expect("cut");
    for _ in 0..2 {
        let mut seen = open();
        assert!(seen.holds(&object("a\n\"", "1")) && seen.holds(&object("b", "2")));
        assert!(
            ![object("b", "1"), object("c", "1"), object("d", "1")].iter().any(|other| seen.holds(other))
        );
        seen.add(&[object("e", "1")]).expect("written");
    }
    assert!(open().holds(&object("e", "1")), "what follows a line that was cut off is not lost");
}

#[test]
fn a_file_that_is_about_something_else_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    drop(Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable"));
    let refused = |path: &Path, queue: &str| match Seen::in_file(path, queue, "dir:s/") {
        Err(failure) => failure.to_string(),
        Ok(_) => panic!("{} is taken", path.display()),
    };
    assert!(refused(&path, "sqlite:other").contains("name another file"));
    assert!(refused(directory.path(), "sqlite:q").contains("is not a file"));
    assert!(refused(Path::new("/dev/zero"), "sqlite:q").contains("is not a file"));
    let text = directory.path().join("text");
    std::fs::write(&text, "my notes\n").expect("written");
    assert!(refused(&text, "sqlite:q").contains("is not one that --seen has written"));
    assert_eq!(std::fs::read(&text).expect("read"), b"my notes\n");
}

#[test]
fn a_file_of_which_a_crash_cut_off_the_first_line_is_begun_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
    seen.add(&[object("a", "1")]).expect("written");
    drop(seen);
    let whole = std::fs::read(&path).expect("read");
    let head = whole.iter().position(|&byte| byte == b'\n').expect("a line");
    for length in 0..head {
        std::fs::write(&path, &whole[..length]).expect("cut");
        let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
        assert!(!seen.holds(&object("a", "1")));
        seen.add(&[object("a", "1")]).expect("written");
        drop(seen);
        assert_eq!(std::fs::read(&path).expect("read"), whole, "after {length} bytes");
    }
}

#[test]
fn a_file_stays_in_proportion_to_the_objects_however_often_they_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    let open = || Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
    let lines = || std::fs::read_to_string(&path).expect("text").lines().count();
    let mut seen = open();
    let most = 2 * 10 + SPARE_LINES;
    for round in 0..500 {
        let objects: Vec<_> = (0..10).map(|key| object(&key.to_string(), &round.to_string())).collect();
        seen.add(&objects).expect("written");
        assert!(lines() <= most, "round {round}: {} lines", lines());
    }
    for round in 0..500 {
        seen.add(&[object(&format!("passing {round}"), "1")]).expect("written");
        seen.forget_all_but(|key| !key.starts_with("passing")).expect("written");
    }
    assert!(lines() <= most, "{} lines", lines());
    drop(seen);
    let seen = open();
    assert_eq!(seen.known.len(), 10);
    assert!((0..10).all(|key| seen.holds(&object(&key.to_string(), "499"))));
    // No temporary file is left.
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1);
}

#[test]
fn a_file_that_cannot_be_replaced_grows_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    let mut seen = Seen::in_file(&path, "sqlite:q", "dir:s/").expect("usable");
    // A rewrite creates the new file in the directory of this path, and that is missing.
    let missing = directory.path().join("missing").join("seen");
    let path_of = |seen: &mut Seen, path: &Path| seen.record.as_mut().expect("a file").path = path.to_owned();
    path_of(&mut seen, &missing);
    for round in 0..2 * SPARE_LINES {
        seen.add(&[object("a", &round.to_string())]).expect("written");
    }
    let lines = || std::fs::read_to_string(&path).expect("text").lines().count();
    assert_eq!(lines(), 2 * SPARE_LINES + 1);
    path_of(&mut seen, &path);
    for _ in 0..SPARE_LINES {
        seen.add(&[object("a", "last")]).expect("written");
    }
    assert!(lines() <= SPARE_LINES + 2, "{} lines", lines());
    assert!(seen.holds(&object("a", "last")));
}

#[test]
fn a_file_that_another_process_uses_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("seen");
    let open = || Seen::in_file(&path, "sqlite:q", "dir:s/");
    let mut seen = open().expect("usable");
    let is_refused = || open().is_err_and(|failure| failure.to_string().contains("another process uses it"));
    assert!(is_refused());
    for round in 0..2 * SPARE_LINES {
        seen.add(&[object("a", &round.to_string())]).expect("written");
    }
    assert!(is_refused(), "nor one that was replaced");
    drop(seen);
    assert!(open().is_ok());
}

#[test]
fn a_link_still_leads_to_the_file_that_was_written_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, link) = (directory.path().join("seen"), directory.path().join("link"));
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let mut seen = Seen::in_file(&link, "sqlite:q", "dir:s/").expect("usable");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("set");
    for round in 0..2 * SPARE_LINES {
        seen.add(&[object("a", &round.to_string())]).expect("written");
    }
    assert!(link.is_symlink());
    let metadata = path.metadata().expect("a file");
    assert!(metadata.len() < 64 << 10, "{} bytes", metadata.len());
    assert_eq!(metadata.mode() & 0o777, 0o640);
}
