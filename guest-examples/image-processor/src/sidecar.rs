//! The sidecar: a JSON document about a picture and its outputs.

use picture::{Description, Metadata, Rights};
use serde::Serialize;

use crate::make::Output;

/// What the sidecar says. Fields without a value are left out. There are many because each is a key of the document.
#[derive(Debug, Serialize)]
pub(crate) struct Sidecar<'a> {
    key: &'a str,
    bytes: u64,
    format: &'a str,
    width: u32,
    height: u32,
    orientation: u8,
    frames: u32,
    alpha: bool,
    dominant: String,
    thumbhash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<Camera<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copyright: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator: Option<&'a str>,
    outputs: &'a [Output],
}

#[derive(Debug, Serialize)]
struct Camera<'a> {
    maker: &'a str,
    model: &'a str,
}

/// In degrees, north and east positive.
#[derive(Debug, Serialize)]
struct Location {
    latitude: f64,
    longitude: f64,
}

/// What was asked for besides the picture itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) exif: bool,
    pub(crate) gps: bool,
    pub(crate) rights: Option<&'a Rights>,
}

impl<'a> Sidecar<'a> {
    pub(crate) fn new(
        (key, bytes): (&'a str, u64),
        metadata: &'a Metadata,
        description: &Description,
        asked: Asked<'a>,
        outputs: &'a [Output],
    ) -> Self {
        let [red, green, blue] = description.dominant;
        let camera = metadata.camera.as_ref().map(|(maker, model)| Camera { maker, model });
        let location = metadata.location.map(|(latitude, longitude)| Location { latitude, longitude });
        Sidecar {
            key,
            bytes,
            format: metadata.format,
            width: description.width,
            height: description.height,
            orientation: description.orientation,
            frames: metadata.frames,
            alpha: description.has_alpha,
            dominant: format!("#{red:02x}{green:02x}{blue:02x}"),
            thumbhash: base64(&description.thumbhash),
            taken: metadata.taken.as_deref().filter(|_| asked.exif),
            camera: camera.filter(|_| asked.exif),
            location: location.filter(|_| asked.gps),
            copyright: asked.rights.and_then(|rights| rights.copyright.as_deref()),
            creator: asked.rights.and_then(|rights| rights.creator.as_deref()),
            outputs,
        }
    }

    /// Returns the document, ending with a line feed.
    ///
    /// # Errors
    ///
    /// None that is known: all keys are text.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut document = serde_json::to_vec_pretty(self)?;
        document.push(b'\n');
        Ok(document)
    }
}

/// Encodes bytes as text. Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= group.len() { char::from(DIGITS[value]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            format: "jpeg",
            frames: 1,
            taken: Some("2026-11-28T12:34:56".to_owned()),
            camera: Some(("Maker".to_owned(), "Model \"X\"".to_owned())),
            location: Some((52.5, -13.25)),
            ..Metadata::default()
        }
    }

    fn sidecar(asked: Asked<'_>) -> serde_json::Value {
        let description = Description {
            width: 40,
            height: 30,
            orientation: 6,
            has_alpha: false,
            dominant: [1, 20, 255],
            thumbhash: vec![1, 2, 3, 4],
        };
        let output = Output {
            name: "small".to_owned(),
            key: "a.jpg.small.webp".to_owned(),
            width: 4,
            height: 3,
            bytes: 99,
            format: "webp",
        };
        let metadata = metadata();
        let outputs = [output];
        let document = Sidecar::new(("a.jpg", 1234), &metadata, &description, asked, &outputs).to_json();
        serde_json::from_slice(&document.expect("it is written")).expect("JSON")
    }

    #[test]
    fn a_sidecar_describes_the_picture_and_its_outputs() {
        let expected = serde_json::json!({
            "key": "a.jpg", "bytes": 1234, "format": "jpeg", "width": 40, "height": 30, "orientation": 6, "frames": 1,
            "alpha": false, "dominant": "#0114ff", "thumbhash": "AQIDBA==",
            "outputs": [{
                "name": "small", "key": "a.jpg.small.webp", "width": 4, "height": 3, "bytes": 99, "format": "webp",
            }],
        });
        assert_eq!(sidecar(Asked { exif: false, gps: false, rights: None }), expected);
    }

    #[test]
    fn what_says_more_about_people_is_left_out_unless_asked_for() {
        let rights = Rights { copyright: Some("© A".to_owned()), creator: None };
        let document = sidecar(Asked { exif: true, gps: false, rights: Some(&rights) });
        assert_eq!(document["taken"], "2026-11-28T12:34:56");
        assert_eq!(document["camera"], serde_json::json!({"maker": "Maker", "model": "Model \"X\""}));
        assert_eq!((&document["copyright"], document.get("creator")), (&"© A".into(), None));
        assert_eq!(document.get("location"), None);
        let document = sidecar(Asked { exif: false, gps: true, rights: None });
        assert_eq!(document["location"], serde_json::json!({"latitude": 52.5, "longitude": -13.25}));
        assert_eq!(
            (document.get("taken"), document.get("camera"), document.get("copyright")),
            (None, None, None)
        );
    }

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn bytes_become_text() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
