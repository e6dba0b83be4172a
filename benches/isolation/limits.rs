//! What each guard of a task costs: the example `thumbnail` with a photograph in memory.
//!
//! The guards are switched on one by one in the bare engine. The last row is wasmrun, which has all of them but epochs, more
//! limits than these, and calls its stores on other threads. CPU time is that of the process.
//!
//! valgrind counts the instructions of a child process for each variant.

use crate::shared::{Bare, Guards, Input, Memory, guests};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::runtime::Builder;
use wasmrun_benches::{Dot, Found, Plot, Report, Size, Way, child, cost, interleaved, with};
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::task::component::LoadOptions;

/// A child process, which makes thumbnails. Its arguments are the index of a variant and the number of thumbnails.
pub(crate) const THUMBNAILS: &str = "thumbnails";
const PHOTOGRAPH: &str = "coffee cup.jpg";
/// Numbers of thumbnails for which instructions are counted: the difference leaves out the start.
const COUNTED: (usize, usize) = (2, 12);

/// The variants; `None` is wasmrun.
const VARIANTS: [(&str, Option<Guards>); 8] = [
    ("none", Some(Guards::NONE)),
    ("limiter", Some(Guards { limiter: true, ..Guards::NONE })),
    ("metering", Some(Guards { metering: true, ..Guards::NONE })),
    ("fuel", Some(Guards { fuel: true, ..Guards::NONE })),
    ("epochs", Some(Guards { epochs: true, ..Guards::NONE })),
    ("fuel and epochs", Some(Guards { fuel: true, epochs: true, ..Guards::NONE })),
    ("fuel, limiter and metering", Some(Guards { metering: true, ..Guards::BASIC })),
    ("wasmrun, all its limits", None),
];

pub(crate) fn measure(report: &mut Report) {
    let thumbnails = report.size.pick(1, 12);
    let ways = VARIANTS.map(|(name, guards)| {
        let subject = subject(guards);
        // The first thumbnail touches the memory.
        subject(1);
        Way::new(name, move |_| cost(thumbnails, || subject(thumbnails)))
    });
    let found = interleaved("Guards of a thumbnail", report.size.pick(1, 9), ways);
    let counts: Vec<Option<f64>> =
        (0..VARIANTS.len()).map(|variant| instructions(variant, report.size)).collect();
    let row = |(way, count): (&Found, &Option<f64>)| {
        let ratios = json!({
            "ratio": way.ratio(&found[0], "cpu_us"),
            "instructions": count,
            "instructions_ratio": count.zip(counts[0]).map(|(count, none)| count / none),
        });
        with(way.row(), ratios)
    };
    let rows: Vec<Value> = found.iter().zip(&counts).map(row).collect();
    report.plot("limits", &plot(&rows));
    let columns = "= what | CPU = cpu_us:time | against none = ratio:percent | wall = wall_us:time \
        | instructions = instructions:million | against none = instructions_ratio:percent";
    report.table("limits", columns, rows);
}

fn plot(rows: &[Value]) -> Plot<'static> {
    let dot = |row: &Value| {
        let value = (row["ratio"].as_f64().unwrap_or(1.0) - 1.0) * 100.0;
        let name = row["what"].as_str().unwrap_or_default().into();
        Dot { row: name, series: 0, value, until: 0.0, label: format!("{value:+.1} %") }
    };
    let dots: Vec<Dot> = rows.iter().map(dot).collect();
    let most = dots.iter().map(|dot| dot.value).fold(10.0, f64::max);
    Plot {
        title: "What each guard adds to the CPU time of a thumbnail",
        series: &[],
        ticks: (-1..=(most * 1.3 / 5.0).ceil() as i32).map(|tick| f64::from(tick * 5)).collect(),
        logarithmic: false,
        format: |percent| format!("{percent:+.0} %"),
        dots,
    }
}

/// Makes a number of thumbnails.
fn subject(guards: Option<Guards>) -> Box<dyn Fn(usize)> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let photograph = guests::photograph(PHOTOGRAPH);
    if let Some(guards) = guards {
        let bare = Bare::new(&guests::bytes("thumbnail"), Memory::KeptPool(2), guards);
        let input = Input { body: String::new(), object: Some(photograph) };
        return Box::new(move |count| (0..count).for_each(|_| runtime.block_on(bare.run(&input))));
    }
    let (grants, body) = guests::thumbnail(photograph);
    let message = Arc::new(Message::new("message", &body));
    let options = LoadOptions { grants, ..guests::options("thumbnail", NonZeroUsize::MIN) };
    let component = runtime.block_on(guests::load(options));
    Box::new(move |count| {
        for _ in 0..count {
            let (task, message) = (component.clone(), message.clone());
            let task = async move { task.run(message, None, std::future::pending()).await };
            let task = component.threads().handle().spawn(task);
            assert_eq!(runtime.block_on(task).expect("no panic").outcome, Outcome::Completed);
        }
    })
}

/// The work of the child.
pub(crate) fn thumbnails(arguments: &[String]) {
    let [variant, count] = arguments else { panic!("{arguments:?}") };
    let (_, guards) = VARIANTS[variant.parse::<usize>().expect("a number")];
    subject(guards)(count.parse().expect("a number"));
}

/// The instructions of user space for a thumbnail. `None`: valgrind isn't installed, or can't run the variant. It hides the
/// vDSO, without which rustix reads no clock: metering ends there. Counting takes minutes.
fn instructions(variant: usize, size: Size) -> Option<f64> {
    if size == Size::Quick {
        return None;
    }
    eprintln!("Counting instructions: {} …", VARIANTS[variant].0);
    let count = |thumbnails: usize| {
        let counted = child(THUMBNAILS);
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--"])
            .arg(counted.get_program())
            .args(counted.get_args())
            .args([variant.to_string(), thumbnails.to_string()])
            // Threads that compile look for each other's work, never the same number of times.
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        // `==1== I   refs:      953,528,332`
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find(|line| line.contains("I   refs:"))?;
        line.rsplit(' ').next()?.replace(',', "").parse::<f64>().ok()
    };
    Some((count(COUNTED.1)? - count(COUNTED.0)?) / (COUNTED.1 - COUNTED.0) as f64)
}
