//! Animations: the first frame, or the default image, and nothing of the others.

use super::*;

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    [&(data.len() as u32).to_be_bytes(), body.as_slice(), &crc32(&body).to_be_bytes()].concat()
}

/// The control chunk of a frame of an animated PNG. Source: PNG, third edition, 11.3.6.
fn frame_control(number: u32, size: (u32, u32), place: (u32, u32)) -> Vec<u8> {
    let sides = [number, size.0, size.1, place.0, place.1];
    let mut data: Vec<u8> = sides.iter().flat_map(|value| value.to_be_bytes()).collect();
    data.extend([0, 1, 0, 10, 0, 0]);
    chunk(b"fcTL", &data)
}

/// The compressed pixels of a PNG.
fn compressed(png: &[u8]) -> Vec<u8> {
    let at = png.windows(4).position(|kind| kind == b"IDAT").expect("it has pixels");
    let length = u32::from_be_bytes(png[at - 4..at].try_into().expect("four bytes")) as usize;
    png[at + 4..at + 4 + length].to_vec()
}

fn rgb_png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    png(width, height, ::png::ColorType::Rgb, ::png::BitDepth::Eight, pixels)
}

#[test]
fn the_default_image_of_an_animated_png_is_read() {
    let (default, other) = (photograph(64, 48), vec![9; 30 * 20 * 3]);
    let still = rgb_png(64, 48, &default);
    let second = compressed(&rgb_png(30, 20, &other));
    let animation = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    let frame = |number: u32| [&number.to_be_bytes(), second.as_slice()].concat();
    let (head, rest) = still.split_at(33);
    let (pixels, end) = rest.split_at(rest.len() - 12);
    // The default image is the first frame, or it isn't part of the animation at all.
    let first = [
        head,
        &animation,
        &frame_control(0, (64, 48), (0, 0)),
        pixels,
        &frame_control(1, (30, 20), (5, 5)),
        &chunk(b"fdAT", &frame(2)),
        end,
    ]
    .concat();
    let apart = [
        head,
        &animation,
        pixels,
        &frame_control(0, (30, 20), (5, 5)),
        &chunk(b"fdAT", &frame(1)),
        &frame_control(2, (30, 20), (0, 0)),
        &chunk(b"fdAT", &frame(3)),
        end,
    ]
    .concat();
    for file in [first, apart] {
        let picture = decode(file, 320, &settings().bounds).expect("it is a picture");
        assert_eq!((picture.width, picture.height), (64, 48));
        assert_eq!(picture.pixels, default);
    }
}

/// A chunk of a WebP, padded to an even length. Source: RFC 9649, 2.3.
fn riff(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if data.len().is_multiple_of(2) { &[] } else { &[0] };
    [kind, (data.len() as u32).to_le_bytes().as_slice(), data, padding].concat()
}

/// Where a frame is, its size, and its pixels.
type Frame = ((u32, u32), (u16, u16), Vec<u8>);

/// An animated WebP: a canvas, and frames at places. Source: RFC 9649, 2.7.1.
fn animated_webp(canvas: (u32, u32), frames: &[Frame]) -> Vec<u8> {
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    // Animation, alpha.
    let mut body = riff(b"VP8X", &[vec![0x12, 0, 0, 0], three(canvas.0 - 1), three(canvas.1 - 1)].concat());
    body.extend(riff(b"ANIM", &[0; 6]));
    for (place, size, pixels) in frames {
        let file = webp(size.0.into(), size.1.into(), pixels, image_webp::ColorType::Rgb8);
        let header = [place.0 / 2, place.1 / 2, u32::from(size.0) - 1, u32::from(size.1) - 1, 100];
        let mut data: Vec<u8> = header.iter().flat_map(|&value| three(value)).collect();
        data.push(2);
        data.extend_from_slice(&file[12..]);
        body.extend(riff(b"ANMF", &data));
    }
    [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat()
}

#[test]
fn the_first_frame_of_an_animated_webp_is_read() {
    let frame = |shade| ((0, 0), (40, 20), [shade, 10, 20].repeat(800));
    let picture = decode(animated_webp((40, 20), &[frame(200), frame(30)]), 320, &settings().bounds);
    let picture = picture.expect("it is a picture");
    assert_eq!((picture.width, picture.height), (40, 20));
    assert_eq!((colour_at(&picture, 0, 0), colour_at(&picture, 39, 19)), ([200, 10, 20], [200, 10, 20]));
    // A frame that doesn't fill the canvas: what is around it is transparent.
    let frames = [((10, 4), (20, 10), [200, 10, 20].repeat(200)), frame(30)];
    let picture = decode(animated_webp((40, 20), &frames), 320, &settings().bounds).expect("it is a picture");
    let pixel = |x: usize, y: usize| picture.pixels[(y * 40 + x) * 4..][..4].to_vec();
    assert_eq!((pixel(10, 4), pixel(29, 13)), (vec![200, 10, 20, 255], vec![200, 10, 20, 255]));
    assert_eq!([pixel(9, 4)[3], pixel(30, 13)[3], pixel(10, 3)[3]], [0, 0, 0]);
    // One that goes beyond it.
    let frames = [((30, 4), (20, 10), [200, 10, 20].repeat(200))];
    let refusal = refused(&animated_webp((40, 20), &frames));
    assert_eq!(refusal, Refusal::Damaged("WebP", "a frame is larger than the picture"));
}

#[test]
fn a_hundred_thousand_frames_cost_no_more_than_one() {
    let mut file = Vec::new();
    let mut encoder =
        ::gif::Encoder::new(&mut file, 4, 4, &[250, 10, 5, 9, 9, 9]).expect("the header is valid");
    let frame =
        |index| ::gif::Frame { width: 4, height: 4, buffer: vec![index; 16].into(), ..Default::default() };
    encoder.write_frame(&frame(0)).expect("the frame is valid");
    for _ in 1..100_000 {
        encoder.write_frame(&frame(1)).expect("the frame is valid");
    }
    drop(encoder);
    // There is memory for the file and a little more.
    let bounds = Bounds { memory: file.len() as u64 + (1 << 16), ..settings().bounds };
    let picture = decode(file, 320, &bounds).expect("it is a picture");
    assert_eq!(picture.pixels, [250, 10, 5].repeat(16));

    let webp = animated_webp((4, 4), &[((0, 0), (4, 4), [250, 10, 5].repeat(16))]);
    let frame = &webp[webp.windows(4).position(|kind| kind == b"ANMF").expect("it has a frame")..];
    let mut many = [&webp[..], &frame.repeat(99_999)].concat();
    let size = many.len() as u32 - 8;
    many[4..8].copy_from_slice(&size.to_le_bytes());
    let picture = decode(many, 320, &settings().bounds).expect("it is a picture");
    assert_eq!(colour_at(&picture, 3, 3), [250, 10, 5]);
}
