//! Writes its input in upper case.

use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content)?;
    let Ok(text) = String::from_utf8(content) else {
        eprintln!("the input is not UTF-8 text");
        return Ok(ExitCode::FAILURE);
    };
    io::stdout().write_all(text.to_uppercase().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
