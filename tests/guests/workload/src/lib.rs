//! Runs the workload that a benchmark asks for. The body is a command. The work is the same code that the benchmarks'
//! native program runs.

#[path = "../../../../benches/native/src/work.rs"]
mod work;

use wasmrun_guest::{Failure, Message, handler};

handler!(handle);

fn handle(message: Message) -> Result<(), Failure> {
    match message.body().as_str() {
        "empty" => Ok(()),
        "hash" => {
            work::hash();
            Ok(())
        }
        "hold-empty" => work::hold(()),
        "hold-hash" => work::hold(work::hash()),
        "spin" => work::spin(),
        unknown => Err(Failure::reject(format!("there is no command {unknown:?}"))),
    }
}
