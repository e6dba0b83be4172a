//! `wasmrun inspect`: what a component is, without running it.

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::task::{compiler, open_cache, read_component};
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;
use wasmrun_runtime::component::{Interfaces, Needs};

pub(crate) async fn inspect(args: InspectArgs) -> Result<ExitCode, Failure> {
    let output = Output::start(&args.log)?;
    let shown = args.component.display().to_string();
    let bytes = read_component(&args.component, args.engine.is_precompiled())?;
    let compiler = compiler(&args.engine, open_cache(&args.engine)?)?;
    let interfaces = wasmrun_runtime::component::inspect(&bytes, &compiler)
        .await
        .map_err(|error| Failure::component(&shown, &error))?;
    if args.json {
        output.print(&as_json(&interfaces).to_string());
    } else {
        output.print(&as_text(&shown, &interfaces));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(interfaces: &Interfaces) -> serde_json::Value {
    json!({
        "imports": interfaces.imports,
        "exports": interfaces.exports,
        "world": interfaces.fits.is_ok().then_some("wasmrun:task/task@0.1.0"),
        "misfit": interfaces.fits.as_ref().err(),
        "initial_memory_bytes": interfaces.initial_memory_bytes,
        "needs": {"store": interfaces.needs.object_store, "send": interfaces.needs.queue},
    })
}

fn as_text(shown: &str, interfaces: &Interfaces) -> String {
    let mut text = format!("component  {shown}\n");
    match &interfaces.fits {
        Ok(()) => text.push_str("world      wasmrun:task/task@0.1.0\n"),
        Err(misfit) => {
            let _ = writeln!(text, "world      none: {misfit}");
        }
    }
    let Needs { object_store, queue } = interfaces.needs;
    let needs: Vec<&str> = [(object_store, "--store ALIAS=URL:MODE"), (queue, "--send ALIAS=URL")]
        .iter()
        .filter(|(needed, _)| *needed)
        .map(|(_, flag)| *flag)
        .collect();
    let _ =
        writeln!(text, "grants     {}", if needs.is_empty() { "none".to_owned() } else { needs.join(", ") });
    if let Some(bytes) = interfaces.initial_memory_bytes {
        let _ = writeln!(text, "memory     {} at the start", bytesize::ByteSize(bytes).display().iec());
    }
    for (title, names) in [("imports", &interfaces.imports), ("exports", &interfaces.exports)] {
        for (index, name) in names.iter().enumerate() {
            let _ = writeln!(text, "{:<11}{}", if index == 0 { title } else { "" }, name.escape_debug());
        }
    }
    text.trim_end().to_owned()
}
