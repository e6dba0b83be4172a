//! Draws each announced SVG as PNG or WebP. README.md in the folder above lists the guest's environment variables and
//! grants.
//!
//! Only this file talks to the host.

mod cost;
mod draw;
mod links;
mod refusal;
mod settings;
mod survey;

use picture_guest::{each, new_object, read};
use refusal::Refusal;
use settings::Settings;
use wasmrun_guest::{Failure, Message, Store, handler, info};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    // Wrong settings are the operator's mistake, not the message's, so another try may succeed.
    let settings = Settings::read(|key| std::env::var(key).ok()).map_err(Failure::retry)?;
    let output = Store::open("output")?;
    each(&message, |object| {
        let reason = |refusal: Refusal| Failure::reject(format!("cannot draw {}: {refusal}", object.key));
        let bound = settings.max_bytes;
        let content = read(object, bound, |found| {
            reason(Refusal::TooLarge { what: "bytes", found, setting: "MAX_BYTES", bound })
        })?;
        let drawn = draw::draw(&content, &settings).map_err(reason)?;
        for ignored in drawn.ignored {
            info!("{}: ignored {ignored}", object.key);
        }
        // The whole key is kept, so that the pictures of a.svg and a.xml have different keys.
        let key = format!("{}.{}", object.key, settings.format.extension());
        let content_type = settings.format.content_type();
        new_object(&output, &key, content_type, settings.cache_control.as_deref()).put(&drawn.file)?;
        info!("{key}: {} bytes", drawn.file.len());
        Ok(())
    })
}

#[cfg(test)]
mod tests;
