//! Draws a file.

use picture::{Chroma, Encoding, Picture};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::filter::Kind;
use resvg::usvg::{ImageHrefResolver, Options, Tree};
use roxmltree::{Document, ParsingOptions};

use crate::cost::Layers;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::survey::{check, check_entities, check_memory};

/// Each octave of noise costs as much as the one before, and has half of its weight: more can't be seen in eight bits.
const MAX_OCTAVES: u32 = 16;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) file: Vec<u8>,
    /// The names of what was left out.
    pub(crate) ignored: Vec<String>,
}

/// Draws an SVG so that its longer side has `max_side` pixels.
///
/// # Errors
///
/// When it is no SVG, contains what isn't drawn, or exceeds a bound.
pub(crate) fn draw(content: &[u8], settings: &Settings) -> Result<Drawn, Refusal> {
    let document = document(content, settings)?;
    let ignored = check(&document, settings)?;
    let options = Options {
        // Neither files nor what is inside of the document is looked at.
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        ..Options::default()
    };
    let tree = Tree::from_xmltree(&document, &options)
        .map_err(|_| Refusal::Damaged("its width, height or view box is missing or invalid".to_owned()))?;
    drop(document);
    check_noise(&tree)?;
    let (wide, high) = (tree.size().width(), tree.size().height());
    let longest = f64::from(wide.max(high));
    let scale = f64::from(settings.max_side) / longest;
    let side = |length: f32| ((f64::from(length) * scale).round() as u32).clamp(1, settings.max_side);
    let (width, height) = (side(wide), side(high));
    let canvas = f64::from(width) * f64::from(height);
    let layers = Layers { canvas, scale }.of_group(tree.root());
    // The picture, its pixels without multiplied alpha, and the encoder's copies.
    check_memory((canvas * 16.0 + layers) as u64 + content.len() as u64, settings)?;

    let invalid = || Refusal::Damaged("it has no size".to_owned());
    let mut pixmap = Pixmap::new(width, height).ok_or_else(invalid)?;
    let transform = Transform::from_scale(width as f32 / wide, height as f32 / high);
    resvg::render(&tree, transform, &mut pixmap.as_mut());
    drop(tree);
    let picture = Picture::from_rgba(width, height, pixmap.take_demultiplied()).ok_or_else(invalid)?;
    let encoding = Encoding {
        format: settings.format,
        quality: 80,
        progressive: false,
        chroma: Chroma::Full,
        rights: None,
    };
    let file = picture::encode(picture, &encoding).map_err(|_| invalid())?;
    Ok(Drawn { file, ignored })
}

fn document<'a>(content: &'a [u8], settings: &Settings) -> Result<Document<'a>, Refusal> {
    let text = text_of(content)?;
    check_entities(text)?;
    // Texts and comments count as nodes too.
    let limit = settings.max_elements.saturating_mul(4).saturating_add(64);
    let options = ParsingOptions {
        allow_dtd: true,
        nodes_limit: u32::try_from(limit).unwrap_or(u32::MAX),
        ..Default::default()
    };
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => Refusal::TooLarge {
            what: "or more nodes",
            found: limit,
            setting: "MAX_ELEMENTS",
            bound: settings.max_elements,
        },
        error => Refusal::Damaged(format!("{error}")),
    })
}

fn check_noise(tree: &Tree) -> Result<(), Refusal> {
    let primitives = tree.filters().iter().flat_map(|filter| filter.primitives());
    for primitive in primitives {
        if let Kind::Turbulence(noise) = primitive.kind()
            && noise.num_octaves() > MAX_OCTAVES
        {
            return Err(Refusal::NotSupported(format!(
                "an SVG with noise of more than {MAX_OCTAVES} octaves"
            )));
        }
    }
    Ok(())
}

fn text_of(content: &[u8]) -> Result<&str, Refusal> {
    let not_supported = |what: &str| Err(Refusal::NotSupported(what.to_owned()));
    match content {
        [] => return not_supported("an empty file"),
        [0x1f, 0x8b, ..] => return not_supported("a compressed SVG"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return not_supported("an SVG in UTF-16"),
        _ => {}
    }
    let Ok(text) = std::str::from_utf8(content) else {
        return not_supported("a file that is no text in UTF-8");
    };
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        return not_supported("a file that is no SVG");
    }
    Ok(text)
}
