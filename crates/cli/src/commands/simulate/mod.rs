//! `wasmrun simulate`: simulates a worker or a fleet, and prints latency, backlog, concurrency and cost.
//!
//! | module | owns |
//! |---|---|
//! | `recorded` | reads when messages arrived, and how long their tasks took, from usage files |
//! | `text` | formats the result as text or JSON |

mod recorded;
mod text;

use crate::output::failure::Failure;
use crate::settings::flags::{ModelArgs, SimulateArgs};
use crate::settings::log::LogSettings;
use crate::settings::simulate::{MAX_POINTS, Recorded, Sweep};
use crate::wiring::logging;
use crate::wiring::prices::{Prices, check_size};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wasmrun_simulate::plan::Plan;
use wasmrun_simulate::report::Report;
use wasmrun_simulate::{Progress, simulate as simulated, svg};

/// Interval at which the progress of a long simulation is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// One simulation: the values that the sweeps give, its plan, and its result.
struct Point {
    values: Vec<String>,
    model: ModelArgs,
    plan: Plan,
}

/// The cost of a simulated fleet, in the currency of the prices.
#[derive(Clone, Copy, Debug)]
struct Cost {
    workers: f64,
    requests: f64,
}

impl Cost {
    fn of(report: &Report, model: &ModelArgs, prices: &Prices) -> Self {
        let million_requests = prices.sqs.as_ref().filter(|_| model.pays_for_calls());
        let million_requests = million_requests.map_or(0.0, |sqs| sqs.million_requests.price);
        Self {
            workers: report.counts.billed_seconds / 3600.0 * prices.fargate.hour(model.fargate_size()),
            requests: report.counts.requests() as f64 / 1e6 * million_requests,
        }
    }

    fn total(self) -> f64 {
        self.workers + self.requests
    }

    /// Cost of a million such messages. There is none without messages.
    fn per_million(self, report: &Report) -> Option<f64> {
        (report.counts.arrived > 0).then(|| self.total() / report.counts.arrived as f64 * 1e6)
    }
}

pub(crate) fn simulate(args: &SimulateArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&LogSettings::default())?;
    let prices = Prices::read(args.prices.as_deref())?;
    let points = points(args, &prices)?;
    let reports = run(&points)?;
    let results: Vec<_> = points.iter().zip(&reports).collect();
    if args.json {
        output.print(&text::json(&results, &args.sweep, &prices).to_string());
    } else if args.sweep.is_empty() {
        let (point, report) = results[0];
        let all = text::one(report, &point.model, &prices);
        output.print(&(all + &text::tenants(&results, &[])));
    } else {
        output.print(&text::table(&results, &args.sweep, &prices));
    }
    if let Some(path) = &args.svg {
        draw(path, &reports[0])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(path: &PathBuf, report: &Report) -> Result<(), Failure> {
    let shown = path.display();
    std::fs::write(path, svg::svg(report, "wasmrun simulate"))
        .map_err(|error| Failure::backend(format!("cannot write {shown}: {error}")))?;
    tracing::info!(file = %shown, "drew the simulation");
    Ok(())
}

/// Returns the simulations: one, or one for each combination of the sweeps' values.
fn points(args: &SimulateArgs, prices: &Prices) -> Result<Vec<Point>, Failure> {
    let number = args.sweep.iter().fold(1usize, |product, sweep| product.saturating_mul(sweep.values.len()));
    if number > MAX_POINTS {
        return Err(Failure::usage(format!("the sweeps have {number} combinations: at most {MAX_POINTS}")));
    }
    let mut models = vec![(Vec::new(), args.model.clone())];
    for Sweep { key, values } in &args.sweep {
        let mut combined = Vec::new();
        for (before, model) in &models {
            for value in values {
                let wrong = |wrong: String| Failure::usage(format!("--sweep {key}: {wrong}"));
                let changed = model.with(key, value).map_err(wrong)?;
                combined.push(([&before[..], std::slice::from_ref(value)].concat(), changed));
            }
        }
        models = combined;
    }
    let with_keys = models.iter().any(|(_, model)| model.key.is_some());
    let mut files: HashMap<Vec<PathBuf>, Arc<Recorded>> = HashMap::new();
    let mut points = Vec::new();
    for (values, model) in models {
        check_size(prices, model.fargate_size(), "--size")?;
        let recorded = match files.get(&model.usage) {
            Some(recorded) => recorded.clone(),
            None => {
                let recorded = Arc::new(recorded::read(&model.usage, with_keys)?);
                files.insert(model.usage.clone(), recorded.clone());
                recorded
            }
        };
        let plan = model.plan(&recorded)?;
        points.push(Point { values, model, plan });
    }
    Ok(points)
}

/// Runs the simulations, as many at once as there are processors.
fn run(points: &[Point]) -> Result<Vec<Report>, Failure> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Report, Failure>>>> =
        Mutex::new((0..points.len()).map(|_| None).collect());
    let work = || {
        while let Some((index, point)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            points.get(index).map(|point| (index, point))
        } {
            let mut logged = Instant::now();
            let mut progress = |Progress { now, settled }: Progress| {
                if logged.elapsed() >= PROGRESS_EVERY {
                    logged = Instant::now();
                    let of_s = point.plan.duration.as_secs();
                    tracing::info!(
                        simulation = index + 1,
                        simulated_s = now.as_secs(),
                        of_s,
                        settled,
                        "simulating"
                    );
                }
            };
            let result =
                simulated(&point.plan, &mut progress).map_err(|error| Failure::usage(error.to_string()));
            results.lock()[index] = Some(result);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(points.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    results.into_inner().into_iter().flatten().collect()
}
