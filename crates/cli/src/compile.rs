//! `wasmrun compile`: from a component to a file of code.

use crate::args::CompileArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::task::{compiler, open_cache, read_component};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use wasmrun_runtime::component::precompile;
use wasmrun_runtime::engine::CodeOptions;

pub(crate) async fn compile(args: CompileArgs) -> Result<ExitCode, Failure> {
    let output = Output::start(&args.log)?;
    let shown = args.component.display().to_string();
    let bytes = read_component(&args.component)?;
    if args.engine.is_precompiled() {
        return Err(Failure::usage("--precompiled is for code that is run, and this compiles"));
    }
    let code = CodeOptions { deterministic: args.deterministic, portable: args.portable };
    let compiler = compiler(&args.engine, open_cache(&args.engine)?)?;
    let code =
        precompile(&bytes, &compiler, code).await.map_err(|error| Failure::component(&shown, &error))?;
    write(&args.output, &code).map_err(|error| {
        Failure::backend(format!("cannot write the file {}: {error}", args.output.display()))
    })?;
    output.print(&format!("{}: {} bytes of code", args.output.display(), code.len()));
    Ok(ExitCode::SUCCESS)
}

/// In one step: who starts with the file meanwhile has the old one or the new one.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
