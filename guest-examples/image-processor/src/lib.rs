//! Makes several pictures of each announced picture, which it decodes once, and a document about them. README.md in the
//! folder above lists the guest's environment variables, the keys of a rendition, and the grants.
//!
//! Only this file talks to the host. The crate `picture` does the work on pixels.

mod entries;
mod make;
mod rendition;
mod renditions;
mod settings;
mod sidecar;
mod table;
mod template;

use make::{check_size, make};
use picture::{Excess, Metadata, Refusal, Target};
use picture_guest::{each, new_object, read};
use renditions::Renditions;
use settings::{Settings, Source};
use sidecar::{Asked, Sidecar};
use wasmrun_guest::{AnnouncedObject, Failure, Message, Store, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    // Wrong settings are the operator's mistake, not the message's, so another try may succeed.
    let settings = Settings::read(|key| std::env::var(key).ok()).map_err(Failure::retry)?;
    let text = text(&settings.renditions)?;
    let renditions = Renditions::read(settings.renditions.setting(), &text, settings.sidecar.clone());
    let renditions = renditions.map_err(Failure::retry)?;
    let output = Store::open("output")?;
    each(&message, |object| process(object, &renditions, &settings, &output))
}

/// Returns the text that describes the renditions. That it can't be read is no mistake of the message either.
fn text(source: &Source) -> Result<String, Failure> {
    let (store, key) = match source {
        Source::Text(text) => return Ok(text.clone()),
        Source::Object { store, key } => (store, key),
    };
    // One byte more than is allowed shows that it is too long.
    let content = Store::open(store)
        .and_then(|store| store.get_range(key, 0, table::MAX_BYTES as u64 + 1))
        .map_err(|error| Failure::retry(format!("RENDITIONS_OBJECT is {store}:{key}: {error}")))?;
    String::from_utf8(content)
        .map_err(|_| Failure::retry(format!("RENDITIONS_OBJECT is {store}:{key}: it is no text")))
}

/// Makes all outputs of one picture. The sidecar is written last, so that it names only what is there.
fn process(
    object: &AnnouncedObject,
    renditions: &Renditions,
    settings: &Settings,
    output: &Store,
) -> Result<(), Failure> {
    let key = &object.key;
    let refused = |refusal: Refusal| Failure::reject(reason(key, &refusal));
    let rejected = |reason: String| Failure::reject(format!("cannot process {key}: {reason}"));
    let wrong_key = |reason: String| rejected(format!("{} {reason}", settings.renditions.setting()));
    renditions.check_keys(key).map_err(wrong_key)?;

    let bound = settings.bounds.memory;
    let content = read(object, bound, |needed| refused(Refusal::TooLarge(Excess::Memory { needed, bound })))?;
    let bytes = content.len() as u64;
    let metadata = picture::metadata(&content, settings.gps);
    check_frames(&metadata, settings).map_err(rejected)?;
    let rights = settings.keeps_rights.then_some(&metadata.rights);

    let files = renditions.files();
    let target = Target::Files(&files);
    let picture = picture::decode_with_jxl(content, target, &settings.bounds).map_err(refused)?;
    let description = picture.described().map_err(refused)?;
    // Before the first output is written, so that a refused picture leaves none.
    for rendition in &renditions.all {
        check_size(rendition, (description.width, description.height)).map_err(rejected)?;
    }

    let mut outputs = Vec::with_capacity(renditions.all.len());
    for rendition in &renditions.all {
        let made = make(&picture, rendition, rights).map_err(refused)?;
        let key = rendition.key(key, made.format).map_err(wrong_key)?;
        let cache_control = rendition.cache_control.as_ref().or(settings.cache_control.as_ref());
        let content_type = made.format.content_type();
        new_object(output, &key, content_type, cache_control.map(String::as_str)).put(&made.file)?;
        outputs.push(made.output(rendition, &key));
    }
    if let Some(sidecar_key) = renditions.sidecar_key(key).map_err(wrong_key)? {
        let asked = Asked { exif: settings.exif, gps: settings.gps, rights };
        let sidecar = Sidecar::new((key, bytes), &metadata, &description, asked, &outputs);
        let document = sidecar.to_json().map_err(Failure::reject)?;
        let cache_control = settings.cache_control.as_deref();
        new_object(output, &sidecar_key, "application/json", cache_control).put(&document)?;
    }
    info!("{key}: {} outputs", outputs.len());
    Ok(())
}

fn reason(key: &str, refusal: &Refusal) -> String {
    picture_guest::reason(&format!("process {key}"), refusal)
}

fn check_frames(metadata: &Metadata, settings: &Settings) -> Result<(), String> {
    let (frames, bound) = (metadata.frames, settings.max_frames);
    if frames > bound {
        return Err(format!("it has {frames} frames, and {bound} are allowed by MAX_FRAMES"));
    }
    Ok(())
}
