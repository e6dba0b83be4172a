//! The page that shows the status of a worker in a browser.
//!
//! It is one document without any reference to another host. Its policy allows this one style, this one script and
//! requests to this server, and forbids that a text becomes markup. `page/` holds the page's sources, and uPlot, which
//! draws the charts, as npm publishes it. A test compares it with npm's. To update it, copy the three files, and change
//! the version and npm's `integrity` here and the version in `xtask/src/servers.rs`:
//!
//! ```text
//! uplot 1.6.32, MIT, sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
//! ```

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const DOCUMENT: &str = include_str!("page/index.html");
const STYLE: &str = concat!(include_str!("page/uPlot.min.css"), include_str!("page/page.css"));
/// uPlot's licence must be in all copies.
const SCRIPT: &str = concat!(
    "/*\n",
    include_str!("page/uPlot.LICENSE"),
    "\n*/\n",
    include_str!("page/uPlot.iife.min.js"),
    "\n",
    include_str!("page/page.js"),
);

/// The page, with its policy.
pub(crate) struct Page {
    pub(crate) html: Bytes,
    /// Value of `Content-Security-Policy`.
    pub(crate) policy: HeaderValue,
}

/// Returns the page, which is the same for each request.
pub(crate) fn page() -> &'static Page {
    static PAGE: LazyLock<Page> = LazyLock::new(|| {
        let html = DOCUMENT.replacen("<style></style>", &format!("<style>{STYLE}</style>"), 1).replacen(
            "<script></script>",
            &format!("<script>{SCRIPT}</script>"),
            1,
        );
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
        let policy = HeaderValue::try_from(policy).expect("printable characters");
        Page { html: html.into(), policy }
    });
    &PAGE
}

/// Returns the hash by which a policy allows an inline style or script
/// ([CSP 3](https://www.w3.org/TR/CSP3/#grammardef-hash-source)).
fn hash(source: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_document_whose_text_never_becomes_markup() {
        let html = std::str::from_utf8(&page().html).expect("text");
        assert!(html.contains(STYLE) && html.contains(SCRIPT));
        for ends in ["</style", "</script", "<!--"] {
            assert!(!STYLE.contains(ends) && !SCRIPT.contains(ends), "{ends} in the style or the script");
        }
        for makes_markup in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "srcdoc", "DOMParser", "eval("]
        {
            assert!(!html.contains(makes_markup), "{makes_markup}");
        }
        for source in [DOCUMENT, include_str!("page/page.css"), include_str!("page/page.js")] {
            assert!(!source.contains("://"), "another host");
            for inline in [" style=", " onclick=", " onload=", " src="] {
                assert!(!source.contains(inline), "{inline}, which the policy refuses");
            }
        }
    }

    #[test]
    fn the_policy_allows_this_style_and_this_script_alone() {
        let policy = page().policy.to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        // The hash of the empty text, as in many published policies.
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
