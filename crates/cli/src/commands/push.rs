//! `wasmrun push`: pushes a component to a registry.

use crate::output::failure::Failure;
use crate::settings::flags::PushArgs;
use crate::settings::registry::RegistrySettings;
use crate::settings::source::{Source, reference};
use crate::wiring::backends::Backends;
use crate::wiring::component::read_component;
use crate::wiring::logging;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use wasmrun_registry::{Artefact, RegistryError, is_reference};
use wasmrun_runtime::task::component::metadata;

const CREATED: &str = "org.opencontainers.image.created";
const AUTHORS: &str = "org.opencontainers.image.authors";
/// Variable of reproducible builds (<https://reproducible-builds.org/specs/source-date-epoch/>).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Last second of the year 9999, the last that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

pub(crate) async fn push(args: PushArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&args.log)?;
    let Source::File(path) = Source::of(&args.component)? else {
        let shown = args.component.display();
        return Err(Failure::usage(format!(
            "cannot push {shown}: name a .wasm file, and then where to push it"
        )));
    };
    if !is_reference(&args.to) {
        return Err(Failure::usage(format!("cannot push to {}: write oci://HOST/REPOSITORY:TAG", args.to)));
    }
    let to = reference(&args.to)?;
    let made_at = made_at(std::env::var_os(SOURCE_DATE_EPOCH).as_deref().map(|text| text.to_string_lossy()))?;
    let component = read_component(&path, false)?;
    let found =
        metadata(&component).map_err(|error| Failure::component(&path.display().to_string(), &error))?;
    let mut annotations = found.annotations;
    annotations.extend(made_at.clone().map(|time| (CREATED.to_owned(), time)));
    let artefact = Artefact {
        component: component.into(),
        title: Source::File(path).name(),
        imports: found.imports,
        exports: found.exports,
        // Other clients require it, and the time of the push would make another artefact of the same component.
        created: made_at.unwrap_or_else(|| rfc3339(0)),
        author: annotations.get(AUTHORS).cloned(),
        annotations,
    };
    let settings = RegistrySettings { plain_http: args.registry_plain_http, verify_key: None };
    let digest = Backends::new(args.aws).registry(&settings)?.push(&to, &artefact).await;
    let digest = digest.map_err(|error| {
        let text = format!("cannot push the component to {to}: {error}");
        match error {
            RegistryError::Unfit(_) => Failure::usage(text),
            RegistryError::Unavailable(_) => Failure::backend(text),
        }
    })?;
    if args.json {
        let reference = to.pinned(&digest).to_string();
        output.print(&json!({ "digest": digest.to_string(), "reference": reference }).to_string());
    } else {
        output.line(to.pinned(&digest));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the time that `SOURCE_DATE_EPOCH` names.
fn made_at(seconds: Option<impl AsRef<str>>) -> Result<Option<String>, Failure> {
    let Some(text) = seconds.as_ref().map(AsRef::as_ref).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= LAST_SECOND);
    let seconds = seconds.ok_or_else(|| {
        Failure::usage(format!(
            "{SOURCE_DATE_EPOCH} is {text:?}, which is not a number of seconds since 1970"
        ))
    })?;
    Ok(Some(rfc3339(seconds)))
}

fn rfc3339(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_source() {
        let of = |text: &str| made_at(Some(text)).map_err(|failure| failure.to_string());
        assert_eq!(of("1790000000"), Ok(Some("2026-09-21T14:13:20Z".into())));
        assert_eq!(of("0"), Ok(Some("1970-01-01T00:00:00Z".into())));
        assert_eq!(of(""), Ok(None));
        for text in ["now", "-1", "1.5", "253402300800", "99999999999999999999"] {
            assert!(of(text).expect_err(text).contains("SOURCE_DATE_EPOCH"));
        }
    }
}
