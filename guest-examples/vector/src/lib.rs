//! Draws each announced SVG as PNG or WebP. README.md in the folder above lists the guest's environment variables and
//! grants.
//!
//! Only this file talks to the host.

mod cost;
mod draw;
mod refusal;
mod settings;
mod survey;

use std::io::Read;

use refusal::Refusal;
use settings::Settings;
use wasmrun_guest::{AnnouncedObject, Change, Failure, Message, Store, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    // Wrong settings are the operator's mistake, not the message's, so another try may succeed.
    let settings = Settings::read(|key| std::env::var(key).ok()).map_err(Failure::retry)?;
    let output = Store::open("output")?;
    let objects = message.objects();
    if objects.is_empty() {
        return Err(Failure::reject("the message announces no object"));
    }
    for object in objects.iter().filter(|object| object.change != Change::Removed) {
        let reason = |refusal: Refusal| Failure::reject(format!("cannot draw {}: {refusal}", object.key));
        let content = read(object, &settings)?.map_err(reason)?;
        let drawn = draw::draw(&content, &settings).map_err(reason)?;
        for ignored in drawn.ignored {
            info!("{}: ignored {ignored}", object.key);
        }
        // The whole key is kept, so that the pictures of a.svg and a.xml have different keys.
        let key = format!("{}.{}", object.key, settings.format.extension());
        output.new_object(&key).content_type(settings.format.content_type()).put(&drawn.file)?;
        info!("{key}: {} bytes", drawn.file.len());
    }
    Ok(())
}

/// Reads the whole object. Refuses an object that is too large before allocating memory for it.
fn read(object: &AnnouncedObject, settings: &Settings) -> Result<Result<Vec<u8>, Refusal>, Failure> {
    let mut reader = object.read()?;
    let size = reader.info().size;
    if size > settings.max_bytes {
        return Ok(Err(Refusal::TooLarge {
            what: "bytes",
            found: size,
            setting: "MAX_BYTES",
            bound: settings.max_bytes,
        }));
    }
    let mut content = Vec::with_capacity(size as usize);
    reader.read_to_end(&mut content)?;
    Ok(Ok(content))
}

#[cfg(test)]
mod tests;
