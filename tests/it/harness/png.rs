//! Random pictures.

/// Creates a PNG of random blocks of colour. Its data isn't compressed, so that no encoder is needed.
pub(crate) fn random(random: &mut fastrand::Rng, width: u32, height: u32) -> Vec<u8> {
    const BLOCK: u32 = 8;
    let across = width.div_ceil(BLOCK);
    let colours: Vec<[u8; 3]> =
        (0..across * height.div_ceil(BLOCK)).map(|_| std::array::from_fn(|_| random.u8(..))).collect();
    let mut pixels = Vec::new();
    for y in 0..height {
        // Filter of the line: none.
        pixels.push(0);
        for x in 0..width {
            pixels.extend(colours[(y / BLOCK * across + x / BLOCK) as usize]);
        }
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits a channel, RGB, and the only defined compression and filter methods, without interlacing.
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &stored(&pixels));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let length = u32::try_from(content.len()).expect("a small chunk");
    png.extend(length.to_be_bytes());
    let start = png.len();
    png.extend(name);
    png.extend(content);
    png.extend(crc32(&png[start..]).to_be_bytes());
}

/// Creates a zlib stream of stored blocks.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = content.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("a block of 16 bits");
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(content).to_be_bytes());
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}
