//! Settings as flags of `run` or `serve`: those of the command line, of variables and of a configuration file.
//!
//! A container gets the settings of another command this way. All three sources have the same names and the same forms
//! of values, so nothing is translated except the tables `log` and `registry`, which have shorter keys.

use super::budgets::NO_BUDGETS;
use super::flags::{RunArgs, ServeArgs};
use super::named::{NAMED, Named};
use super::read::toml_from;
use super::serve::ServeSettings;
use crate::output::failure::Failure;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use toml::{Table, Value};

/// Settings that are no flags of a worker: the place of the file, what is run, and a check without a worker. Routes are
/// only in a file.
const LEFT_OUT: [&str; 5] = ["check", "component", "config", "route", "unmatched"];

/// The table of a service. With it, even if it's empty, the settings are those of `serve`.
const SERVE: &str = "serve";
/// The flag and key of the address of a service's requests.
const REQUESTS: &str = "listen";

/// A setting: the flag, and the name in its value if it is a [`Named`] one.
type Key = (String, Option<String>);

/// Settings, and the values of each in their order. The value of a [`Named`] flag contains the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flags(BTreeMap<Key, Vec<String>>);

impl Flags {
    /// Returns the settings of the command line and of variables.
    ///
    /// # Errors
    ///
    /// A variable isn't UTF-8.
    pub(crate) fn typed(matches: &ArgMatches) -> Result<Self, Failure> {
        let (mut typed, mut variables) = (Self::default(), Self::default());
        for named in &NAMED {
            for (name, value) in named.variables()? {
                variables.add(named.flag, &format!("{name}={value}"));
            }
        }
        for (id, flag) in flags_of(&run()) {
            let values = matches.get_raw(&id).into_iter().flatten().map(|value| value.to_string_lossy());
            let of = match matches.value_source(&id) {
                Some(ValueSource::CommandLine) => &mut typed,
                Some(ValueSource::EnvVariable) => &mut variables,
                _ => continue,
            };
            values.for_each(|value| of.add(&flag, &value));
        }
        Ok(typed.over(variables))
    }

    /// Returns the settings of the table `serve` that are variables, by what clap found of [`ServeSettings`].
    pub(crate) fn of_service(matches: &ArgMatches) -> Self {
        let mut variables = Self::default();
        for (id, flag) in flags_of(&ServeSettings::augment_args(Command::new(SERVE))) {
            let values = matches.get_raw(&id).into_iter().flatten();
            values.for_each(|value| variables.add(&flag, &value.to_string_lossy()));
        }
        variables
    }

    /// Returns the settings of a configuration file, which is known to be valid.
    pub(crate) fn of_file(text: &str, shown: &str) -> Result<Self, Failure> {
        let mut flags = Self::default();
        flags.add_table(toml_from::<Table>(text, shown)?, |key| key.to_owned());
        Ok(flags)
    }

    /// Returns whether the settings are those of a service.
    pub(crate) fn is_service(&self) -> bool {
        self.0.contains_key(&(SERVE.to_owned(), None))
    }

    /// Sets the address of a service's requests, unless the file has one.
    pub(crate) fn serve_at(&mut self, address: SocketAddr) {
        self.0.entry((REQUESTS.to_owned(), None)).or_insert_with(|| vec![address.to_string()]);
    }

    /// Returns whether the file has the address of a service's requests.
    pub(crate) fn has_requests(&self) -> bool {
        self.value(REQUESTS).is_some()
    }

    fn add_table(&mut self, table: Table, flag: fn(&str) -> String) {
        for (key, value) in table {
            match value {
                Value::Table(named) if Named::of_flag(&key).is_some() => self.add_named(&key, named),
                Value::Table(inner) if key == "log" => self.add_table(inner, |key| match key {
                    "level" => "log".to_owned(),
                    key => format!("log-{key}"),
                }),
                Value::Table(inner) if key == "registry" => self.add_table(inner, |key| match key {
                    "plain-http" => "registry-plain-http".to_owned(),
                    key => key.to_owned(),
                }),
                Value::Table(inner) => {
                    if key == SERVE {
                        self.0.insert((SERVE.to_owned(), None), Vec::new());
                    }
                    self.add_table(inner, |key| key.to_owned());
                }
                Value::Array(items) => items.iter().for_each(|item| self.add(&flag(&key), &written(item))),
                value => self.add(&flag(&key), &written(&value)),
            }
        }
    }

    fn add_named(&mut self, flag: &str, table: Table) {
        for (name, value) in table {
            match value {
                // Only the environment has these: the worker's own value, or none.
                Value::Boolean(true) => self.add(flag, &name),
                Value::Boolean(false) => {}
                value => self.add(flag, &format!("{name}={}", written(&value))),
            }
        }
    }

    fn add(&mut self, flag: &str, value: &str) {
        if LEFT_OUT.contains(&flag) {
            return;
        }
        let name = Named::of_flag(flag).map(|named| named.split(value).0.to_owned());
        self.0.entry((flag.to_owned(), name)).or_default().push(value.to_owned());
    }

    /// Takes each setting that isn't set here from `other`.
    pub(crate) fn over(self, mut other: Self) -> Self {
        // A goal replaces any goal, and a fixed concurrency limit has none, as in `WorkerSettings::over`.
        let is_fixed = self.value("instances").is_some_and(|value| value.parse::<u64>().is_ok());
        let goals = ["target-latency", "backlog-per-instance"];
        if is_fixed || goals.iter().any(|goal| self.value(goal).is_some()) {
            goals.iter().for_each(|goal| other.remove(goal));
        }
        if self.is_without_budgets() {
            other.remove("budget");
        }
        other.0.extend(self.0);
        other
    }

    /// Returns whether a flag switches the budgets of variables and the file off.
    fn is_without_budgets(&self) -> bool {
        let of_budgets = self.0.iter().filter(|((flag, _), _)| flag == "budget");
        of_budgets.flat_map(|(_, values)| values).any(|value| value == NO_BUDGETS)
    }

    /// Returns the value of a flag that has one.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        self.0.get(&(flag.to_owned(), None))?.first().map(String::as_str)
    }

    /// Sets the only value of a flag.
    pub(crate) fn set(&mut self, flag: &str, value: String) {
        self.0.insert((flag.to_owned(), None), vec![value]);
    }

    /// Removes a flag with all its values.
    pub(crate) fn remove(&mut self, flag: &str) {
        self.0.retain(|(name, _), _| name != flag);
    }

    /// Returns the names of environment keys whose value is the worker's own.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = &str> {
        let of_env = self.0.iter().filter(|((flag, _), _)| flag == "env");
        of_env.flat_map(|(_, values)| values).map(String::as_str).filter(|value| !value.contains('='))
    }

    /// Returns the words of a command line, in the order in which `run` lists its flags.
    pub(crate) fn words(&self) -> Vec<String> {
        self.words_of(&run())
    }

    /// Returns the words of a command line, in the order in which `serve` lists its flags.
    pub(crate) fn words_of_serve(&self) -> Vec<String> {
        self.words_of(&ServeArgs::augment_args(Command::new("serve")))
    }

    fn words_of(&self, command: &Command) -> Vec<String> {
        let flags = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
        let words = flags.flat_map(|(arg, flag)| {
            let settings = self.0.iter().filter(move |((name, _), _)| name == flag);
            settings.flat_map(|(_, values)| values).flat_map(move |value| word(arg, flag, value))
        });
        words.collect()
    }
}

/// Writes a flag with its value.
fn word(arg: &Arg, flag: &str, value: &str) -> Vec<String> {
    match value {
        "true" if arg.is_require_equals_set() => vec![format!("--{flag}")],
        // A value that begins like a flag.
        value if arg.is_require_equals_set() || value.starts_with('-') => vec![format!("--{flag}={value}")],
        value => vec![format!("--{flag}"), value.to_owned()],
    }
}

/// Returns a value of a file as a flag takes it.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn run() -> Command {
    RunArgs::augment_args(Command::new("run"))
}

/// Returns the ids of all flags of a command, and their names.
fn flags_of(command: &Command) -> Vec<(String, String)> {
    let flags = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().to_string(), arg.get_long()?.to_owned())));
    flags.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::ConfigFile;

    fn typed(words: &str) -> Flags {
        let words = std::iter::once("run").chain(words.split_whitespace());
        Flags::typed(&run().try_get_matches_from(words).expect("arguments")).expect("settings")
    }

    #[test]
    fn flags_come_out_as_they_were_typed_in_the_order_of_run() {
        let words = "x.wasm --timeout 5s --store b=s3://b:ro --store a=s3://a:rw --queue q --raw-body --until-empty=false --arg=-n --arg=-- --arg=x --config c.toml";
        let expected = "--queue q --store a=s3://a:rw --store b=s3://b:ro --raw-body --arg=-n --arg=-- --arg x --timeout 5s --until-empty=false";
        assert_eq!(typed(words).words().join(" "), expected);
    }

    #[test]
    fn flags_win_over_the_file_by_name_and_a_list_as_a_whole() {
        let file = "queue = 'q'\nallow-http = ['a.example', 'b.example']\n[store]\na = 's3://a:ro'\nb = 's3://b:ro'\n[env]\nA = '1'\nB = true\nC = false\n[worker]\ninstances = '0..9'\ntarget-latency = '30s'\n[log]\nlevel = 'warn'\nformat = 'text'";
        let file = Flags::of_file(file, "the configuration").expect("valid");
        assert_eq!(file.inherited().collect::<Vec<_>>(), ["B"]);
        let merged = typed("--queue r --store b=s3://c:rw --allow-http c.example --instances 4").over(file);
        let expected = "--queue r --store a=s3://a:ro --store b=s3://c:rw --allow-http c.example --env A=1 --env B --log warn --log-format text --instances 4";
        assert_eq!(merged.words().join(" "), expected);
    }

    #[test]
    fn budgets_are_merged_by_key_and_those_that_a_flag_switches_off_are_left_out() {
        let file = "[budget]\na = 'cpu:1s/1h'\noff = 'cpu:2s/1h'\n[worker]\nbudget-store = 's3://b'";
        let file = || Flags::of_file(file, "the configuration").expect("valid");
        let merged = typed("--budget off --budget b=cpu:3s/1h").over(file());
        assert_eq!(merged.words().join(" "), "--budget b=cpu:3s/1h --budget off --budget-store s3://b");
        // A key may have a `=` itself.
        let merged = typed("--budget a=b=cpu:5s/1h --weight a=b=2").over(file());
        assert_eq!(
            merged.words().join(" "),
            "--weight a=b=2 --budget a=cpu:1s/1h --budget a=b=cpu:5s/1h --budget off=cpu:2s/1h --budget-store s3://b"
        );
        // A budget of the key `off`.
        let merged = typed("--budget off=cpu:4s/1h").over(file());
        assert_eq!(
            merged.words().join(" "),
            "--budget a=cpu:1s/1h --budget off=cpu:4s/1h --budget-store s3://b"
        );
    }

    #[test]
    fn a_service_has_two_addresses_and_the_flags_of_serve() {
        let file = "status = '0.0.0.0:9464'\n[serve]\nqueue-time = '2s'\nlisten = '0.0.0.0:80'\n[limits]\ntimeout = '5s'";
        let mut file = Flags::of_file(file, "the configuration").expect("valid");
        assert!(file.is_service() && file.has_requests());
        file.serve_at(([0, 0, 0, 0], 8080).into());
        let expected = "--listen 0.0.0.0:80 --queue-time 2s --timeout 5s --status 0.0.0.0:9464";
        assert_eq!(file.words_of_serve().join(" "), expected);
        // The table alone says it.
        let mut empty = Flags::of_file("[serve]", "the configuration").expect("valid");
        assert!(empty.is_service() && !empty.has_requests());
        empty.serve_at(([0, 0, 0, 0], 8080).into());
        assert_eq!(empty.words_of_serve().join(" "), "--listen 0.0.0.0:8080");
        assert!(!Flags::of_file("status = 9464", "the configuration").expect("valid").is_service());
    }

    #[test]
    fn what_is_written_is_read_as_the_same_settings() {
        let file = "queue = 'q'\nraw-body = false\ndeterministic = true\nusage-size = '1MiB'\nstatus = 9464\n[keyvalue]\nk = 'sqlite:k.db:rw'\n[dir]\n'/in' = 'a:x/:ro'\n[config-value]\nKey = \"a=b\\n'c' $(D)\"\n[command]\narg = ['-v', '', '--']\nexit-code = { 3 = 'retry' }\noutput-object = 'a:{id}'\n[limits]\nfuel = 200_000\n[on]\ntimed-out = 'drop'\n[engine]\nthreads = 2\n[aws]\nendpoint-url = 'http://127.0.0.1:1'\n[registry]\nplain-http = true\nverify-key = 'cosign.pub'";
        ConfigFile::parse(file, &"the file").expect("valid");
        let flags = Flags::of_file(file, "the file").expect("valid");
        let words = std::iter::once("run".to_owned()).chain(flags.words());
        let taken = run().try_get_matches_from(words).expect("a command line of run");
        assert_eq!(Flags::typed(&taken).expect("settings"), flags);
    }
}
