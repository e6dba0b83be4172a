//! Reads single properties of XMP, and writes those about rights. Source: ISO 16684-1, 7 and 8.

use crate::encode::Rights;
use crate::exif::{MAX_TEXT_BYTES, clean};

/// Returns a property of a packet: the text of an attribute or an element, or the first of a list's.
pub(crate) fn property(packet: &[u8], name: &str) -> Option<String> {
    let at = packet.windows(name.len()).position(|window| window == name.as_bytes())?;
    let rest = packet.get(at + name.len()..)?.trim_ascii_start();
    let text = match rest {
        [b'=', rest @ ..] => match rest.trim_ascii_start() {
            [quote @ (b'"' | b'\''), rest @ ..] => &rest[..rest.iter().position(|byte| byte == quote)?],
            _ => return None,
        },
        [b'>', rest @ ..] => element(rest, name)?,
        _ => return None,
    };
    clean(unescaped(text).as_bytes())
}

/// Returns the text of an element from after its start tag, or that of the first `rdf:li` in it.
fn element<'a>(rest: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let end = [b"</", name.as_bytes()].concat();
    let length = rest.windows(end.len()).position(|window| *window == *end)?;
    let inside = &rest[..length];
    const ITEM: &[u8] = b"<rdf:li";
    let text = match inside.windows(ITEM.len()).position(|window| window == ITEM) {
        Some(at) => inside[at..].splitn(2, |&byte| byte == b'>').nth(1)?,
        None => inside,
    };
    text.split(|&byte| byte == b'<').next()
}

const ENTITIES: [(char, &str); 5] =
    [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")];

fn unescaped(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(8 * MAX_TEXT_BYTES)]);
    // The ampersand last, so that no other is made of it.
    ENTITIES
        .iter()
        .rev()
        .fold(text.into_owned(), |text, (character, entity)| text.replace(entity, &character.to_string()))
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| {
            let entity = ENTITIES.iter().find(|(escaped, _)| *escaped == character);
            entity.map_or_else(|| character.to_string(), |(_, entity)| (*entity).to_owned())
        })
        .collect()
}

/// Returns a packet that says who owns a picture and who made it.
pub(crate) fn packet(rights: &Rights) -> String {
    let copyright = rights.copyright.as_ref().map_or_else(String::new, |text| {
        format!(
            "<dc:rights><rdf:Alt><rdf:li xml:lang=\"x-default\">{}</rdf:li></rdf:Alt></dc:rights>",
            escaped(text)
        )
    });
    let creator = rights.creator.as_ref().map_or_else(String::new, |text| {
        format!("<dc:creator><rdf:Seq><rdf:li>{}</rdf:li></rdf:Seq></dc:creator>", escaped(text))
    });
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\
         {copyright}{creator}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_read_as_an_attribute_an_element_or_a_list() {
        for packet in [
            "<rdf:Description dc:rights=\"A &amp; B\"/>",
            "<rdf:Description dc:rights = 'A &amp; B'/>",
            "<dc:rights>\n A &amp; B </dc:rights>",
            "<dc:rights><rdf:Alt><rdf:li xml:lang='x'>A &amp; B</rdf:li><rdf:li>C</rdf:li></rdf:Alt></dc:rights>",
        ] {
            assert_eq!(property(packet.as_bytes(), "dc:rights").as_deref(), Some("A & B"), "{packet}");
        }
        for packet in
            ["", "dc:rights", "dc:rights=", "dc:rights=\"", "<dc:rights>", "<dc:rights></dc:rights>"]
        {
            assert_eq!(property(packet.as_bytes(), "dc:rights"), None, "{packet}");
        }
        assert_eq!(property(b"<dc:rights>&amp;lt;</dc:rights>", "dc:rights").as_deref(), Some("&lt;"));
    }

    #[test]
    fn what_is_written_is_read() {
        let copyright = Some("© \"Ø\" <b> & 'c'".to_owned());
        let rights = Rights { copyright: copyright.clone(), creator: Some("Ann".to_owned()) };
        let packet = packet(&rights);
        assert_eq!(property(packet.as_bytes(), "dc:rights"), copyright);
        assert_eq!(property(packet.as_bytes(), "dc:creator").as_deref(), Some("Ann"));
    }
}
