//! `wasmrun inspect`: shows a component's imports, exports and required grants, without running it.

use crate::output::failure::Failure;
use crate::settings::flags::InspectArgs;
use crate::wiring::compiler::{compiler, open_cache};
use crate::wiring::component::{grant_flags, read_component};
use crate::wiring::logging;
use serde_json::json;
use std::process::ExitCode;
use wasmrun_runtime::task::component::Interfaces;

pub(crate) async fn inspect(args: InspectArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&args.log)?;
    let shown = args.component.display().to_string();
    let bytes = read_component(&args.component, args.engine.is_precompiled())?;
    let compiler = compiler(&args.engine, open_cache(&args.engine)?)?;
    let interfaces = wasmrun_runtime::task::component::inspect(&bytes, &compiler)
        .await
        .map_err(|error| Failure::component(&shown, &error))?;
    if args.json {
        output.print(&as_json(&interfaces).to_string());
    } else {
        as_lines(&shown, &interfaces).iter().for_each(|line| output.line(line));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(interfaces: &Interfaces) -> serde_json::Value {
    json!({
        "imports": interfaces.imports,
        "exports": interfaces.exports,
        "world": interfaces.fits.as_ref().ok().map(|world| world.as_str()),
        "misfit": interfaces.fits.as_ref().err(),
        "initial_memory_bytes": interfaces.initial_memory_bytes,
        "needs": {"store": interfaces.needs.object_store, "send": interfaces.needs.queue,
            "keyvalue": interfaces.needs.keyvalue,
            "config-value": interfaces.needs.config},
    })
}

/// Formats the interfaces as lines. They are printed one by one, as the names in a component may hold any characters.
fn as_lines(shown: &str, interfaces: &Interfaces) -> Vec<String> {
    let world = match &interfaces.fits {
        Ok(world) => world.as_str().to_owned(),
        Err(misfit) => format!("none: {misfit}"),
    };
    let needs: Vec<&str> = grant_flags(interfaces.needs).map(|(_, flag)| flag).collect();
    let grants = if needs.is_empty() {
        "none".to_owned()
    } else {
        let values = if interfaces.needs.config { ", and wasi:config has no value" } else { "" };
        format!("{}; calls without a grant are access-denied{values}", needs.join(", "))
    };
    let mut lines =
        vec![format!("component  {shown}"), format!("world      {world}"), format!("grants     {grants}")];
    if let Some(bytes) = interfaces.initial_memory_bytes {
        lines.push(format!("memory     {} at the start", bytesize::ByteSize(bytes).display().iec()));
    }
    for (title, names) in [("imports", &interfaces.imports), ("exports", &interfaces.exports)] {
        for (index, name) in names.iter().enumerate() {
            lines.push(format!("{:<11}{name}", if index == 0 { title } else { "" }));
        }
    }
    lines
}
