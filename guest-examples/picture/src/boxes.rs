//! The boxes around the pictures of a JPEG XL file that say something about them. Source: ISO/IEC 18181-2, 9; ISO/IEC 14496-12,
//! 4.2.

/// Returns the file's EXIF block and XMP packet. A compressed box (`brob`) is left out.
pub(crate) fn blocks(content: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let named = |kind: &[u8]| boxes(content).find(|(found, _)| *found == kind).map(|(_, data)| data);
    let exif = named(b"Exif").and_then(|data| {
        // The distance to the block comes first.
        let (distance, rest) = data.split_first_chunk::<4>()?;
        rest.get(u32::from_be_bytes(*distance) as usize..)
    });
    (exif.map(<[u8]>::to_vec), named(b"xml ").map(<[u8]>::to_vec))
}

/// Returns the kinds and the data of the boxes that are whole.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let kind = after.get(..4)?;
        let (head, size) = match u32::from_be_bytes(*size) {
            // The box reaches to the end of the file.
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(*after.get(4..)?.first_chunk()?)).ok()?),
            size => (8, size as usize),
        };
        let data = rest.get(head..size)?;
        rest = &rest[size..];
        Some((kind, data))
    })
}
