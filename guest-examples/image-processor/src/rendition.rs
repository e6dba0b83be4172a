//! One rendition: what its keys say, and what they must be.

use std::ops::RangeInclusive;

use picture::{Chroma, Fit, Format, Gravity, Shape};

use crate::entries::Entries;
use crate::table::Scalar;
use crate::template::{Template, Values};

/// The longest side that each format can hold.
const SIDES: RangeInclusive<u32> = 1..=16_383;

/// The standard deviations in pixels that the effects take.
const SIGMAS: RangeInclusive<f64> = 0.3..=50.0;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

const WHITE: [u8; 4] = [255; 4];
const TRANSPARENT: [u8; 4] = [0; 4];

/// A picture to make. It has many fields because each stands for a key that can be set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendition {
    pub(crate) name: String,
    /// The shape before the picture is turned.
    pub(crate) shape: Shape,
    pub(crate) format: Choice,
    pub(crate) quality: u8,
    pub(crate) progressive: bool,
    pub(crate) chroma: Chroma,
    /// What to put behind a transparent picture.
    pub(crate) background: Option<[u8; 4]>,
    /// Clockwise quarters of a turn.
    pub(crate) quarters: u8,
    pub(crate) flip: bool,
    pub(crate) flop: bool,
    pub(crate) grayscale: bool,
    pub(crate) sharpen: Option<f32>,
    pub(crate) blur: Option<f32>,
    /// `Cache-Control` of the output. `None`: that of all outputs.
    pub(crate) cache_control: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    key: Template,
}

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Is(Format),
    /// Lossless WebP if the picture is transparent or has the smaller file that way, and JPEG otherwise.
    Auto,
}

impl Choice {
    /// Returns the formats that the output can have.
    pub(crate) fn formats(self) -> &'static [Format] {
        match self {
            Choice::Is(Format::Jpeg) => &[Format::Jpeg],
            Choice::Is(Format::Png) => &[Format::Png],
            Choice::Is(Format::WebP) => &[Format::WebP],
            Choice::Is(Format::Avif) => &[Format::Avif],
            Choice::Auto => &[Format::Jpeg, Format::WebP],
        }
    }
}

/// Returns a format's name, as settings and results write it.
pub(crate) fn name(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "jpeg",
        Format::Png => "png",
        Format::WebP => "webp",
        Format::Avif => "avif",
    }
}

/// The gravities in the order of the compass, from north clockwise.
const COMPASS: [(&str, Gravity); 8] = [
    ("north", Gravity::North),
    ("northeast", Gravity::NorthEast),
    ("east", Gravity::East),
    ("southeast", Gravity::SouthEast),
    ("south", Gravity::South),
    ("southwest", Gravity::SouthWest),
    ("west", Gravity::West),
    ("northwest", Gravity::NorthWest),
];

impl Rendition {
    /// Reads the rendition called `name`.
    ///
    /// # Errors
    ///
    /// What is wrong, as the end of a sentence about the setting.
    pub(crate) fn read(name: &str, entries: &[(String, Scalar)]) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return Err(format!(
                "has a rendition called {name:?}: a name must be 1 to {MAX_NAME} letters, digits, - and _"
            ));
        }
        let entries = Entries { name, entries };
        entries.have_known_keys()?;
        let quarters = entries.one_of("rotate", &[("0", 0), ("90", 1), ("180", 2), ("270", 3)])?;
        let quarters = quarters.unwrap_or(0);
        let format = format(&entries)?;
        let fit = fit(&entries)?;
        let (width, height) = (entries.whole("width", SIDES)?, entries.whole("height", SIDES)?);
        for (fit, needs_both) in [("cover", fit == Fit::Cover), ("contain", fit == Fit::Contain)] {
            if needs_both && (width.is_none() || height.is_none()) {
                return Err(entries.error("fit", &format!("{fit} needs a width and a height")));
            }
        }
        let (flip, flop) = (entries.flag("flip")?, entries.flag("flop")?);
        let gravity = gravity(&entries)?;
        let background = entries.colour("background")?;
        // A JPEG shows what is transparent in white.
        let behind = if format.formats().contains(&Format::Jpeg) { WHITE } else { TRANSPARENT };
        let (turned_width, turned_height) = if quarters % 2 == 1 { (height, width) } else { (width, height) };
        let quality = entries.whole("quality", 1..=100)?.unwrap_or(80) as u8;
        let chroma = entries.one_of("chroma", &[("4:2:0", Chroma::Half), ("4:4:4", Chroma::Full)])?;
        let key = entries.template("key", (width, height))?;
        Ok(Rendition {
            name: name.to_owned(),
            shape: Shape {
                width: turned_width,
                height: turned_height,
                fit,
                gravity: before_turning(gravity, quarters, flip, flop),
                enlarge: entries.flag("enlarge")?,
                linear: entries.flag("linear")?,
                // A background is laid last, once, behind what is transparent.
                background: background.map_or(behind, |_| TRANSPARENT),
            },
            format,
            quality,
            progressive: entries.flag("progressive")?,
            chroma: chroma.unwrap_or(if quality < 90 { Chroma::Half } else { Chroma::Full }),
            background,
            quarters,
            flip,
            flop,
            grayscale: entries.flag("grayscale")?,
            sharpen: entries.decimal("sharpen", SIGMAS)?,
            blur: entries.decimal("blur", SIGMAS)?,
            cache_control: entries.cache_control("cache_control")?,
            width,
            height,
            key,
        })
    }

    /// Returns the key of the output of this format for a source.
    ///
    /// # Errors
    ///
    /// When a store can't have such a key.
    pub(crate) fn key(&self, source: &str, format: Format) -> Result<String, String> {
        let Rendition { name: rendition, width, height, .. } = self;
        let (ext, format) = (format.extension(), name(format));
        self.key.key(source, Values { name: rendition, width: *width, height: *height, ext, format })
    }
}

fn format(entries: &Entries<'_>) -> Result<Choice, String> {
    let format = entries.one_of(
        "format",
        &[
            ("jpeg", Choice::Is(Format::Jpeg)),
            ("png", Choice::Is(Format::Png)),
            ("webp", Choice::Is(Format::WebP)),
            ("avif", Choice::Is(Format::Avif)),
            ("auto", Choice::Auto),
        ],
    )?;
    let format = format.unwrap_or(Choice::Is(Format::Jpeg));
    if !format.formats().contains(&Format::Jpeg) {
        for key in ["progressive", "chroma"] {
            entries.is_not_set(key, "it needs the format jpeg or auto")?;
        }
        if format != Choice::Is(Format::Avif) {
            entries.is_not_set("quality", "it needs the format jpeg, avif or auto")?;
        }
    }
    Ok(format)
}

fn fit(entries: &Entries<'_>) -> Result<Fit, String> {
    let fit = entries.one_of(
        "fit",
        &[
            ("inside", Fit::Inside),
            ("outside", Fit::Outside),
            ("cover", Fit::Cover),
            ("contain", Fit::Contain),
            ("fill", Fit::Fill),
        ],
    )?;
    let fit = fit.unwrap_or(Fit::Inside);
    if !matches!(fit, Fit::Cover | Fit::Contain) {
        entries.is_not_set("gravity", "it needs the fit cover or contain")?;
    }
    Ok(fit)
}

fn gravity(entries: &Entries<'_>) -> Result<Gravity, String> {
    let gravities = COMPASS.into_iter().chain([
        ("centre", Gravity::Centre),
        ("center", Gravity::Centre),
        ("attention", Gravity::Attention),
    ]);
    Ok(entries.one_of("gravity", &gravities.collect::<Vec<_>>())?.unwrap_or(Gravity::Centre))
}

/// Returns which part of a picture has to be kept so that the part is at `gravity` once the picture is turned: clockwise
/// by quarters, then mirrored top to bottom (flip) and left to right (flop).
fn before_turning(gravity: Gravity, quarters: u8, flip: bool, flop: bool) -> Gravity {
    let Some(mut place) = COMPASS.iter().position(|(_, known)| *known == gravity) else {
        return gravity;
    };
    if flop {
        place = (8 - place) % 8;
    }
    if flip {
        place = (12 - place) % 8;
    }
    COMPASS[(place + 8 - 2 * usize::from(quarters)) % 8].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{self, Table};

    fn read(entries: &str) -> Result<Rendition, String> {
        let Table(renditions) = table::read(&format!("[r]\n{entries}")).expect("valid TOML");
        Rendition::read("r", &renditions[0].1.0)
    }

    fn reason(entries: &str) -> String {
        read(entries).expect_err("it is not valid")
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let rendition = read("width = 320").expect("it is valid");
        let Shape { width, height, fit, gravity, enlarge, linear, background } = rendition.shape;
        assert_eq!((width, height, fit, gravity), (Some(320), None, Fit::Inside, Gravity::Centre));
        assert_eq!((enlarge, linear, background), (false, false, WHITE));
        assert_eq!((rendition.format, rendition.quality), (Choice::Is(Format::Jpeg), 80));
        assert_eq!((rendition.chroma, rendition.progressive), (Chroma::Half, false));
        let avif = read("format = 'avif'\nquality = 60").expect("it is valid");
        assert_eq!((avif.format, avif.quality), (Choice::Is(Format::Avif), 60));
        assert_eq!(rendition.key("a/cat.png", Format::Jpeg).as_deref(), Ok("a/cat.png.r.jpg"));
    }

    #[test]
    fn each_key_is_read() {
        let rendition = read(
            "width = 200\nheight = 100\nfit = 'cover'\ngravity = 'attention'\nenlarge = true\nlinear = true\n\
             quality = 95\nprogressive = true\nchroma = '4:2:0'\nformat = 'auto'\nbackground = '#0a141e80'\n\
             sharpen = 1\nblur = 0.5\nrotate = 180\ngrayscale = true\nflip = true\nflop = true\n\
             cache_control = 'public, max-age=60'\nkey = '{stem}_{width}x{height}.{format}'",
        )
        .expect("it is valid");
        let expected = Shape {
            width: Some(200),
            height: Some(100),
            fit: Fit::Cover,
            gravity: Gravity::Attention,
            enlarge: true,
            linear: true,
            background: TRANSPARENT,
        };
        assert_eq!(rendition.shape, expected);
        assert_eq!((rendition.quality, rendition.progressive, rendition.chroma), (95, true, Chroma::Half));
        assert_eq!((rendition.format, rendition.background), (Choice::Auto, Some([10, 20, 30, 128])));
        assert_eq!(rendition.cache_control.as_deref(), Some("public, max-age=60"));
        assert_eq!((rendition.sharpen, rendition.blur), (Some(1.0), Some(0.5)));
        assert_eq!(
            (rendition.quarters, rendition.grayscale, rendition.flip, rendition.flop),
            (2, true, true, true)
        );
        assert_eq!(rendition.key("a/cat.png", Format::WebP).as_deref(), Ok("cat_200x100.webp"));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_what_it_must_be() {
        for (entries, expected) in [
            ("width = 0", "has width = 0 in rendition \"r\": it must be a whole number from 1 to 16383"),
            ("height = 1.5", "it must be a whole number"),
            ("width = '320'", "has width = \"320\" in rendition \"r\": it must be a whole number"),
            ("quality = 101", "it must be a whole number from 1 to 100"),
            ("fit = 'crop'", "it must be one of inside, outside, cover, contain, fill"),
            ("format = 'gif'", "it must be one of jpeg, png, webp, avif, auto"),
            ("rotate = 45", "it must be one of 0, 90, 180, 270"),
            ("enlarge = 'yes'", "it must be true or false"),
            ("blur = 0", "it must be a number from 0.3 to 50"),
            ("sharpen = nan", "it must be a number from 0.3 to 50"),
            ("background = 'white'", "it must be a colour such as #ff8000"),
            ("background = '#+f8000'", "it must be a colour"),
            ("key = 3", "it must be text"),
            (
                "cache_control = 'größe'",
                "has cache_control = \"größe\" in rendition \"r\": it must be 1 to 256 printable ASCII characters",
            ),
            ("cache_control = \"no-store\\r\\nx: y\"", "it must be 1 to 256 printable ASCII characters"),
            ("cache_control = ''", "it must be 1 to 256 printable ASCII characters"),
            ("cache_control = 3600", "it must be 1 to 256 printable ASCII characters"),
            ("key = '{stem}_{width}.jpg'", "the rendition has no width"),
            (
                "height = 3\nfit = 'cover'",
                "has fit = \"cover\" in rendition \"r\": cover needs a width and a height",
            ),
            ("width = 3\ngravity = 'north'", "it needs the fit cover or contain"),
            (
                "format = 'webp'\nquality = 80",
                "has quality = 80 in rendition \"r\": it needs the format jpeg, avif or auto",
            ),
            ("format = 'avif'\nprogressive = true", "it needs the format jpeg or auto"),
            ("widht = 320", "has widht = 320 in rendition \"r\": the keys are background, blur, "),
        ] {
            let reason = reason(entries);
            assert!(reason.contains(expected), "{entries}: {reason}");
        }
        assert!(Rendition::read("a/b", &[]).is_err_and(|reason| reason.contains("letters, digits")));
        assert!(Rendition::read("", &[]).is_err());
        assert!(reason(&format!("{} = 1", "x".repeat(10_000))).len() < 500);
        assert!(reason(&format!("fit = '{}'", "x".repeat(10_000))).len() < 500);
    }

    #[test]
    fn sides_and_gravity_are_those_of_the_turned_picture() {
        let rendition = read("width = 200\nheight = 100\nrotate = 90\nfit = 'cover'\ngravity = 'north'");
        let rendition = rendition.expect("it is valid");
        // Turned clockwise, the left side becomes the top.
        assert_eq!((rendition.shape.width, rendition.shape.height), (Some(100), Some(200)));
        assert_eq!(rendition.shape.gravity, Gravity::West);
        for (gravity, quarters, flip, flop, expected) in [
            (Gravity::NorthEast, 0, false, false, Gravity::NorthEast),
            (Gravity::NorthEast, 1, false, false, Gravity::NorthWest),
            (Gravity::North, 2, false, false, Gravity::South),
            (Gravity::North, 3, false, false, Gravity::East),
            (Gravity::NorthEast, 0, true, false, Gravity::SouthEast),
            (Gravity::NorthEast, 0, false, true, Gravity::NorthWest),
            (Gravity::East, 1, true, false, Gravity::North),
            (Gravity::East, 1, false, true, Gravity::South),
            (Gravity::Attention, 1, true, true, Gravity::Attention),
        ] {
            assert_eq!(
                before_turning(gravity, quarters, flip, flop),
                expected,
                "{gravity:?} {quarters} {flip} {flop}"
            );
        }
    }
}
