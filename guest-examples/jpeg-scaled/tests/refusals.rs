//! What isn't decoded says why: not supported, cut short, damaged, or too large.

mod common;

use common::writer::{Picture, Scan};
use jpeg_scaled::{Chroma, Error, Header, Limits, Options, Scale, Unsupported, decode};

const PHOTOGRAPH: &[(usize, usize)] = &[(2, 2), (1, 1), (1, 1)];

fn options(scale: Scale) -> Options {
    Options { scale, ..Options::default() }
}

fn refused(file: &[u8]) -> Error {
    let error = decode(file, &Options::default()).expect_err("it is refused");
    for scale in Scale::ALL {
        assert_eq!(decode(file, &options(scale)).as_ref(), Err(&error), "{scale:?}");
    }
    error
}

fn unsupported(file: &[u8]) -> Unsupported {
    match (refused(file), Header::read(file)) {
        (Error::Unsupported(feature), Err(error)) => {
            assert_eq!(error, Error::Unsupported(feature));
            feature
        }
        (error, header) => panic!("{error:?}, {header:?}"),
    }
}

fn why(file: &[u8]) -> &'static str {
    match refused(file) {
        Error::Damaged { why, at } if at < file.len() => why,
        error => panic!("{error:?}"),
    }
}

fn progressive() -> Picture {
    let mut picture = Picture::random(2, (50, 40), PHOTOGRAPH);
    picture.sof = 0xc2;
    picture.scans = vec![
        Scan(vec![0, 1, 2], 0, 0, 0, 1),
        Scan(vec![0], 1, 40, 0, 1),
        Scan(vec![0], 41, 63, 0, 0),
        Scan(vec![0, 1, 2], 0, 0, 1, 0),
        Scan(vec![0], 1, 40, 1, 0),
    ];
    picture
}

/// The offset of a marker with its segment.
fn marker_at(file: &[u8], marker: u8) -> usize {
    file.windows(2).position(|bytes| bytes == [0xff, marker]).expect("the file has it")
}

#[test]
fn other_processes_are_named() {
    let with = |sof| Picture { sof, ..Picture::random(1, (16, 16), PHOTOGRAPH) }.write();
    for (sof, feature) in [
        (0xc3, Unsupported::Lossless),
        (0xc5, Unsupported::Hierarchical),
        (0xc6, Unsupported::Hierarchical),
        (0xc7, Unsupported::Hierarchical),
        (0xde, Unsupported::Hierarchical),
        (0xc9, Unsupported::Arithmetic),
        (0xca, Unsupported::Arithmetic),
        (0xcb, Unsupported::Arithmetic),
        (0xcc, Unsupported::Arithmetic),
        (0xcd, Unsupported::Arithmetic),
        (0xf7, Unsupported::Lossless),
    ] {
        assert_eq!(unsupported(&with(sof)), feature, "{sof:x}");
    }
    assert_eq!(Error::Unsupported(Unsupported::Lossless).to_string(), "lossless JPEG is not supported");
}

#[test]
fn other_samples_and_components_are_named() {
    let mut file = Picture::random(1, (16, 16), PHOTOGRAPH).write();
    let at = marker_at(&file, 0xc0);
    file[at + 4] = 12;
    assert_eq!(unsupported(&file), Unsupported::Precision(12));
    file[at + 4] = 8;
    file[at + 5..at + 7].fill(0);
    assert_eq!(unsupported(&file), Unsupported::HeightAfterScan);
    let cmyk = Picture::random(1, (16, 16), &[(1, 1); 4]).write();
    assert_eq!(unsupported(&cmyk), Unsupported::Components(4));
    assert_eq!(unsupported(&Picture::random(1, (16, 16), &[(1, 1); 2]).write()), Unsupported::Components(2));
}

#[test]
fn no_jpeg() {
    for file in [b"\x89PNG\r\n\x1a\n".as_slice(), b"GIF89a", b"\xff\x4f\xff\x51", &[0; 100]] {
        assert_eq!(refused(file), Error::NotJpeg);
    }
}

#[test]
fn every_cut_of_a_file_is_cut_short() {
    let mut with_intervals = Picture::random(1, (50, 40), PHOTOGRAPH);
    with_intervals.interval = 2;
    let mut one_by_one = Picture::random(1, (50, 40), PHOTOGRAPH);
    one_by_one.scans = (0..3).map(|index| Scan(vec![index], 0, 63, 0, 0)).collect();
    for picture in [Picture::random(1, (50, 40), PHOTOGRAPH), with_intervals, one_by_one, progressive()] {
        let file = picture.write();
        for length in 0..file.len() {
            assert_eq!(refused(&file[..length]), Error::CutShort { length });
        }
        for scale in Scale::ALL {
            assert!(decode(&file, &options(scale)).is_ok());
            // What follows the end doesn't count.
            assert!(decode(&[file.as_slice(), b"\xff\xd8\xff..."].concat(), &options(scale)).is_ok());
        }
    }
}

#[test]
fn a_skipped_scan_is_checked_for_its_end_and_its_place() {
    // At an eighth, all scans but the first and the fourth are skipped.
    let whole = progressive().write();
    assert!(decode(&whole, &Options::default()).is_ok());
    let mut last_missing = progressive();
    last_missing.scans.pop();
    // A file may end at a coarser state.
    assert!(decode(&last_missing.write(), &Options::default()).is_ok());

    let mut twice = progressive();
    twice.scans.push(Scan(vec![0], 1, 40, 1, 0));
    assert_eq!(why(&twice.write()), "a scan that doesn't follow the earlier ones");
    let mut lost = progressive();
    lost.scans.remove(1);
    assert_eq!(why(&lost.write()), "a scan that doesn't follow the earlier ones");
    for scan in [
        Scan(vec![1], 0, 5, 0, 0),
        Scan(vec![1], 5, 4, 0, 0),
        Scan(vec![1], 1, 64, 0, 0),
        Scan(vec![1, 2], 1, 5, 0, 0),
        Scan(vec![1], 1, 5, 3, 1),
        Scan(vec![1], 1, 5, 0, 14),
    ] {
        let mut file = progressive().write();
        file.truncate(file.len() - 2);
        let count = scan.0.len() as u8;
        file.extend([0xff, 0xda, 0, 6 + 2 * count, count]);
        file.extend(scan.0.iter().flat_map(|&index| [index as u8 + 1, 0]));
        file.extend([scan.1, scan.2, scan.3 << 4 | scan.4, 0xff, 0xd9]);
        assert_eq!(why(&file), "a scan of coefficients that don't belong together");
    }
}

#[test]
fn restart_intervals_of_a_skipped_scan_are_counted() {
    let mut picture = progressive();
    picture.interval = 7;
    let file = picture.write();
    assert!(decode(&file, &Options::default()).is_ok());
    // The last scan: 35 blocks in five intervals.
    let restarts: Vec<usize> =
        (0..file.len()).filter(|&at| file[at] == 0xff && file.get(at + 1) == Some(&0xd2)).collect();
    let last = *restarts.last().expect("there is one");
    let mut renumbered = file.clone();
    renumbered[last + 1] = 0xd5;
    assert_eq!(why(&renumbered), "a restart marker out of order");
    let mut cut_out = file.clone();
    cut_out.drain(last..last + 2);
    assert_eq!(why(&cut_out), "a restart marker out of order");
    let mut one_less = file.clone();
    let end =
        last + 2 + file[last + 2..].windows(2).position(|bytes| bytes == [0xff, 0xd3]).expect("it follows");
    one_less.drain(end..file.len() - 2);
    assert_eq!(why(&one_less), "fewer restart intervals than the scan should have");
    let mut one_more = file.clone();
    one_more.splice(file.len() - 2..file.len() - 2, [0xff, 0xd4, 0x12]);
    assert_eq!(why(&one_more), "more restart intervals than the scan should have");
}

#[test]
fn restart_intervals_of_a_decoded_scan_are_checked() {
    let mut picture = Picture::random(1, (64, 40), PHOTOGRAPH);
    picture.interval = 2;
    let file = picture.write();
    let first = marker_at(&file, 0xd0);
    let mut renumbered = file.clone();
    renumbered[first + 1] = 0xd1;
    assert_eq!(why(&renumbered), "not the restart marker that should follow");
    let mut too_long = file.clone();
    too_long.splice(first..first, [0x55, 0x55]);
    assert_eq!(why(&too_long), "data after the last block of an interval");
    let mut too_short = file.clone();
    too_short.drain(first - 30..first);
    assert!(matches!(refused(&too_short), Error::Damaged { at, .. } if at <= first));
}

#[test]
fn damage_is_found_near_where_it_is() {
    // Far into the data, which is in memory piece by piece.
    let mut file = Picture::random(1, (1600, 1200), PHOTOGRAPH).write();
    let at = file.len() * 3 / 4;
    // The first code of 14 bits and more that isn't in the table.
    for (byte, value) in file[at..at + 200].iter_mut().zip([0xfe].into_iter().cycle()) {
        *byte = value;
    }
    for scale in Scale::ALL {
        match decode(&file, &options(scale)) {
            Err(Error::Damaged { at: found, .. }) => {
                assert!(found + 200 > at && found < at + 2000, "{found} for {at}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn tables_that_make_no_sense_are_named() {
    let file = Picture::random(1, (16, 16), PHOTOGRAPH).write();
    let patched = |marker, offset: usize, value| {
        let mut file = file.clone();
        let at = marker_at(&file, marker) + offset;
        file[at] = value;
        file
    };
    // More codes of one bit than there are.
    assert_eq!(why(&patched(0xc4, 5, 3)), "a Huffman table that is too short");
    let mut crowded = file.clone();
    let at = marker_at(&crowded, 0xc4);
    (crowded[at + 5], crowded[at + 8]) = (12, 0);
    assert_eq!(why(&crowded), "a Huffman table with more codes than their lengths allow");
    assert_eq!(why(&patched(0xc4, 21, 16)), "a Huffman table for DC with a category above 15");
    assert_eq!(why(&patched(0xc4, 4, 4)), "a Huffman table's number or class that doesn't exist");
    assert_eq!(why(&patched(0xdb, 4, 4)), "a quantisation table's number that is not 0 to 3");
    assert_eq!(why(&patched(0xdb, 4, 1)), "a scan whose quantisation table isn't defined");
    assert_eq!(why(&patched(0xdb, 4, 0x10)), "a quantisation table that is too short");
    assert_eq!(why(&patched(0xc0, 11, 0x05)), "a sampling factor that is not 1 to 4");
    assert_eq!(why(&patched(0xc0, 13, 1)), "two components of one identifier");
    assert_eq!(why(&patched(0xda, 7, 9)), "a scan of an unknown component, or of one twice");
    assert_eq!(why(&patched(0xda, 4, 4)), "a scan of no components, or of more than there are");
    assert_eq!(why(&patched(0xda, 6, 0x40)), "a Huffman table's number that is not 0 to 3");
    let mut two_frames = file.clone();
    let frame = marker_at(&file, 0xc0);
    two_frames.splice(frame..frame, file[frame..frame + 19].to_vec());
    assert_eq!(why(&two_frames), "a second frame header");
    let mut crowded = Picture::random(1, (64, 64), &[(4, 2), (2, 1), (1, 1)]);
    crowded.scans = vec![Scan(vec![0, 1, 2], 0, 63, 0, 0)];
    assert_eq!(why(&crowded.write()), "more than ten blocks in an MCU");
    let mut gap = file.clone();
    gap.insert(2, 0);
    assert_eq!(why(&gap), "bytes between two segments");
    let mut unseen = Picture::random(1, (16, 16), PHOTOGRAPH);
    unseen.scans = vec![Scan(vec![0, 1], 0, 63, 0, 0)];
    assert!(matches!(refused(&unseen.write()), Error::Damaged { why: "a component without any scan", .. }));
}

#[test]
fn limits_name_themselves() {
    let mut picture = Picture::random(1, (16, 16), PHOTOGRAPH);
    (picture.width, picture.height, picture.scans) = (60_000, 50_000, Vec::new());
    let file = picture.write();
    let pixels = 3_000_000_000;
    assert_eq!(refused(&file), Error::TooManyPixels { pixels, limit: 500_000_000 });
    let limits = Limits { pixels, ..Limits::default() };
    let options = Options { limits, scale: Scale::Quarter, ..Options::default() };
    let needed = Header::read(&file).expect("it is valid").memory_bytes(Scale::Quarter, Chroma::Subsampled);
    assert_eq!(decode(&file, &options), Err(Error::TooMuchMemory { needed, limit: 256 << 20 }));
    // With all the memory of the world: so many blocks don't fit in so few bytes.
    let options = Options { limits: Limits { memory_bytes: u64::MAX, ..limits }, ..options };
    assert_eq!(decode(&file, &options), Err(Error::CutShort { length: file.len() }));

    let file = progressive().write();
    let limited = |scans| {
        decode(&file, &Options { limits: Limits { scans, ..Limits::default() }, ..Options::default() })
    };
    assert!(limited(5).is_ok());
    assert_eq!(limited(4), Err(Error::TooManyScans { limit: 4 }));
}
