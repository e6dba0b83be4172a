//! Keeps the lines of its input that contain its argument. An ordinary program, which wasmrun runs as a command:
//! standard input is the announced object, and `--output-object` names the object that standard output becomes.

use std::io::{self, BufRead, BufWriter, Write};

fn main() -> io::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut output = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.contains(&wanted) {
            writeln!(output, "{line}")?;
        }
    }
    output.flush()
}
