//! `wasmrun inspect`: shows a component's imports, exports and required grants, without running it.

use crate::output::failure::Failure;
use crate::settings::flags::InspectArgs;
use crate::settings::limit_flags::LimitSettings;
use crate::settings::source::Source;
use crate::wiring::backends::Backends;
use crate::wiring::compiler::{compiler, open_cache};
use crate::wiring::component::{grant_flag, read};
use crate::wiring::logging;
use bytesize::ByteSize;
use serde_json::{Value, json};
use std::process::ExitCode;
use wasmrun_runtime::model::limits::{Limit, Limits};
use wasmrun_runtime::task::component::{Excess, Grantable, Interfaces, LoadError};

pub(crate) async fn inspect(args: InspectArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&args.log)?;
    let source = Source::of(&args.component)?;
    let shown = source.to_string();
    let limits = args.limits.resolve(LimitSettings::default(), false)?;
    let (backends, cache) = (Backends::new(args.aws), open_cache(&args.engine)?);
    let read = read(&source, &args.engine, &args.registry, cache.as_ref(), &backends).await?;
    let compiler = compiler(&args.engine, cache)?;
    let failed = |error| Failure::component(&shown, &error);
    let interfaces =
        wasmrun_runtime::task::component::inspect(&read.bytes, &compiler, &limits).await.map_err(failed)?;
    if args.json {
        output.print(&as_json(&interfaces, &limits).to_string());
    } else {
        as_lines(&read.place, &interfaces, &limits).iter().for_each(|line| output.line(line));
    }
    match (interfaces.fits, interfaces.parts.map(|parts| parts.check(&limits))) {
        (Err(misfit), _) => Err(failed(LoadError::World(misfit))),
        (_, Some(Err(error))) => Err(failed(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn as_json(interfaces: &Interfaces, limits: &Limits) -> Value {
    let parts = interfaces.parts.map(|parts| {
        let part = |part: &Excess| {
            let key = part.limit.as_str().replace('-', "_");
            let flag = (part.needed > part.allowed).then(|| part.flag());
            let value =
                json!({"needed": part.needed, "limit": part.allowed, "exact": part.is_exact, "raise": flag});
            (key, value)
        };
        parts.against(limits).iter().map(part).collect::<serde_json::Map<String, Value>>()
    });
    let needs = |grantable| interfaces.needs.grants.contains_key(&grantable);
    json!({
        "imports": interfaces.imports,
        "exports": interfaces.exports,
        "world": interfaces.fits.as_ref().ok().map(|world| world.as_str()),
        "misfit": interfaces.fits.as_ref().err(),
        "parts": parts,
        "needs": {"store": needs(Grantable::Store), "send": needs(Grantable::Queue),
            "keyvalue": needs(Grantable::Bucket), "http": needs(Grantable::Http),
            "config-value": needs(Grantable::ConfigValue)},
    })
}

/// Formats the interfaces as lines. They are printed one by one, as the names in a component may hold any characters.
fn as_lines(shown: &str, interfaces: &Interfaces, limits: &Limits) -> Vec<String> {
    let world = match &interfaces.fits {
        Ok(world) => world.as_str().to_owned(),
        Err(misfit) => format!("none: {misfit}"),
    };
    let needs: Vec<&str> = interfaces.needs.grants.keys().map(|grantable| grant_flag(*grantable)).collect();
    let grants = if needs.is_empty() {
        "none".to_owned()
    } else {
        let values = if interfaces.needs.grants.contains_key(&Grantable::ConfigValue) {
            ", and wasi:config has no value"
        } else {
            ""
        };
        format!("{}; calls without a grant are refused{values}", needs.join(", "))
    };
    let mut lines =
        vec![format!("component  {shown}"), format!("world      {world}"), format!("grants     {grants}")];
    let parts = interfaces.parts.map(|parts| parts.against(limits).map(|part| of_limit(&part)));
    for (index, part) in parts.iter().flatten().enumerate() {
        lines.push(format!("{:<11}{part}", if index == 0 { "parts" } else { "" }));
    }
    for (title, names) in [("imports", &interfaces.imports), ("exports", &interfaces.exports)] {
        for (index, name) in names.iter().enumerate() {
            lines.push(format!("{:<11}{name}", if index == 0 { title } else { "" }));
        }
    }
    lines
}

/// Formats what a component needs of a limit, and the flag that would allow it if it's more than the limit.
fn of_limit(part: &Excess) -> String {
    let allowed = match part.limit {
        Limit::Memory => ByteSize(part.allowed).display().iec().to_string(),
        _ => part.allowed.to_string(),
    };
    let flag = if part.needed > part.allowed { format!(": {}", part.flag()) } else { String::new() };
    let at_least = if part.is_exact { "" } else { "at least " };
    format!("{at_least}{} (limit {allowed}){flag}", part.amount())
}
