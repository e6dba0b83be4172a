//! Compares the path of a request with that of a rule.
//!
//! Servers and proxies decode a path, resolve its `..` and drop what they take for parameters, in different orders. So a
//! path is compared decoded, and a path that any of them could resolve to another place is below no rule.

use percent_encoding::percent_decode;

/// How often a path is decoded to look for what is hidden in it. A path that is still encoded then is refused.
const MOST_DECODED: usize = 3;

/// Splits a path into decoded segments. Returns `None` if it could lead elsewhere than it says: if a segment is `.` or
/// `..`, or holds a slash, a backslash or a control character, encoded or not.
pub(super) fn segments(path: &str) -> Option<Vec<Vec<u8>>> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(|segment| decoded(segment.as_bytes())).collect()
}

/// Returns whether a path is that of a rule or lies below it, segment by segment.
pub(super) fn is_below(path: &[Vec<u8>], prefix: &[Vec<u8>]) -> bool {
    path.len() >= prefix.len() && path.iter().zip(prefix).all(|(segment, prefix)| segment == prefix)
}

fn decoded(segment: &[u8]) -> Option<Vec<u8>> {
    let once: Vec<u8> = percent_decode(segment).collect();
    let mut seen = once.clone();
    for _ in 0..MOST_DECODED {
        if is_misleading(&seen) {
            return None;
        }
        let next: Vec<u8> = percent_decode(&seen).collect();
        if next == seen {
            return Some(once);
        }
        seen = next;
    }
    None
}

fn is_misleading(segment: &[u8]) -> bool {
    // Some servers drop parameters: `..;x` is `..` for them.
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
        || segment.iter().any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_below_v1(path: &str) -> bool {
        segments(path).is_some_and(|path| is_below(&path, &segments("/api/v1").expect("a path")))
    }

    #[test]
    fn a_path_is_below_a_rule_segment_by_segment_and_decoded() {
        for path in [
            "/api/v1",
            "/api/v1/",
            "/api/v1/x",
            "/api/%76%31/x",
            "/api/v1//x",
            "/api/v1/a;b=c",
            "/api/v1/100%",
        ] {
            assert!(is_below_v1(path), "{path}");
        }
        for path in [
            "/",
            "/api",
            "/api/v10",
            "/api/v",
            "/API/v1",
            "//api/v1",
            "/x/api/v1",
            "",
            "/api/v1%20",
            "/api/v1;x",
        ] {
            assert!(!is_below_v1(path), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_when_it_is_resolved_is_below_no_rule() {
        for path in [
            "/api/v1/..",
            "/api/v1/../admin",
            "/api/v1/./x",
            "/api/v1/%2e%2e/admin",
            "/api/v1/.%2E/admin",
            "/api/v1/%252e%252e/admin",
            "/api/v1/%25252e./admin",
            "/api/v1/..%2fadmin",
            "/api/v1/x%2Fy",
            "/api/v1/..%5cadmin",
            "/api/v1/x\\y",
            "/api/v1/..;/admin",
            "/api/v1/..;a=b/admin",
            "/api/v1/%2e%2e%3b/admin",
            "/api/v1/%00",
            "/api/v1/x%0d%0ay",
            "/api/v1/%2525252541",
        ] {
            assert!(!is_below_v1(path), "{path}");
        }
    }
}
