//! Keys, links and files that must not leave the directory, make a call hang, or be listed.

use super::*;
use proptest::prelude::*;
use rustix::fs::{FileType, Mode};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

#[tokio::test]
async fn links_and_special_files_are_neither_followed_nor_listed() {
    let world = World::new();
    std::fs::create_dir(world.dir.path().join("outside")).unwrap();
    let secret = world.dir.path().join("outside/secret");
    std::fs::write(&secret, "secret").unwrap();
    world.place("real/x", "1");
    symlink(&secret, world.path("link")).unwrap();
    symlink("../outside/secret", world.path("relative")).unwrap();
    symlink("real/x", world.path("inside")).unwrap();
    symlink("/no/such/file", world.path("dangling")).unwrap();
    symlink(world.dir.path().join("outside"), world.path("dir")).unwrap();
    symlink("real", world.path("alias")).unwrap();
    let here = std::fs::File::open(world.path("")).unwrap();
    rustix::fs::mknodat(&here, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(world.path("socket")).unwrap();
    let mut special =
        vec!["link", "relative", "inside", "dangling", "dir/secret", "alias/x", "pipe", "socket"];
    // Only root can create a device.
    if rustix::fs::mknodat(&here, "device", FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 3))
        .is_ok()
    {
        special.push("device");
    }
    for key in special {
        assert!(matches!(get(&world.store, key).await, Err(StoreError::Invalid(_))), "{key} is not read");
        assert!(
            matches!(world.store.head(key, None).await, Err(StoreError::Invalid(_))),
            "{key} is not looked at"
        );
        assert!(
            matches!(put(&world.store, key, "x").await, Err(StoreError::Invalid(_))),
            "{key} is not written"
        );
        assert!(matches!(world.store.delete(key).await, Err(StoreError::Invalid(_))), "{key} is not deleted");
    }
    assert!(matches!(put(&world.store, "dir/new", "x").await, Err(StoreError::Invalid(_))));
    assert_eq!(keys(&world.store, "").await, ["real/x"]);
    assert!(keys(&world.store, "dir/").await.is_empty());
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(world.dir.path().join("outside")).unwrap().count(), 1);
    assert_eq!(world.temporaries(), 0);
}

#[tokio::test]
async fn a_linked_folder_of_the_stores_own_is_not_followed() {
    let world = World::new();
    std::fs::create_dir(world.dir.path().join("outside")).unwrap();
    symlink("../outside", world.path(".wasmrun")).unwrap();
    assert!(put(&world.store, "x", "1").await.is_err());
    assert_eq!(std::fs::read_dir(world.dir.path().join("outside")).unwrap().count(), 0);
}

#[tokio::test]
async fn names_that_are_no_keys_are_not_listed() {
    let world = World::new();
    std::fs::write(world.path("").join(std::ffi::OsStr::from_bytes(b"\xFF")), "1").unwrap();
    world.place(".wasmrun/tmp/left", "1");
    world.place(".WASMRUN/x", "1");
    world.place("a/.wasmrun/x", "1");
    assert_eq!(keys(&world.store, "").await, ["a/.wasmrun/x"]);
    for prefix in [".wasmrun", ".wasmrun/", ".wasmrun/tmp/", "../", "/", "a//", "a/./"] {
        assert!(keys(&world.store, prefix).await.is_empty(), "{prefix}");
    }
}

#[tokio::test]
async fn a_path_deeper_than_the_system_takes_at_once_works() {
    let world = World::new();
    let key = "d/".repeat(500) + "x";
    put(&world.store, &key, "deep").await.unwrap();
    assert_eq!(get(&world.store, &key).await.unwrap(), "deep");
    assert_eq!(keys(&world.store, "").await, std::slice::from_ref(&key));
    world.store.delete(&key).await.unwrap();
    assert!(!world.path("d").exists());
}

fn hostile_key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just(".wasmrun".to_owned()),
        Just("tmp".to_owned()),
        Just("lock".to_owned()),
        Just("\\".to_owned()),
        Just("x".repeat(255)),
        Just("x".repeat(256)),
        "\\PC{0,4}",
        any::<String>(),
    ];
    proptest::collection::vec(segment, 0..6).prop_map(|segments| segments.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_key_is_accepted_its_file_is_inside(key in hostile_key()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            match put(&world.store, &key, "content").await {
                Ok(info) => {
                    prop_assert_eq!(&info.key, &key);
                    let file = world.path(&key).canonicalize().unwrap();
                    prop_assert!(file.starts_with(world.store.path()));
                    prop_assert!(!file.starts_with(world.store.path().join(".wasmrun")));
                    prop_assert_eq!(get(&world.store, &key).await.unwrap(), "content");
                    prop_assert_eq!(keys(&world.store, "").await, [key]);
                }
                Err(error) => {
                    prop_assert!(matches!(error, StoreError::Invalid(_)), "{:?}", error);
                    prop_assert!(keys(&world.store, "").await.is_empty());
                }
            }
            prop_assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 1);
            Ok(())
        })?;
    }
}
