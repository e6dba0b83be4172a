//! The demo's contact sheet: one page with all photographs and their renditions, made from the sidecars.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

/// What the demo shows of a sidecar.
#[derive(Debug, PartialEq)]
pub(crate) struct Sidecar {
    key: String,
    width: u64,
    height: u64,
    bytes: u64,
    /// The most frequent colour, which shows until the picture is there.
    dominant: String,
    /// Camera and time, where the photograph has them.
    origin: String,
    pub(crate) outputs: Vec<Output>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Output {
    name: String,
    pub(crate) key: String,
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) bytes: u64,
}

/// Reads the sidecar of each photograph, in the order of their names.
///
/// # Errors
///
/// Fails if a photograph has no sidecar, or it isn't JSON.
pub(crate) fn sidecars(photographs: &Path, outputs: &Path) -> Result<Vec<Sidecar>> {
    let entries =
        fs::read_dir(photographs).with_context(|| format!("cannot list {}", photographs.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    // The store keeps its own files hidden.
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let read = |name: &String| {
        let path = outputs.join(format!("{name}.json"));
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let value =
            serde_json::from_slice(&content).with_context(|| format!("{} is not JSON", path.display()))?;
        Ok(Sidecar::of(&value))
    };
    names.iter().map(read).collect()
}

impl Sidecar {
    fn of(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let output = |value: &Value| Output {
            name: text(&value["name"]),
            key: text(&value["key"]),
            width: number(&value["width"]),
            height: number(&value["height"]),
            bytes: number(&value["bytes"]),
        };
        let camera = &value["camera"];
        let origin = [&camera["maker"], &camera["model"], &value["taken"]].map(text);
        Sidecar {
            key: text(&value["key"]),
            width: number(&value["width"]),
            height: number(&value["height"]),
            bytes: number(&value["bytes"]),
            dominant: text(&value["dominant"]),
            origin: origin.join(" ").trim().to_owned(),
            outputs: value["outputs"].as_array().into_iter().flatten().map(output).collect(),
        }
    }

    fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Renditions</title>
<style>
  :root { color-scheme: light dark; --ink: #1d1d1f; --soft: #6b6b70; --paper: #fff; --card: #f3f3f5; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #ececee; --soft: #a0a0a6; --paper: #161618; --card: #222226; }
  }
  body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
         font: 15px/1.45 system-ui, sans-serif; }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
  article { background: var(--card); border-radius: 10px; overflow: hidden; }
  article > a { display: block; }
  article > a > img { display: block; width: 100%; aspect-ratio: 3 / 2; object-fit: cover; }
  div { display: flex; gap: 1rem; padding: 1rem; }
  div img { width: 80px; height: 80px; border-radius: 6px; flex: none; }
  h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
  p, table { margin: 0; color: var(--soft); font-size: 0.85rem; }
  td { padding: 0 0.8em 0 0; white-space: nowrap; }
  td + td { text-align: right; font-variant-numeric: tabular-nums; }
  td a { color: inherit; }
</style>
<h1>Renditions</h1>
<main>
"#;

/// Returns the page. It needs no other files but the renditions, which are next to it.
pub(crate) fn html(sidecars: &[Sidecar]) -> String {
    let mut page = HEAD.to_owned();
    for sidecar in sidecars {
        // Writing to a `String` can't fail.
        let _ = article(&mut page, sidecar);
    }
    page.push_str("</main>\n</html>\n");
    page
}

fn article(page: &mut String, sidecar: &Sidecar) -> std::fmt::Result {
    let Sidecar { key, width, height, bytes, dominant, origin, outputs } = sidecar;
    let (key, dominant, origin) = (escaped(key), escaped(dominant), escaped(origin));
    writeln!(page, "<article>")?;
    if let (Some(small), Some(large)) = (sidecar.output("small"), sidecar.output("large")) {
        let (small, large) = (link(&small.key), link(&large.key));
        let image =
            format!("<img src=\"{small}\" alt=\"{key}\" loading=\"lazy\" style=\"background: {dominant}\">");
        writeln!(page, "<a href=\"{large}\">{image}</a>")?;
    }
    writeln!(page, "<div>")?;
    if let Some(square) = sidecar.output("square") {
        writeln!(page, "<img src=\"{}\" alt=\"\" style=\"background: {dominant}\">", link(&square.key))?;
    }
    writeln!(page, "<section>\n<h2>{key}</h2>\n<p>{width} × {height}, {}</p>", kilobytes(*bytes))?;
    if !origin.is_empty() {
        writeln!(page, "<p>{origin}</p>")?;
    }
    writeln!(page, "<table>")?;
    for Output { name, key, width, height, bytes } in outputs {
        let (href, name, size) = (link(key), escaped(name), kilobytes(*bytes));
        let name = format!("<a href=\"{href}\">{name}</a>");
        writeln!(page, "<tr><td>{name}</td><td>{width} × {height}</td><td>{size}</td></tr>")?;
    }
    writeln!(page, "</table>\n</section>\n</div>\n</article>")
}

fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1000))
}

/// Returns a text as HTML, in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html
}

/// Returns a key as a relative URL (RFC 3986, section 2).
fn link(key: &str) -> String {
    let mut url = "./".to_owned();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(char::from(byte))
            }
            other => {
                let _ = write!(url, "%{other:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_shows_each_output_and_escapes_names() {
        let output =
            |name: &str, key: &str| json!({"name": name, "key": key, "width": 4, "height": 3, "bytes": 1001});
        let sidecar = Sidecar::of(&json!({
            "key": "a & \"b\".jpg", "width": 40, "height": 30, "bytes": 9000, "dominant": "#0a141e",
            "camera": {"maker": "M", "model": "<X>"}, "taken": "2026-11-28T12:34:56",
            "outputs": [output("large", "a & b_1280.jpg"), output("small", "a & b_480.jpg")],
        }));
        let page = html(&[sidecar]);
        for part in [
            "<h2>a &amp; &quot;b&quot;.jpg</h2>",
            "<p>40 × 30, 9 kB</p>",
            "<p>M &lt;X&gt; 2026-11-28T12:34:56</p>",
            "<a href=\"./a%20%26%20b_1280.jpg\"><img src=\"./a%20%26%20b_480.jpg\"",
            "style=\"background: #0a141e\"",
            "<td>4 × 3</td><td>2 kB</td>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        // Nothing is fetched from elsewhere.
        assert!(!page.contains("//"), "{page}");
    }

    #[test]
    fn a_photograph_without_a_sidecar_is_named() {
        let error =
            sidecars(Path::new("../demo/photographs"), Path::new("nowhere")).expect_err("there is none");
        assert!(error.to_string().contains("nowhere/astronaut.jpg.json"), "{error}");
    }
}
