//! `wasmrun compile`: compiles a component to a file of native code.

use crate::output::failure::Failure;
use crate::output::files::replace;
use crate::settings::flags::CompileArgs;
use crate::settings::source::Source;
use crate::wiring::backends::Backends;
use crate::wiring::compiler::{compiler, open_cache};
use crate::wiring::component::read;
use crate::wiring::logging;
use std::io::Write;
use std::process::ExitCode;
use wasmrun_runtime::engine::CodeOptions;
use wasmrun_runtime::task::component::precompile;

/// Mode of a file of code: a worker refuses code that others than its owner can write to.
const CODE_MODE: u32 = 0o644;

pub(crate) async fn compile(args: CompileArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&args.log)?;
    let source = Source::of(&args.component)?;
    let shown = source.to_string();
    if args
        .output
        .canonicalize()
        .ok()
        .is_some_and(|output| args.component.canonicalize().is_ok_and(|it| it == output))
    {
        return Err(Failure::usage(format!(
            "the code would replace the component {shown}: name another file with --output"
        )));
    }
    if args.engine.is_precompiled() {
        return Err(Failure::usage("--precompiled is for code that is run, and this compiles"));
    }
    let code = CodeOptions { deterministic: args.deterministic, portable: args.portable };
    let (backends, cache) = (Backends::new(args.aws), open_cache(&args.engine)?);
    let read = read(&source, &args.engine, &args.registry, cache.as_ref(), &backends).await?;
    let compiler = compiler(&args.engine, cache)?;
    let code =
        precompile(&read.bytes, &compiler, code).await.map_err(|error| Failure::component(&shown, &error))?;
    // In one step, so that a worker that starts meanwhile reads either the old or the new file.
    replace(&args.output, Some(CODE_MODE), |file| file.write_all(&code)).map_err(|error| {
        Failure::backend(format!("cannot write the file {}: {error}", args.output.display()))
    })?;
    output.line(format_args!("{}: {} bytes of code", args.output.display(), code.len()));
    Ok(ExitCode::SUCCESS)
}
