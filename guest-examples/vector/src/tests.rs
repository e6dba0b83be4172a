//! Tests of the whole path from file to file, with hostile files as well.

use picture::{Bounds, Format, Picture, Truncated};

use crate::draw::{Drawn, draw};
use crate::refusal::Refusal;
use crate::settings::Settings;

fn settings() -> Settings {
    Settings::read(|_| None).expect("there are defaults")
}

fn svg(attributes: &str, content: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' {attributes}>{content}</svg>"
    )
}

fn ten(content: &str) -> String {
    svg("viewBox='0 0 10 10'", content)
}

fn drawn(text: &str, settings: &Settings) -> Result<Drawn, Refusal> {
    draw(text.as_bytes(), settings)
}

fn read(drawn: &Drawn) -> Picture {
    let bounds = Bounds {
        pixels: 1 << 26,
        side: 8192,
        ratio: u32::MAX,
        memory: 1 << 30,
        truncated: Truncated::Reject,
    };
    picture::decode(drawn.file.clone(), 8192, &bounds).expect("it is a picture")
}

fn made(text: &str) -> Picture {
    read(&drawn(text, &settings()).expect("it is drawn"))
}

fn refused(text: &str) -> Refusal {
    drawn(text, &settings()).expect_err("it isn't drawn")
}

fn pixel(picture: &Picture, x: u32, y: u32) -> Vec<u8> {
    let channels = picture.layout.channels();
    picture.pixels[(y * picture.width + x) as usize * channels..][..channels].to_vec()
}

#[test]
fn shapes_are_drawn_at_the_side_that_is_asked_for() {
    let text =
        ten("<rect width='5' height='10' fill='#fa0a05'/><rect x='5' width='5' height='10' fill='#053cfa'/>");
    for format in [Format::Png, Format::WebP] {
        for max_side in [1, 40, 640] {
            let picture =
                read(&drawn(&text, &Settings { format, max_side, ..settings() }).expect("it is drawn"));
            assert_eq!((picture.width, picture.height), (max_side, max_side));
            if max_side > 1 {
                assert_eq!(pixel(&picture, 0, 0), [250, 10, 5]);
                assert_eq!(pixel(&picture, max_side - 1, max_side - 1), [5, 60, 250]);
            }
        }
    }
    // The size keeps the proportions, whatever the units are.
    for (attributes, size) in [
        ("width='200' height='100'", (320, 160)),
        ("width='2in' height='6in'", (107, 320)),
        ("viewBox='0 0 1e9 5e8'", (320, 160)),
        ("viewBox='-5 -5 0.002 0.001'", (320, 160)),
        ("viewBox='0 0 1000000 1'", (320, 1)),
    ] {
        let picture = made(&svg(attributes, "<rect width='100%' height='100%'/>"));
        assert_eq!((picture.width, picture.height), size, "{attributes}");
    }
}

#[test]
fn transparency_is_kept() {
    let picture = made(&ten("<rect width='5' height='10' fill='red' fill-opacity='0.5'/>"));
    assert_eq!(pixel(&picture, 300, 5), [0, 0, 0, 0]);
    let half = pixel(&picture, 10, 5);
    assert!(half[0] == 255 && half[3].abs_diff(128) <= 1, "{half:?}");
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    let text = ten("<circle cx='5' cy='5' r='4' fill='green' stroke='blue'/>");
    assert_eq!(drawn(&text, &settings()), drawn(&text, &settings()));
}

#[test]
fn what_is_not_drawn_is_named_or_left_out_as_asked() {
    let cases = [
        ("<text>a</text>", "text, for which there are no fonts"),
        ("<script>alert(1)</script>", "a script"),
        ("<rect width='1' height='1' onload='a()'/>", "a script"),
        ("<image href='data:image/png;base64,AAAA' width='1' height='1'/>", "a picture inside"),
        ("<foreignObject/>", "a foreign object"),
        ("<use href='other.svg#a'/>", "an external reference"),
        ("<use xlink:href='http://localhost/a.svg#a'/>", "an external reference"),
        ("<rect width='1' height='1' fill='url(file:///etc/passwd#a)'/>", "an external reference"),
        ("<rect width='1' height='1' style='fill: url( \"http://localhost/#a\")'/>", "an external reference"),
        ("<style>@import 'a.css';</style>", "an external reference"),
        ("<style>circle { fill: url(//localhost/#a) }</style>", "an external reference"),
    ];
    for (content, what) in cases {
        let text = ten(&format!("<rect width='10' height='10' fill='#fa0a05'/>{content}"));
        assert_eq!(refused(&text).to_string(), format!("it is an SVG with {what}, which is not supported"));
        let drawn = drawn(&text, &Settings { ignores: true, ..settings() }).expect("it is drawn");
        assert_eq!(drawn.ignored, [what]);
        assert_eq!(pixel(&read(&drawn), 300, 300), [250, 10, 5], "{content}");
    }
    // A link leads elsewhere without showing it.
    made(&ten("<a href='http://localhost/'><rect width='1' height='1'/></a>"));
}

#[test]
fn a_file_that_is_no_svg_is_named() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "it is an empty file, which is not supported"),
        (b"\x1f\x8b\x08", "it is a compressed SVG, which is not supported"),
        (b"\xff\xfe<\0", "it is an SVG in UTF-16, which is not supported"),
        (b"\x89PNG", "it is a file that is no text in UTF-8, which is not supported"),
        (b"hello", "it is a file that is no SVG, which is not supported"),
        (b"<html/>", "it is an XML document without a picture, which is not supported"),
    ];
    for (content, reason) in cases {
        assert_eq!(draw(content, &settings()).map_err(|refusal| refusal.to_string()), Err(reason.to_owned()));
    }
}

#[test]
fn elements_that_are_used_again_and_again_are_counted_before_they_are_drawn() {
    let levels: String = (1..10)
        .map(|level| format!("<g id='g{level}'>{}</g>", format!("<use href='#g{}'/>", level - 1).repeat(10)))
        .collect();
    let text = ten(&format!("<defs><rect id='g0' width='1' height='1'/>{levels}</defs><use href='#g9'/>"));
    let Refusal::TooLarge { what: "elements", found, .. } = refused(&text) else { panic!("it is counted") };
    assert!(found > 1_000_000_000);
    // Markers at each of many points.
    let points = "1,1 ".repeat(10_000);
    let marker = "<rect width='1' height='1'/>".repeat(20);
    let text =
        ten(&format!("<marker id='m'>{marker}</marker><polyline points='{points}' marker-mid='url(#m)'/>"));
    assert!(matches!(refused(&text), Refusal::TooLarge { what: "elements", .. }));
    // The same where the marker is inherited, set by a style, or both.
    let many = format!("<marker id='m'>{marker}</marker>");
    let line = format!("<polyline points='{points}'/>");
    let rects = "<rect width='1' height='1'/>".repeat(3_000);
    let pattern = format!("<pattern id='p' width='1' height='1'>{marker}</pattern>");
    for content in [
        format!("{many}<g marker-mid='url(#m)'>{line}</g>"),
        format!("{many}<g style='marker: url(#m)'><g>{line}</g></g>"),
        format!("<style>polyline {{ marker: url(#m) }}</style>{many}{line}"),
        format!("<style>g > .a {{ marker-mid: url(#m) }}</style>{many}<g><g class='a'>{line}</g></g>"),
        format!("{many}<defs><g id='l'>{line}</g></defs><use href='#l' marker-mid='url(#m)'/>"),
        // A marker whose own content inherits one.
        format!(
            "{many}<g marker-mid='url(#m)'><marker id='n'><path d='{}'/></marker></g>\
             <path d='{}' marker-mid='url(#n)'/>",
            "h1".repeat(100),
            "h1".repeat(100)
        ),
        format!("{many}<g marker-start='url(#m)'>{}</g>", "<path d='M1 1'/>".repeat(3_000)),
        format!("{pattern}<g fill='url(#p)'>{rects}</g>"),
        format!("<style>#r {{ stroke: url(#p) }}</style>{pattern}<g id='r'>{rects}</g>"),
    ] {
        assert!(
            matches!(refused(&ten(&content)), Refusal::TooLarge { what: "elements", .. }),
            "{content:.200}"
        );
    }
    // Whichever of two references counts.
    for [first, second] in [["href", "xlink:href"], ["xlink:href", "href"]] {
        let uses = format!("<use {first}='#g0' {second}='#g9'/>");
        let text = ten(&format!("<defs><rect id='g0' width='1' height='1'/>{levels}</defs>{uses}"));
        assert!(matches!(refused(&text), Refusal::TooLarge { what: "elements", .. }), "{uses}");
    }
    let text = ten(&"<g/>".repeat(60_000));
    assert!(matches!(refused(&text), Refusal::TooLarge { what: "elements", found: 60_001, .. }));
}

#[test]
fn markers_gradients_and_patterns_that_many_shapes_inherit_are_drawn() {
    let arrow = "<marker id='a'><path d='M0 0 L1 1 L0 1z'/></marker>";
    let lines = "<path d='M1 1 L9 9'/>".repeat(100);
    made(&svg("viewBox='0 0 10 10' style='marker-end: url(#a)'", &format!("{arrow}{lines}")));
    let stops = "<stop offset='0' stop-color='red'/>".repeat(20);
    let rects = "<rect width='0.1' height='0.1'/>".repeat(4_000);
    made(&ten(&format!("<linearGradient id='l'>{stops}</linearGradient><g fill='url(#l)'>{rects}</g>")));
    let pattern = "<pattern id='p' width='1' height='1'><rect width='1' height='1' fill='red'/></pattern>";
    let rects = "<rect width='1' height='1'/>".repeat(100);
    made(&ten(&format!("<style>g {{ fill: url(#p) }}</style><g>{pattern}{rects}</g>")));
    // Style rules that match what is inside of the marker or the pattern, and two that inherit each other.
    made(&ten(&format!("<style>path {{ marker-end: url(#a) }}</style>{arrow}{lines}")));
    made(&ten(&format!("<style>rect {{ fill: url(#p) }}</style>{pattern}{rects}")));
    let other = "<marker id='b'><path d='M0 0 L1 1'/></marker>";
    let both = "viewBox='0 0 10 10' style='marker-start: url(#a); marker-end: url(#b)'";
    made(&svg(both, &format!("{arrow}{other}{lines}")));
}

#[test]
fn circles_and_depths_are_refused() {
    let circle = Refusal::Damaged("its elements refer to each other in a circle".to_owned());
    assert_eq!(refused(&ten("<g id='a'><use href='#b'/></g><g id='b'><use href='#a'/></g>")), circle);
    let pattern =
        "<pattern id='p' width='1' height='1'><rect width='1' height='1' fill='url(#p)'/></pattern>";
    assert_eq!(refused(&ten(&format!("{pattern}<rect width='9' height='9' fill='url(#p)'/>"))), circle);
    assert_eq!(refused(&ten("<use href='#a'/><g id='a'><use href='#a'/></g>")), circle);
    let deep = "it is an SVG of elements nested more than 100 deep, which is not supported";
    for depth in [101, 100_000] {
        let text = ten(&("<g>".repeat(depth) + &"</g>".repeat(depth)));
        let settings = Settings { max_bytes: 1 << 30, max_elements: 1_000_000, ..settings() };
        assert_eq!(drawn(&text, &settings).map_err(|refusal| refusal.to_string()), Err(deep.to_owned()));
    }
    let chain: String = (1..300).map(|at| format!("<g id='c{at}'><use href='#c{}'/></g>", at - 1)).collect();
    assert_eq!(refused(&ten(&format!("<g id='c0'/>{chain}"))).to_string(), deep);
    made(&ten(&format!("{}<rect width='1' height='1'/>{}", "<g>".repeat(90), "</g>".repeat(90))));
}

#[test]
fn entities_are_read_but_not_multiplied() {
    let with = |declarations: &str, content: &str| format!("<!DOCTYPE svg [{declarations}]>{}", ten(content));
    let picture = made(&with("<!ENTITY red '#fa0a05'>", "<rect width='10' height='10' fill='&red;'/>"));
    assert_eq!(pixel(&picture, 5, 5), [250, 10, 5]);
    let laughs = "<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>";
    assert_eq!(
        refused(&with(laughs, "<g>&b;</g>")).to_string(),
        "it is an SVG with entities that contain others, which is not supported"
    );
    let long = format!("<!ENTITY a '{}'>", "a".repeat(100_000));
    let refusal = refused(&with(&long, &format!("<g>{}</g>", "&a;".repeat(10_000))));
    assert_eq!(refusal.to_string(), "it is an SVG with many uses of long entities, which is not supported");
    assert!(matches!(
        refused(&with("<!ENTITY a SYSTEM 'file:///etc/passwd'>", "<g>&a;</g>")),
        Refusal::Damaged(_)
    ));
}

#[test]
fn layers_filters_and_patterns_that_take_too_much_memory_are_refused() {
    let settings = Settings { max_side: 2000, ..settings() };
    let is_refused = |content: &str| {
        let refusal = drawn(&ten(content), &settings).err();
        assert!(matches!(refusal, Some(Refusal::TooLarge { setting: "TASK_MEMORY_MIB", .. })), "{refusal:?}");
    };
    let rect = "<rect width='10' height='10'/>";
    is_refused(&format!("{}{rect}{rect}{}", "<g opacity='0.5'>".repeat(40), "</g>".repeat(40)));
    let blur = "<feGaussianBlur stdDeviation='1'/>".repeat(30);
    let filter = format!("<filter id='f' x='-10' y='-10' width='30' height='30'>{blur}</filter>");
    is_refused(&format!("{filter}<g filter='url(#f)'>{rect}</g>"));
    let pattern = "<pattern id='p' patternUnits='userSpaceOnUse' width='100000' height='100000'>";
    is_refused(&format!("{pattern}{rect}</pattern><rect width='10' height='10' fill='url(#p)'/>"));
    let picture = made(&ten(&format!("{}{rect}{rect}{}", "<g opacity='0.5'>".repeat(4), "</g>".repeat(4))));
    assert_eq!(pixel(&picture, 5, 5)[3], 16);
}

#[test]
fn noise_of_many_octaves_is_refused_by_name() {
    let noise = |octaves: u32| {
        let filter =
            format!("<filter id='f'><feTurbulence baseFrequency='0.1' numOctaves='{octaves}'/></filter>");
        ten(&format!("{filter}<rect width='10' height='10' filter='url(#f)'/>"))
    };
    made(&noise(16));
    let reason = "it is an SVG with noise of more than 16 octaves, which is not supported";
    assert_eq!(refused(&noise(1_000_000_000)).to_string(), reason);
}

#[test]
fn a_cut_or_changed_file_never_panics() {
    let text = ten(concat!(
        "<defs><linearGradient id='l'><stop offset='0' stop-color='red'/><stop offset='1'/></linearGradient>",
        "<pattern id='p' width='0.2' height='0.2'><rect width='1' height='1' fill='url(#l)'/></pattern>",
        "<clipPath id='c'><circle cx='5' cy='5' r='4'/></clipPath><mask id='m'><rect width='9' height='9'/></mask>",
        "<filter id='f'><feGaussianBlur stdDeviation='0.2'/><feOffset dx='1'/></filter></defs>",
        "<g clip-path='url(#c)' mask='url(#m)'><rect id='r' width='9' height='9' fill='url(#p)'/></g>",
        "<use href='#r' x='2' filter='url(#f)'/><path d='M1 1 L9 9 A3 3 0 0 1 2 2z' stroke='url(#l)'/>"
    ));
    let settings = Settings { max_side: 24, ..settings() };
    assert!(drawn(&text, &settings).is_ok());
    for length in 0..text.len() {
        assert!(draw(&text.as_bytes()[..length], &settings).is_err());
    }
    for at in 0..text.len() {
        for byte in [b'0', b'9', b'e', b'-', b'<', b' '] {
            let mut changed = text.clone().into_bytes();
            changed[at] = byte;
            let _ = draw(&changed, &settings);
        }
    }
}
