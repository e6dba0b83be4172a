//! Makes a thumbnail of each announced picture. It reads the usual formats, and writes JPEG or WebP. README.md in the
//! folder above lists the guest's environment variables and grants.
//!
//! Only this file talks to the host. The crate `picture` does the work.

mod settings;

use picture::{Excess, Format, Refusal, encode_jpeg, encode_webp};
use picture_guest::{each, new_object, read};
use settings::Settings;
use wasmrun_guest::{Failure, Message, Store, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    // Wrong settings are the operator's mistake, not the message's, so another try may succeed.
    let settings = Settings::read(|key| std::env::var(key).ok()).map_err(Failure::retry)?;
    let output = Store::open("output")?;
    each(&message, |object| {
        let refused = |refusal| Failure::reject(reason(&object.key, &refusal));
        let bound = settings.bounds.memory;
        let content =
            read(object, bound, |needed| refused(Refusal::TooLarge(Excess::Memory { needed, bound })))?;
        let thumbnail = thumbnail(content, &settings).map_err(refused)?;
        // The whole key is kept, so that the thumbnails of a.jpg and a.png have different keys.
        let key = format!("{}.{}", object.key, settings.format.extension());
        let content_type = settings.format.content_type();
        new_object(&output, &key, content_type, settings.cache_control.as_deref()).put(&thumbnail)?;
        info!("{key}: {} bytes", thumbnail.len());
        Ok(())
    })
}

fn reason(key: &str, refusal: &Refusal) -> String {
    picture_guest::reason(&format!("make a thumbnail of {key}"), refusal)
}

/// Returns the thumbnail's file for a picture's file.
fn thumbnail(content: Vec<u8>, settings: &Settings) -> Result<Vec<u8>, Refusal> {
    #[cfg(not(feature = "jxl"))]
    let decode = picture::decode;
    #[cfg(feature = "jxl")]
    let decode = picture::decode_with_jxl;
    let picture = decode(content, settings.max_side, &settings.bounds)?;
    let picture = picture.fitted(settings.max_side)?.upright();
    let encoding = settings.encoding();
    // Each encoder that is named here becomes part of the component.
    match settings.format {
        Format::Jpeg => encode_jpeg(picture, &encoding),
        _ => encode_webp(picture, &encoding),
    }
}
