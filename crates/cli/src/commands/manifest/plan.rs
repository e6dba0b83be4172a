//! What the manifests of both platforms need.

use super::fits::{check_environment, fits_container, needs_no_disk, of_amazon};
use crate::output::failure::Failure;
use crate::settings::as_flags::Flags;
use crate::settings::deployment::{Architecture, Memory, Vcpu};
use crate::settings::file::ConfigFile;
use crate::settings::flags::{ContainerArgs, RunArgs, ServeArgs};
use crate::settings::notify::NotifySetting;
use crate::settings::queues::QueueSetting;
use crate::settings::read::{MAX_TOML_BYTES, read_stream};
use crate::settings::registry::{VerifyKeySetting, read_keys};
use crate::settings::serve::ServeSettings;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use crate::wiring::worker::{RunPlan, Variable};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use wasmrun_aws::{QueuePlace, domain};
use wasmrun_runtime::worker::WorkerOptions;

/// Time that a worker may take from the end of `--stop-timeout` to its exit: to release messages, and to delete those
/// of completed tasks.
pub(super) const STOP_MARGIN: Duration = Duration::from_secs(10);
/// Port on which status is served if the settings name none.
const PORT: u16 = 9464;
/// Where a service answers requests if the settings don't say.
pub(super) const REQUESTS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// A container has none of the variables of OpenTelemetry that this process may have.
const NO_VARIABLES: Variable = |_| None;
/// Port of AWS's services.
const HTTPS: u16 = 443;

/// A worker in a container.
pub(super) struct Plan {
    pub(super) container: Container,
    pub(super) work: Work,
    pub(super) component: String,
    /// Whether the component is that of a flag or a variable, and not the file's.
    pub(super) is_component_typed: bool,
    pub(super) settings: Settings,
    /// Address on which status is served, if the settings name one.
    pub(super) status: Option<SocketAddr>,
    pub(super) is_cache_off: bool,
    pub(super) stop_timeout: Duration,
    pub(super) until_empty: Option<bool>,
    pub(super) endpoint: Option<String>,
    /// Ports that the worker connects to.
    pub(super) ports: BTreeSet<u16>,
    pub(super) has_routes: bool,
}

/// The worker's container, which the settings say nothing of.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) architecture: Architecture,
    pub(super) cpu: Vcpu,
    pub(super) memory: Memory,
    pub(super) region: String,
}

/// Where the tasks come from.
pub(super) enum Work {
    /// At least one queue.
    Queues(Vec<Queue>),
    /// Requests at this address.
    Requests(SocketAddr),
}

/// A queue of SQS.
pub(super) struct Queue {
    pub(super) place: QueuePlace,
    /// Its address, as the settings have it.
    pub(super) address: String,
}

/// The settings, by where they are.
pub(super) struct Settings {
    /// Text of the configuration file.
    pub(super) file: Option<String>,
    /// Settings of flags and variables.
    pub(super) typed: Flags,
    /// Settings of the file.
    pub(super) in_file: Flags,
}

impl Plan {
    /// Merges and validates the settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that is wrong, or that can't work in a container.
    pub(super) fn new(container: &ContainerArgs, args: RunArgs, mut typed: Flags) -> Result<Self, Failure> {
        let text = args.task.config.as_deref().map(read).transpose()?;
        let (file, in_file) = match &text {
            Some((shown, text)) => (
                ConfigFile::parse(text, shown)?,
                Flags::of_file(text, &format!("the configuration {shown}"))?,
            ),
            None => Default::default(),
        };
        if in_file.is_service() {
            typed = typed.over(Flags::of_service(&ServeSettings::of_variables()?.1));
        }
        let settings = typed.clone().over(in_file.clone());
        check_environment(&settings, &file)?;
        let is_component_typed = args.component.is_some();
        let plan = merged(args, file, settings.is_service())?;
        let work = Work::of(&plan, settings.has_requests())?;
        needs_no_disk(&plan.worker, plan.usage.as_ref().map(|(path, _)| path.as_path()))?;
        for (route, task) in plan.task.components() {
            fits_container(task).map_err(|failure| failure.of_route(route))?;
        }
        let RunPlan { task, worker, watching, .. } = plan;
        let component = task.component.to_string();
        // The container has no such file, so it gets the keys themselves.
        if let Some(path) = task.registry.verify_key.as_ref().and_then(VerifyKeySetting::file) {
            typed.set("verify-key", read_keys(path)?.0);
        }
        let queue = work.queue();
        let endpoint = task.aws.endpoint_url.clone();
        let of_components = task.components().flat_map(|(_, task)| reached(task));
        let of_queues = work.queues().iter().filter_map(|queue| queue.place.url.clone());
        let of_server = worker.notify.notify.as_ref().and_then(NotifySetting::server).map(str::to_owned);
        let of_collector = watching.otlp.as_ref().map(|collector| collector.0.clone());
        let urls = [endpoint.clone(), of_server, of_collector].into_iter().flatten().chain(of_queues);
        let ports = of_components.chain(urls).filter_map(|url| port_of(&url)).chain([HTTPS]).collect();
        Ok(Self {
            container: Container::new(container, queue)?,
            work,
            component,
            is_component_typed,
            settings: Settings { file: text.map(|(_, text)| text), typed, in_file },
            status: watching.status.map(|status| status.0),
            is_cache_off: task.engine.compile.cache.as_deref() == Some(Path::new("off")),
            stop_timeout: worker.stop_timeout.unwrap_or(WorkerOptions::default().stop_timeout),
            until_empty: worker.delivery.until_empty,
            endpoint,
            ports,
            has_routes: !task.routes.routes.is_empty(),
        })
    }

    /// Returns the port on which status is served.
    pub(super) fn port(&self) -> u16 {
        self.status.map_or(PORT, |status| status.port())
    }

    /// Returns the time after which a worker that was asked to stop may be killed, in whole seconds.
    pub(super) fn stop_seconds(&self) -> u64 {
        let time = self.stop_timeout + STOP_MARGIN;
        time.as_secs() + u64::from(time.subsec_nanos() > 0)
    }
}

impl Container {
    fn new(args: &ContainerArgs, queue: Option<&Queue>) -> Result<Self, Failure> {
        let region = region(args, queue)?;
        Ok(Self {
            name: args.name.as_str().to_owned(),
            image: image(args, queue, &region)?,
            architecture: args.architecture,
            cpu: args.container_cpu,
            memory: args.container_memory,
            region,
        })
    }
}

impl Work {
    /// Returns where the tasks of this plan come from. `is_address_set`: the settings have an address for requests.
    fn of(plan: &RunPlan, is_address_set: bool) -> Result<Self, Failure> {
        if let Some(service) = &plan.service {
            let address = if is_address_set { service.listen } else { REQUESTS };
            check_address("[serve] listen", "clients", address)?;
            return Ok(Self::Requests(address));
        }
        let queues = plan.queues.iter().map(|QueueSetting { url, .. }| {
            of_amazon("queue", url)?;
            let place = QueuePlace::of(url).map_err(Failure::usage)?;
            Ok(Queue { place, address: url.clone() })
        });
        Ok(Self::Queues(queues.collect::<Result<_, Failure>>()?))
    }

    pub(super) fn queues(&self) -> &[Queue] {
        match self {
            Self::Queues(queues) => queues,
            Self::Requests(_) => &[],
        }
    }

    /// Returns the first queue, whose account and region are those of the worker unless flags say otherwise.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queues().first()
    }

    pub(super) fn requests(&self) -> Option<SocketAddr> {
        match self {
            Self::Queues(_) => None,
            Self::Requests(address) => Some(*address),
        }
    }

    /// Refuses a flag that is for workers on a queue.
    pub(super) fn check_flag(&self, flag: &str) -> Result<(), Failure> {
        match self {
            Self::Queues(_) => Ok(()),
            Self::Requests(_) => Err(Failure::usage(format!(
                "--{flag} is for a worker on a queue, and the configuration is a service's, as it has the table [serve]"
            ))),
        }
    }
}

/// Merges and validates the settings, as `serve` does for a service and `run` for a worker on a queue.
fn merged(args: RunArgs, file: ConfigFile, is_service: bool) -> Result<RunPlan, Failure> {
    if is_service {
        return merged_service(args, file);
    }
    if args.queue.is_empty() && file.queue.is_empty() {
        return Err(Failure::usage(
            "no queue: add --queue URL, or set `queue` in the configuration, or give a service its table [serve]",
        ));
    }
    RunPlan::new(args, file, NO_VARIABLES)
}

/// Merges and validates the settings of a service, which may have none of a queue.
fn merged_service(args: RunArgs, file: ConfigFile) -> Result<RunPlan, Failure> {
    let of_queue = [
        ("--queue", args.queue.is_empty()),
        ("--on", args.on.is_empty()),
        ("--weight", args.weight.is_empty()),
        ("--budget", args.budget.is_empty()),
    ];
    if let Some((flag, _)) = of_queue.iter().find(|(_, is_empty)| !is_empty) {
        return Err(Failure::usage(format!(
            "the configuration has the table [serve], and a service has no queue: leave out {flag}"
        )));
    }
    let RunArgs { component, usage, task, worker, watch, .. } = args;
    let (serve, check) = (ServeSettings::of_variables()?.0, false);
    let args = ServeArgs { component, serve, usage, check, task, worker, watch };
    RunPlan::of_service(args, file, NO_VARIABLES)
}

/// Refuses an address that others than the container can't reach.
pub(super) fn check_address(setting: &str, who: &str, address: SocketAddr) -> Result<(), Failure> {
    if address.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "{setting} {address} is an address that {who} cannot reach: write 0.0.0.0:{}, or leave it out",
            address.port()
        )));
    }
    if address.port() == 0 {
        return Err(Failure::usage(format!(
            "{setting} with port 0 has a port that {who} cannot know: name one"
        )));
    }
    Ok(())
}

fn read(path: &Path) -> Result<(String, String), Failure> {
    let shown = path.display().to_string();
    let text = read_stream(path, &format!("the configuration {shown}"), MAX_TOML_BYTES)?;
    Ok((shown, text))
}

/// Returns the region of the container: the queue's, unless a flag names another one.
fn region(container: &ContainerArgs, queue: Option<&Queue>) -> Result<String, Failure> {
    let of_queue = || queue.and_then(|queue| queue.place.region.clone());
    let named = container.region.as_ref().map(|region| region.as_str().to_owned()).or_else(of_queue);
    let variables =
        ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(|name| std::env::var(name).ok());
    named.or_else(|| variables.into_iter().find(|region| !region.is_empty())).ok_or_else(|| {
        let of = queue.map(|queue| format!(" of the queue {}", queue.address)).unwrap_or_default();
        Failure::usage(format!("the region{of} is not known: add --region REGION"))
    })
}

/// Returns the image, by default in the registry of the queue's account.
fn image(container: &ContainerArgs, queue: Option<&Queue>, region: &str) -> Result<String, Failure> {
    if let Some(image) = &container.image {
        return Ok(image.as_str().to_owned());
    }
    let account = queue
        .and_then(account)
        .ok_or_else(|| Failure::usage("the container needs an image: add --image IMAGE"))?;
    Ok(format!("{account}.dkr.ecr.{region}.{}/wasmrun:{}", domain(region), env!("CARGO_PKG_VERSION")))
}

/// Returns the account of a queue of AWS.
pub(super) fn account(queue: &Queue) -> Option<&str> {
    let is_account = |text: &&str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    queue.place.account.as_deref().filter(is_account)
}

/// Returns the URLs that a component is fetched from and its tasks reach, as far as the settings name them.
fn reached(task: &TaskPlan) -> Vec<String> {
    let mut urls: Vec<String> = task.grants.http.rules.iter().map(ToString::to_string).collect();
    if let Source::Artefact(artefact) = &task.component {
        let scheme = if task.registry.plain_http == Some(true) { "http" } else { "https" };
        urls.push(format!("{scheme}://{}", artefact.host()));
    }
    urls
}

/// Returns the port of a URL, or of a rule of `--allow-http`, which stands for HTTPS if it has no scheme.
fn port_of(url: &str) -> Option<u16> {
    let (default, rest) = match url.split_once("://") {
        Some(("http", rest)) => (80, rest),
        Some((_, rest)) => (HTTPS, rest),
        None => (HTTPS, url),
    };
    let authority = rest.split('/').next()?;
    // A port follows the last colon, unless that is inside an address of IPv6 in brackets.
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    port.map_or(Some(default), |(_, port)| port.parse().ok())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
