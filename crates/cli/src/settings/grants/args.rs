//! The flags of grants, and how they are merged with variables and the configuration file.

use super::GrantTable;
use crate::output::failure::Failure;
use crate::settings::environment;
use crate::settings::named::{ASSUME_ROLE, CONFIG_VALUE, DIR, KEYVALUE, SEND, STORE};
use clap::Args;
use std::str::FromStr;

/// Flags of grants.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GrantArgs {
    /// Grant a store: s3://BUCKET, s3://BUCKET/PREFIX (or the ARN of an access point in the bucket's place), with settings
    /// behind a `?` (region, addressing, bucket, encryption, kms-key and acl: see the page Stores of the documentation),
    /// or dir:PATH; with the mode ro, wo or rw. With --key, a task reaches only the part of its message's key where a
    /// segment of the prefix is {key}
    #[arg(long, value_name = "ALIAS=URL:MODE")]
    pub(crate) store: Vec<String>,
    /// Show objects of a granted store as files: those below a prefix, at a path; with the mode ro, wo or rw
    /// [default mode: ro]
    #[arg(long, value_name = "PATH=STORE[:PREFIX][:MODE]")]
    pub(crate) dir: Vec<String>,
    /// Grant a queue to send to
    #[arg(long, value_name = "ALIAS=URL")]
    pub(crate) send: Vec<String>,
    /// Grant a key-value bucket in a SQLite file of its own, which a task uses through wasi:keyvalue; with the mode ro, wo
    /// or rw. A missing file is created by the first task
    #[arg(long, value_name = "ALIAS=sqlite:FILE:MODE")]
    pub(crate) keyvalue: Vec<String>,
    /// Grant HTTP requests: HOST[:PORT][/PATH] with TLS, http://HOST[:PORT][/PATH] without; *.example.com stands for all
    /// names below example.com
    #[arg(long, value_name = "HOST", env = "WASMRUN_ALLOW_HTTP", num_args = 1, value_delimiter = ',')]
    pub(crate) allow_http: Vec<String>,
    /// Let HTTP requests reach an address, or a range of addresses, that isn't public: 10.0.0.5 or 10.0.0.0/8
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "WASMRUN_ALLOW_HTTP_ADDRESS",
        num_args = 1,
        value_delimiter = ','
    )]
    pub(crate) allow_http_address: Vec<String>,
    /// Use a store in S3 or a queue to send to with the rights of a role instead of the worker's own
    #[arg(long, value_name = "ALIAS=ARN")]
    pub(crate) assume_role: Vec<String>,
    /// Grant an environment key, with a value or with the worker's own
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Grant a configuration value, which a task reads through wasi:config
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) config_value: Vec<String>,
}

impl GrantArgs {
    /// Returns only the grants that may need rights on AWS, as [`GrantTable::on_aws`] does.
    pub(crate) fn on_aws(&self) -> Self {
        let Self { store, send, assume_role, .. } = self.clone();
        Self { store, send, assume_role, ..Self::default() }
    }

    /// Merges the grants name by name: flags win over variables, and these over the file. A list of flags or of a variable
    /// replaces that of the file.
    ///
    /// # Errors
    ///
    /// Fails if a value has a wrong form, an alias isn't allowed, flags give a name twice, or a variable isn't UTF-8.
    pub(crate) fn over(&self, file: GrantTable) -> Result<GrantTable, Failure> {
        Ok(GrantTable {
            store: STORE.merged_by_alias(&self.store, file.store)?,
            dir: DIR.merged(&self.dir, file.dir)?,
            send: SEND.merged_by_alias(&self.send, file.send)?,
            keyvalue: KEYVALUE.merged_by_alias(&self.keyvalue, file.keyvalue)?,
            allow_http: listed("--allow-http", &self.allow_http, file.allow_http)?,
            allow_http_address: listed(
                "--allow-http-address",
                &self.allow_http_address,
                file.allow_http_address,
            )?,
            assume_role: ASSUME_ROLE.merged_by_alias(&self.assume_role, file.assume_role)?,
            env: environment::merged(&self.env, file.env)?,
            config_value: CONFIG_VALUE.merged(&self.config_value, file.config_value)?,
        })
    }
}

fn listed<T: FromStr<Err = String>>(flag: &str, flags: &[String], file: Vec<T>) -> Result<Vec<T>, Failure> {
    if flags.is_empty() {
        return Ok(file);
    }
    let parse = |text: &String| text.parse().map_err(|error| Failure::usage(format!("{flag}: {error}")));
    flags.iter().map(parse).collect()
}
