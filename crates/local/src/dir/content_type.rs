//! Media types of files that other programs put into the directory without an attribute that names the type.

/// Guesses the media type from the key's extension.
pub(super) fn guess(key: &str) -> Option<&'static str> {
    let name = key.rsplit('/').next()?;
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "gif" => "image/gif",
        "jpeg" | "jpg" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tif" | "tiff" => "image/tiff",
        "webp" => "image/webp",
        "flac" => "audio/flac",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mov" => "video/quicktime",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "css" => "text/css",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "js" | "mjs" => "text/javascript",
        "md" => "text/markdown",
        "txt" => "text/plain",
        "gz" => "application/gzip",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "tar" => "application/x-tar",
        "wasm" => "application/wasm",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "zip" => "application/zip",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::guess;

    #[test]
    fn the_extension_of_the_last_segment_counts() {
        assert_eq!(guess("a/photo.JPG"), Some("image/jpeg"));
        for key in ["a.jpg/b", "jpg", "a.unknown", "a."] {
            assert_eq!(guess(key), None, "{key}");
        }
    }
}
