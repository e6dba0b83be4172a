//! The image processor: several renditions of each picture, a sidecar, and the settings that it refuses.

use crate::harness::{Depth, World, field, png, repository};
use serde_json::{Value, json};

const THREE: &str = r#"RENDITIONS={
    "square": {"width": 64, "height": 64, "fit": "cover", "gravity": "attention", "key": "{dir}/{stem}_{name}.{ext}"},
    "small": {"width": 120, "key": "{dir}/{stem}_{width}.{ext}"},
    "large": {"width": 480, "format": "webp", "key": "{dir}/{stem}_{width}.{ext}"}}"#;
const ONE: &str = r#"RENDITIONS={"small": {"width": 32}}"#;

#[test]
fn each_photograph_becomes_three_renditions_and_a_sidecar_that_lists_them() {
    let world = World::with_queue(&[]);
    for name in ["coffee cup.jpg", "clock.png", "retina.webp"] {
        let photograph =
            std::fs::read(repository().join("demo/photographs").join(name)).expect("a photograph");
        world.write(&format!("in/{name}"), photograph);
    }
    world.announce();
    let run = || world.run("image_processor").args(["--until-empty", "--env", THREE, "--env", "SIDECAR=yes"]);
    run().succeeds().each_ran_once(3);

    let keys = world.keys("out");
    let of_cup =
        ["coffee cup.jpg.json", "coffee cup_120.jpg", "coffee cup_480.webp", "coffee cup_square.jpg"];
    assert_eq!(keys.len(), 12, "{keys:?}");
    assert!(of_cup.iter().all(|key| keys.iter().any(|known| known == key)), "{keys:?}");

    let sidecar = sidecar(&world, "coffee cup.jpg.json");
    assert_eq!(sidecar["key"], "coffee cup.jpg");
    assert_eq!(
        (&sidecar["format"], &sidecar["frames"], &sidecar["alpha"]),
        (&json!("jpeg"), &json!(1), &json!(false))
    );
    assert_eq!((&sidecar["width"], &sidecar["height"]), (&json!(4242), &json!(2828)));
    assert_eq!(sidecar.get("location"), None, "{sidecar}");
    let outputs = sidecar["outputs"].as_array().expect("a list");
    let expected = [
        ("large", "coffee cup_480.webp", 480, 320, "webp"),
        ("small", "coffee cup_120.jpg", 120, 80, "jpeg"),
        ("square", "coffee cup_square.jpg", 64, 64, "jpeg"),
    ];
    assert_eq!(outputs.len(), expected.len());
    for (output, (name, key, width, height, format)) in outputs.iter().zip(expected) {
        let bytes = world.read(&format!("out/{key}")).len();
        let expected = json!({"name": name, "key": key, "width": width, "height": height, "bytes": bytes, "format": format});
        assert_eq!(*output, expected);
    }

    // A message may be delivered again: the outputs are the same, byte for byte.
    let contents = || keys.iter().map(|key| world.read(&format!("out/{key}"))).collect::<Vec<_>>();
    let before = contents();
    world.announce();
    run().succeeds();
    assert!(contents() == before, "the outputs differ");
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn renditions_can_be_described_in_an_object() {
    let world = World::with_queue(&[]);
    world.write("settings/renditions.toml", "[tiny]\nwidth = 8\nformat = 'png'\n");
    let grant = ["--store", "settings=dir:settings:ro"];
    let report = invoked(&world, &grant, &["RENDITIONS_OBJECT=settings:renditions.toml"]);
    assert_eq!(report["outcome"], "completed", "{report}");
    assert!(world.read("out/a.png.tiny.png").starts_with(b"\x89PNG"));
    // That the object is missing isn't the message's fault.
    let report = invoked(&world, &grant, &["RENDITIONS_OBJECT=settings:others.toml"]);
    assert_eq!(report["outcome"], "retry", "{report}");
    assert!(field(&report, "reason").contains("RENDITIONS_OBJECT is settings:others.toml"), "{report}");
}

#[test]
fn outputs_have_the_cache_control_of_their_rendition_or_else_of_the_variable() {
    let world = World::with_queue(&[]);
    let settings = [
        r#"RENDITIONS={"own": {"width": 8, "cache_control": "no-store"}, "other": {"width": 8}}"#,
        "CACHE_CONTROL=public, max-age=60",
        "SIDECAR=yes",
    ];
    let report = invoked(&world, &[], &settings);
    assert_eq!(report["outcome"], "completed", "{report}");
    for (key, expected) in [
        ("a.png.own.jpg", "no-store"),
        ("a.png.other.jpg", "public, max-age=60"),
        ("a.png.json", "public, max-age=60"),
    ] {
        let command = world.wasmrun(["invoke", "--json", "--message", &format!("head {key}")]);
        let output = command.misbehaving("dir:out:ro", "dir:in:rw").succeeds();
        let logs = output.logs_of("Guest");
        let found = field(&logs[0], "text");
        assert!(found.ends_with(&format!("Some({expected:?})")), "{key}: {found}");
    }
}

#[test]
fn a_wrong_setting_is_named_and_the_message_is_tried_again() {
    let world = World::with_queue(&[]);
    for (setting, expected) in [
        ("RENDITIONS=", "RENDITIONS and RENDITIONS_OBJECT are not set"),
        ("RENDITIONS={}", "RENDITIONS has no rendition"),
        (r#"RENDITIONS={"a": {"widht": 32}}"#, "RENDITIONS has widht = 32 in rendition \"a\""),
        (r#"RENDITIONS={"a": {"width": 0}}"#, "it must be a whole number from 1 to 16383"),
        (r#"RENDITIONS={"a": {}, "a": {}}"#, "\"a\" occurs twice"),
        (r#"RENDITIONS={"a": {"key": "{stem}"}, "b": {"key": "{stem}"}}"#, "under one key"),
        (r#"RENDITIONS={"a": {"key": "../{key}"}}"#, "leads elsewhere"),
        (r#"RENDITIONS={"a": {"key": "thumb.jpg"}}"#, "{key} or {stem}"),
        ("RENDITIONS=[a]\nwidth = [1]", "RENDITIONS is not valid TOML"),
    ] {
        let report = invoked(&world, &[], &[setting]);
        assert_eq!(report["outcome"], "retry", "{report}");
        assert!(field(&report, "reason").contains(expected), "{report}");
    }
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn a_picture_that_exceeds_a_bound_is_rejected_with_the_setting_and_leaves_no_output() {
    let world = World::with_queue(&[]);
    for (setting, picture) in [
        ("MAX_PIXELS=600", picture(30, 40)),
        ("MAX_SOURCE_SIDE=39", picture(30, 40)),
        ("MAX_RATIO=3", picture(4, 40)),
        ("MAX_FRAMES=2", gif(3)),
        ("TASK_MEMORY_MIB=16", picture(3000, 30)),
    ] {
        let large = r#"RENDITIONS={"a": {"width": 16000, "height": 16000, "fit": "fill", "enlarge": true}}"#;
        let renditions = if setting.starts_with("TASK_MEMORY") { large } else { ONE };
        world.write("in/a.png", picture);
        let report = invoke(&world, &[], &[renditions, setting]);
        assert_eq!(report["outcome"], "rejected", "{report}");
        let name = setting.split('=').next().expect("a name");
        assert!(field(&report, "reason").ends_with(&format!("by {name}")), "{report}");
    }
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn no_output_leads_out_of_its_folder() {
    let world = World::with_queue(&[]);
    world.write("in/a/...png", picture(8, 8));
    let report = invoke(&world, &[], &[r#"RENDITIONS={"r": {"key": "{dir}/{stem}/{name}.{ext}"}}"#]);
    assert_eq!(report["outcome"], "rejected", "{report}");
    assert!(field(&report, "reason").contains("\"a/../r.jpg\""), "{report}");
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn nothing_of_a_picture_but_its_pixels_is_passed_on_unless_asked_for() {
    let world = World::with_queue(&[]);
    world.write("in/a.tiff", tiff());
    let holds = |key: &str, text: &str| {
        world.read(&format!("out/{key}")).windows(text.len()).any(|part| part == text.as_bytes())
    };
    let report = invoke(&world, &[], &[ONE, "SIDECAR=yes"]);
    assert_eq!(report["outcome"], "completed", "{report}");
    for text in ["Maker", "Model", "Somebody", "All rights"] {
        assert!(!holds("a.tiff.small.jpg", text) && !holds("a.tiff.json", text), "{text}");
    }
    let document = sidecar(&world, "a.tiff.json");
    for name in ["camera", "location", "copyright", "creator"] {
        assert_eq!(document.get(name), None, "{document}");
    }

    let all = ["SIDECAR=yes", "SIDECAR_EXIF=yes", "SIDECAR_GPS=yes", "KEEP_RIGHTS=yes"];
    let report = invoke(&world, &[], &[&[ONE][..], &all[..]].concat());
    assert_eq!(report["outcome"], "completed", "{report}");
    let document = sidecar(&world, "a.tiff.json");
    assert_eq!(document["camera"], json!({"maker": "Maker", "model": "Model"}));
    assert_eq!(document["location"], json!({"latitude": 52.5, "longitude": -13.25}));
    assert_eq!((&document["creator"], &document["copyright"]), (&json!("Somebody"), &json!("All rights")));
    assert!(holds("a.tiff.small.jpg", "Somebody") && holds("a.tiff.small.jpg", "All rights"));
    assert!(!holds("a.tiff.small.jpg", "Maker") && !holds("a.tiff.small.jpg", "Model"));
}

/// Runs a task for a small picture with these settings. Returns its report.
#[track_caller]
fn invoked(world: &World, arguments: &[&str], settings: &[&str]) -> Value {
    world.write("in/a.png", picture(30, 40));
    invoke(world, arguments, settings)
}

/// Runs a task for the only object of `in`.
#[track_caller]
fn invoke(world: &World, arguments: &[&str], settings: &[&str]) -> Value {
    world.announce();
    let (_, body) = world.messages().pop().expect("a message");
    let settings = settings.iter().flat_map(|setting| ["--env", *setting]);
    world.invoke("image_processor", &body).args(arguments).args(settings).ends().json()
}

fn sidecar(world: &World, key: &str) -> Value {
    serde_json::from_slice(&world.read(&format!("out/{key}"))).expect("JSON")
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    png::random(&mut fastrand::Rng::with_seed(7), width, height)
}

/// A GIF of one pixel with this number of frames.
fn gif(frames: usize) -> Vec<u8> {
    // The screen's size, a palette of two colours, and each frame: its place, and the codes clear, 0, end.
    let mut file = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..frames {
        file.extend(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    file.push(b';');
    file
}

/// A TIFF of one gray pixel with a camera, a place, a copyright and an artist. Source: TIFF 6.0, section 2; EXIF 2.32,
/// 4.6.6.
fn tiff() -> Vec<u8> {
    let short = |tag: u16, value: u32| (tag, 3_u16, 1_u32, value.to_le_bytes().to_vec());
    let text = |tag: u16, text: &str| {
        let bytes = [text.as_bytes(), b"\0"].concat();
        (tag, 2, u32::try_from(bytes.len()).expect("a short text"), bytes)
    };
    let degrees = |tag: u16, degrees: u32, minutes: u32| {
        let numbers = [degrees, 1, minutes, 1, 0, 1];
        (tag, 5, 3, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    };
    let place = [text(1, "N"), degrees(2, 52, 30), text(3, "W"), degrees(4, 13, 15)];
    // The pixel follows the header, and the directory of the place follows the pixel.
    let (pixel_at, place_at) = (8, 10);
    let place = directory(place_at, &place);
    let first_at = place_at + u32::try_from(place.len()).expect("a small directory");
    let first = [
        short(256, 1),
        short(257, 1),
        short(258, 8),
        short(259, 1),
        short(262, 1),
        text(271, "Maker"),
        text(272, "Model"),
        short(273, pixel_at),
        short(277, 1),
        short(278, 1),
        short(279, 1),
        text(315, "Somebody"),
        text(33_432, "All rights"),
        (34_853, 4, 1, place_at.to_le_bytes().to_vec()),
    ];
    let mut file = b"II*\0".to_vec();
    file.extend(first_at.to_le_bytes());
    file.extend([200, 0]);
    file.extend(place);
    file.extend(directory(first_at, &first));
    file
}

/// A directory of a TIFF that begins at `at`, with the values that don't fit into it.
fn directory(at: u32, entries: &[(u16, u16, u32, Vec<u8>)]) -> Vec<u8> {
    let count = u16::try_from(entries.len()).expect("few entries");
    let mut directory = count.to_le_bytes().to_vec();
    let mut values = Vec::new();
    let values_at = at + 2 + 12 * u32::from(count) + 4;
    for (tag, kind, length, value) in entries {
        directory.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        directory.extend(length.to_le_bytes());
        if value.len() <= 4 {
            directory.extend(value);
            directory.resize(directory.len() + 4 - value.len(), 0);
        } else {
            let offset = values_at + u32::try_from(values.len()).expect("few values");
            directory.extend(offset.to_le_bytes());
            values.extend(value);
            values.resize(values.len().next_multiple_of(2), 0);
        }
    }
    directory.extend([0; 4]);
    directory.extend(values);
    directory
}
