//! The time from starting a container of the image that ships to the end of its first task, and the sizes of the image and
//! of an idle worker.
//!
//!     cargo xtask bench container                              # writes docs/src/benchmarks/container.md
//!     cargo xtask bench container -- --quick                   # each start once, to see that it works
//!
//! The task is the example `thumbnail` with one photograph, whose message waits in the queue. Queue and stores are mounted
//! files and folders, and containers have no network. Each start is made in a container, and as a plain process of the program
//! out of the image, with the same arguments, in turns: the difference is the container's part. Starts from a registry are
//! made as plain processes only, with Debian's `docker-registry` on a loopback address.
//!
//! The clock runs from before podman is asked until the worker logs that the task completed, by the time in that line. The
//! machine has to be idle: next to others that compute, all threads of a container get what one of theirs gets, and so
//! compiling takes longer there than in a process.
//!
//! `WASMRUN_BENCH_WITHOUT_COMPILER` may name a program without the compiler, to be measured too. It is built and linked as
//! the image's is:
//!
//!     cargo rustc --release --package wasmrun-worker --bin wasmrun --no-default-features --target-dir target/small -- \
//!         -Ctarget-feature=+crt-static -Cstrip=symbols
//!     WASMRUN_BENCH_WITHOUT_COMPILER=$PWD/target/small/release/wasmrun cargo xtask bench container

mod podman;
mod registry;
mod start;

use self::podman::Podman;
use self::start::{Place, Start, World};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmrun_benches::{Arguments, Found, Report, Samples, Way, interleaved, output, with};

const WITHOUT_COMPILER: &str = "WASMRUN_BENCH_WITHOUT_COMPILER";
/// These are measured as plain processes, as the containers have no network.
const FROM_REGISTRY: [(Start, &str); 3] = [
    (Start::Pulled, "from a registry, cold cache: the component is pulled and compiled"),
    (Start::Resolved, "from a registry, warm cache: the digest of the tag is asked for"),
    (Start::ByDigest, "from a registry, warm cache, named by digest"),
];
const STARTS: [(Start, &str); 4] = [
    (Start::Cold, "cold cache: the component is compiled"),
    (Start::Warm, "warm cache"),
    (Start::Precompiled, "precompiled"),
    (Start::Version, "`wasmrun --version`"),
];
/// What the allocator and the system do a moment after the last task isn't memory of an idle worker.
const REST: Duration = Duration::from_secs(2);

pub(crate) fn measure(arguments: &Arguments) {
    let scratch = tempfile::tempdir().expect("a directory");
    let podman = match Podman::find(scratch.path()) {
        Ok(podman) => podman,
        Err(why) => return println!("Skipped: {why}."),
    };
    let without_compiler = std::env::var_os(WITHOUT_COMPILER).map(PathBuf::from);
    let world = World::prepare(&podman, scratch.path(), without_compiler);
    let mut report = Report::new("container", arguments, &podman.version());
    starts(&mut report, &world);
    sizes(&mut report, &world, &podman);
    idle(&mut report, &world);
    if let Some((registry, _)) = &world.registry {
        registry.pull(&mut report, &world.program, scratch.path());
    }
    report.write();
}

fn starts(report: &mut Report, world: &World) {
    let mut cases: Vec<(Start, Place)> = STARTS
        .into_iter()
        .flat_map(|(start, _)| [(start, Place::Container), (start, Place::Process)])
        .collect();
    if world.without_compiler.is_some() {
        cases.push((Start::Precompiled, Place::WithoutCompiler));
    }
    if world.registry.is_some() {
        cases.extend(FROM_REGISTRY.map(|(start, _)| (start, Place::Process)));
    }
    let ways = cases.iter().map(|(start, place)| {
        let name = format!("{start:?} in {place:?}");
        Way::new(name, move |_| world.start(*start, *place))
    });
    let found = interleaved("Starts", report.size.pick(1, 40), ways);
    let figures = |start, place| {
        let found = &found[cases.iter().position(|case| *case == (start, place))?];
        let figures = found.each("end_ms").collect::<Samples>().figures("ms");
        let ready = (start != Start::Version).then(|| found.median("ready_ms"));
        Some(with(figures, json!({"ready_ms": ready})))
    };
    let p50 = |figures: &Option<Value>| figures.as_ref()?["p50_ms"].as_f64();
    let row = |(start, what)| {
        let [container, process] = [Place::Container, Place::Process].map(|place| figures(start, place));
        let part = p50(&container).zip(p50(&process)).map(|(container, process)| container - process);
        json!({"what": what, "container": container, "process": process, "part_ms": part})
    };
    let mut rows: Vec<Value> = STARTS.map(row).into();
    if let Some(figures) = figures(Start::Precompiled, Place::WithoutCompiler) {
        rows.push(json!({"what": "precompiled, program without the compiler", "process": figures}));
    }
    rows.extend(
        FROM_REGISTRY.into_iter().filter_map(|(start, what)| {
            Some(json!({"what": what, "process": figures(start, Place::Process)?}))
        }),
    );
    let columns = "= what | container: p50 = container/p50_ms:0 | p95 = container/p95_ms:0 \
        | ready = container/ready_ms:0 | plain process: p50 = process/p50_ms:0 | p95 = process/p95_ms:0 \
        | ready = process/ready_ms:0 | the container's part: p50 = part_ms:0";
    let of = |start: usize| {
        let ms = |field: &str| rows[start]["container"][field].as_f64().unwrap_or_default();
        format!("{:.0} ms (p95 {:.0} ms)", ms("p50_ms"), ms("p95_ms"))
    };
    let text = format!(
        "wasmrun in a container, to the end of the first task: {} if compiled now, {} precompiled.",
        of(0),
        of(2)
    );
    report.table("starts", columns, rows);
    report.text("container", text);
}

fn sizes(report: &mut Report, world: &World, podman: &Podman) {
    let row = |what: &str, bytes: u64| json!({"what": what, "mb": bytes as f64 / 1e6});
    let mut rows = vec![row("image, the compressed archive", podman.image_bytes())];
    rows.push(row("program with the compiler", program_bytes(&world.program, "included")));
    if let Some(program) = &world.without_compiler {
        rows.push(row("program without the compiler", program_bytes(program, "none")));
    }
    report.table("sizes", "= what | MB = mb:1", rows);
}

/// The size of a program that tells it has the compiler, or has none.
fn program_bytes(file: &Path, compiler: &str) -> u64 {
    let version = output(Command::new(file).args(["--version", "--verbose"])).expect("it runs");
    let tells =
        |line: &str| line.strip_prefix("compiler").is_some_and(|rest| rest.trim().starts_with(compiler));
    assert!(version.lines().any(tells), "{}: compiler {compiler} is expected: {version}", file.display());
    fs::metadata(file).expect("the program").len()
}

fn idle(report: &mut Report, world: &World) {
    let mut workers = vec![
        ("with the compiler, from the cache", Start::Warm, Place::Process),
        ("with the compiler, precompiled", Start::Precompiled, Place::Process),
    ];
    if world.without_compiler.is_some() {
        workers.push(("without the compiler, precompiled", Start::Precompiled, Place::WithoutCompiler));
    }
    let (rounds, pause) = report.size.pick((1, Duration::ZERO), (3, REST));
    let ways = workers
        .into_iter()
        .map(|(what, start, place)| Way::new(what, move |_| world.idle(start, place, pause)));
    let found = interleaved("Idle workers", rounds, ways);
    let columns = "worker = what | resident, MiB = resident_mib:1 | of that anonymous, MiB = anonymous_mib:1";
    report.table("idle", columns, found.iter().map(Found::row));
}
