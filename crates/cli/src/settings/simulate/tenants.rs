//! The tenants of a simulation: from `--tenant`, or the keys of usage files.

use super::plan::Recorded;
use super::{ArrivalsSetting, ServiceSetting};
use crate::output::failure::Failure;
use crate::settings::flags::ModelArgs;
use crate::settings::keys::{shares_without_keys, weights_of_flags};
use crate::settings::text::{Written, expected};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::model::key::{Key, KeySource, MOST_BYTES};
use wasmrun_runtime::worker::KeyOptions;
use wasmrun_runtime::worker::shares::ShareOptions;
use wasmrun_simulate::plan::{Arrivals, Service};
use wasmrun_simulate::tenants::{MAX_TENANTS, Tenant, Tenants};

/// Maximum number of different keys in usage files.
pub(crate) const MOST_RECORDED_KEYS: usize = MAX_TENANTS;
/// Number of recorded keys with rows of their own: those with the most messages. `report` lists as many.
const OWN_ROWS: usize = 20;
/// The row of all other recorded keys.
const OTHERS: &str = "others";

/// A tenant, or several that are alike.
#[derive(Clone, Debug)]
pub(crate) struct TenantSetting {
    name: String,
    /// Their number; `None`: a single one, without a number in its key.
    count: Option<usize>,
    arrivals: Vec<Arrivals>,
    service: Option<ServiceSetting>,
}

/// Where the keys of messages are found, or that workers don't tell tenants apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyOrOff {
    Off,
    By(KeySource),
}

/// What usage files say about the messages with one key.
#[derive(Debug, Default)]
pub(crate) struct RecordedTenant {
    /// When they arrived, in nanoseconds since the first message of all.
    pub(crate) arrivals: Arc<[u64]>,
    /// The times of their tasks, on a thread and waiting, in microseconds.
    pub(crate) times: Arc<[(u64, u64)]>,
}

impl Written for KeyOrOff {
    const FORM: &'static str = "off, group, attribute:NAME, object-prefix:N or body:/json/pointer";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            text => text.parse().map(Self::By).map_err(|_| expected::<Self>()),
        }
    }
}

impl Written for TenantSetting {
    const FORM: &'static str =
        "NAME[:N]=WHEN[,WHEN][,TIMES], such as acme=burst:1000 or small:20=poisson:1/s,fixed:2s";

    fn read(text: &str) -> Result<Self, String> {
        let (name, work) = text.split_once('=').ok_or_else(expected::<Self>)?;
        let (name, count) = match name.rsplit_once(':') {
            Some((name, number)) if is_meant_as_number(number) => {
                let is_whole = number.bytes().all(|digit| digit.is_ascii_digit());
                let count = number.parse().ok().filter(|count| is_whole && (1..=MAX_TENANTS).contains(count));
                let count = count.ok_or_else(|| {
                    format!("the number of tenants is a whole number from 1 to {MAX_TENANTS}, as in small:20")
                })?;
                (name, Some(count))
            }
            _ => (name, None),
        };
        if name.is_empty() || Key::new(name).as_str() != name {
            return Err(format!("the name of a tenant has between 1 and {MOST_BYTES} bytes"));
        }
        if Key::new(name).is_none() {
            return Err("- is the key of messages without one, which arrive as --arrivals says".to_owned());
        }
        let (mut arrivals, mut services) = (Vec::new(), Vec::new());
        for part in parts(work) {
            if part.starts_with("fixed:") || part.starts_with("exponential:") {
                services.push(ServiceSetting::read(&part)?);
            } else {
                arrivals.push(ArrivalsSetting::read(&part)?.0);
            }
        }
        if arrivals.is_empty() || services.len() > 1 {
            return Err(expected::<Self>());
        }
        Ok(Self { name: name.to_owned(), count, arrivals, service: services.pop() })
    }
}

/// Returns whether the text behind the last colon of a name is a number, right or wrong, or nothing. Any other text
/// belongs to the name.
fn is_meant_as_number(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.parse::<f64>().is_ok() && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Splits at the commas between the parts, each of which begins with its kind and a colon. The period of a wave follows
/// a comma as well, and belongs to it.
fn parts(work: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for text in work.split(',') {
        match parts.last_mut().filter(|_| !text.contains(':')) {
            Some(last) => {
                last.push(',');
                last.push_str(text);
            }
            None => parts.push(text.to_owned()),
        }
    }
    parts
}

impl ModelArgs {
    /// Returns whether the messages are those of the usage files.
    pub(super) fn replays(&self) -> bool {
        self.arrivals.is_empty() && self.tenant.is_empty()
    }

    /// Returns the tenants, and how workers share their permits among them.
    pub(super) fn tenants(&self, recorded: &Recorded) -> Result<Tenants, Failure> {
        let mut tenants = if self.replays() && self.key.is_some() {
            recorded_tenants(&recorded.tenants, self.service.is_some())
        } else {
            self.named_tenants()?
        };
        let shares = ShareOptions { max_per_key: self.max_per_key, ..weights_of_flags(&self.weight)? };
        let Some(key) = &self.key else {
            shares_without_keys(&shares)?;
            return Ok(tenants);
        };
        if tenants.all.is_empty() {
            return Err(Failure::usage(
                "--key needs tenants: add --tenant, such as acme=burst:1000, or --usage with a file of a worker that runs with --key",
            ));
        }
        let weights = weights_of(&tenants, shares.weights)?;
        if let KeyOrOff::By(source) = key {
            let shares = ShareOptions { weights, ..shares };
            tenants.keys = Some(KeyOptions { source: source.clone(), shares });
        }
        Ok(tenants)
    }

    fn named_tenants(&self) -> Result<Tenants, Failure> {
        let cpu = self.cpu_share();
        let mut tenants = Tenants::default();
        for TenantSetting { name, count, arrivals, service } in &self.tenant {
            let row = tenants.rows.len();
            tenants.rows.push(name.clone());
            if tenants.all.len() + count.unwrap_or(1) > MAX_TENANTS {
                return Err(Failure::usage(format!(
                    "--tenant {name}: at most {MAX_TENANTS} tenants can be simulated"
                )));
            }
            let keys: Vec<String> = match count {
                None => vec![name.clone()],
                Some(count) => (1..=*count).map(|number| format!("{name}-{number}")).collect(),
            };
            tenants.all.extend(keys.iter().map(|key| Tenant {
                key: Key::new(key),
                row,
                arrivals: arrivals.clone(),
                service: service.map(|service| service.with_cpu(cpu)),
            }));
        }
        Ok(tenants)
    }
}

/// Returns the tenants of usage files. `is_alike`: their tasks don't take the times of their own records.
fn recorded_tenants(recorded: &BTreeMap<Key, RecordedTenant>, is_alike: bool) -> Tenants {
    let mut all: Vec<_> = recorded.iter().filter(|(_, tenant)| !tenant.arrivals.is_empty()).collect();
    all.sort_by_key(|(key, tenant)| (Reverse(tenant.arrivals.len()), *key));
    let mut rows: Vec<String> = all.iter().take(OWN_ROWS).map(|(key, _)| key.as_str().to_owned()).collect();
    if all.len() > OWN_ROWS {
        rows.push(OTHERS.to_owned());
    }
    let all = all.iter().enumerate().map(|(place, (key, tenant))| Tenant {
        key: (*key).clone(),
        row: place.min(OWN_ROWS),
        arrivals: vec![Arrivals::Recorded(tenant.arrivals.clone())],
        service: (!is_alike).then(|| Service::Recorded(tenant.times.clone())),
    });
    Tenants { all: all.collect(), rows, keys: None }
}

/// Returns the weight of each key. The name of tenants that are alike stands for all of them.
fn weights_of(
    tenants: &Tenants,
    weights: BTreeMap<Key, NonZeroU32>,
) -> Result<BTreeMap<Key, NonZeroU32>, Failure> {
    let mut all = BTreeMap::new();
    for (name, weight) in &weights {
        let keys = tenants.all.iter().filter(|tenant| tenants.rows[tenant.row] == name.as_str());
        let before = all.len();
        all.extend(keys.map(|tenant| (tenant.key.clone(), *weight)));
        if all.len() == before && !tenants.all.iter().any(|tenant| tenant.key == *name) {
            return Err(Failure::usage(format!("--weight {name}={weight}: no tenant has this name")));
        }
    }
    // The weight of one tenant wins over that of its row.
    all.extend(weights.into_iter().filter(|(name, _)| tenants.all.iter().any(|tenant| tenant.key == *name)));
    Ok(all)
}

/// Returns the mean time on a thread and the mean time waiting of all messages, in seconds.
pub(super) fn mean_times(
    service: &Service,
    arrivals: &[Arrivals],
    tenants: &Tenants,
    duration: Duration,
) -> (f64, f64) {
    let expected = |arrivals: &[Arrivals]| arrivals.iter().map(|one| one.expected(duration)).sum::<f64>();
    let without_key = (expected(arrivals), service.means());
    let of_tenants = tenants
        .all
        .iter()
        .map(|tenant| (expected(&tenant.arrivals), tenant.service.as_ref().unwrap_or(service).means()));
    let all: Vec<_> = std::iter::once(without_key).chain(of_tenants).collect();
    let messages: f64 = all.iter().map(|(messages, _)| messages).sum();
    // Rates that are too high are refused later.
    if tenants.all.is_empty() || messages <= 0.0 || !messages.is_finite() {
        return service.means();
    }
    let mean = |of: fn((f64, f64)) -> f64| {
        all.iter().map(|(messages, means)| messages * of(*means)).sum::<f64>() / messages
    };
    (mean(|(compute, _)| compute), mean(|(_, wait)| wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_a_name_a_number_arrivals_and_times() {
        let read = TenantSetting::read("small:20=wave:1/s,1h,burst:5@1m,fixed:2s").expect("valid");
        assert_eq!((&*read.name, read.count, read.arrivals.len()), ("small", Some(20), 2));
        assert_eq!(read.service, Some(ServiceSetting::Fixed(Duration::from_secs(2))));
        let read = TenantSetting::read("a:b=poisson:1/s").expect("valid");
        assert_eq!((&*read.name, read.count, read.service), ("a:b", None, None));
        for wrong in [
            "",
            "a",
            "=burst:1",
            "a=",
            "a=fixed:2s",
            "a=burst:1,fixed:2s,fixed:3s",
            "a:0=burst:1",
            "a:=burst:1",
            "a:10001=burst:1",
            "a:99999999999999999999=burst:1",
            "a:-1=burst:1",
            "a:+1=burst:1",
            "a: 1=burst:1",
            "a:1.5=burst:1",
            "a:1e3=burst:1",
            "a:-0=burst:1",
            "a: =burst:1",
            "-=burst:1",
            "-:2=burst:1",
            "a=1h,burst:1",
            "a=burst:1,",
        ] {
            assert!(TenantSetting::read(wrong).is_err(), "{wrong}");
        }
        assert!(TenantSetting::read(&format!("{}=burst:1", "a".repeat(MOST_BYTES + 1))).is_err());
        let error = TenantSetting::read("a:-1=burst:1").expect_err("refused");
        assert_eq!(error, "the number of tenants is a whole number from 1 to 10000, as in small:20");
        // Names, and no numbers.
        for name in ["a:b", "a:-", "a:inf", "a:nan", "a:7f", "a:2026-01-01", "a:1:b"] {
            let read = TenantSetting::read(&format!("{name}=burst:1")).expect(name);
            assert_eq!((&*read.name, read.count), (name, None));
        }
        assert_eq!(KeyOrOff::read("off"), Ok(KeyOrOff::Off));
        assert_eq!(KeyOrOff::read("group"), Ok(KeyOrOff::By(KeySource::Group)));
        assert!(KeyOrOff::read("groups").is_err_and(|wrong| wrong.starts_with("expected off, group")));
    }

    #[test]
    fn the_name_of_tenants_that_are_alike_gives_each_a_weight() {
        let tenant = |key: &str, row| Tenant { key: Key::new(key), row, arrivals: Vec::new(), service: None };
        let tenants = Tenants {
            all: vec![tenant("a-1", 0), tenant("a-2", 0), tenant("b", 1)],
            rows: vec!["a".to_owned(), "b".to_owned()],
            keys: None,
        };
        let weight = |number| NonZeroU32::new(number).expect("a weight");
        let given =
            |all: &[(&str, u32)]| all.iter().map(|(key, one)| (Key::new(key), weight(*one))).collect();
        let found = weights_of(&tenants, given(&[("a", 3), ("a-2", 5), ("b", 2)])).expect("known");
        assert_eq!(found, given(&[("a-1", 3), ("a-2", 5), ("b", 2)]));
        let error = weights_of(&tenants, given(&[("c", 3)])).expect_err("unknown").to_string();
        assert_eq!(error, "--weight c=3: no tenant has this name");
    }

    #[test]
    fn recorded_keys_beyond_the_first_share_a_row() {
        let tenant = |messages| RecordedTenant { arrivals: vec![0; messages].into(), times: [(1, 1)].into() };
        let mut recorded: BTreeMap<Key, RecordedTenant> =
            (0..25).map(|number| (Key::new(&format!("key-{number}")), tenant(2))).collect();
        recorded.insert(Key::new("z"), tenant(9));
        // Its messages arrived before the file began.
        recorded.insert(Key::new("none"), tenant(0));
        let tenants = recorded_tenants(&recorded, false);
        assert_eq!((tenants.all.len(), tenants.rows.len()), (26, OWN_ROWS + 1));
        assert_eq!((&*tenants.rows[0], &*tenants.rows[OWN_ROWS]), ("z", OTHERS));
        assert_eq!(tenants.all.iter().filter(|tenant| tenant.row == OWN_ROWS).count(), 6);
        assert!(tenants.all.iter().all(|tenant| tenant.service.is_some()));
    }
}
