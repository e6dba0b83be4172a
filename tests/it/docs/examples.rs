//! Runs the examples of all documents and of the help as they are printed. This file has the table of sections.
//!
//! The commands of a section are one script, which runs in a directory that is prepared as the text around them says. A
//! new section fails a test until it is either run here or listed among those that can't be run.
//!
//! | module | has |
//! |---|---|
//! | `checks` | how each section is run, and what must come out |
//! | `document` | the sections and blocks of a document |
//! | `help` | the examples of each command's help, and their tests |
//! | `place` | a directory in which examples run |

mod checks;
pub(crate) mod document;
pub(crate) mod help;
pub(crate) mod place;

use checks::*;
use std::collections::BTreeSet;

/// Creates a test for each section, and a list of the sections.
macro_rules! sections {
    ($($name:ident: $file:literal, $heading:literal => $check:ident;)*) => {
        /// File and heading of each section with a test here.
        pub(crate) const SECTIONS: &[(&str, &str)] = &[$(($file, $heading)),*];
        $(
            #[test]
            fn $name() {
                $check(&$crate::docs::examples::document::section($file, $heading));
            }
        )*
    };
}
pub(crate) use sections;

sections! {
    the_repository_is_built: "README.md", "Install" => is_noted;
    the_quick_start_makes_thumbnails: "README.md", "Quick start, without a cloud" => makes_thumbnails_by_hand;
    the_guest_is_that_of_its_page: "README.md", "A guest in 30 lines" => is_the_first_guest;
    a_worker_on_aws_makes_a_thumbnail: "README.md", "On AWS" => makes_a_thumbnail_on_aws;
    the_program_is_built: "docs/src/getting-started/install.md", "Build" => is_noted;
    the_commands_of_the_repository_exist: "docs/src/getting-started/install.md", "Two commands for newcomers" => is_noted;
    thumbnails_are_made_by_hand: "docs/src/getting-started/first-run.md", "Thumbnails" => makes_thumbnails_and_a_dead_letter;
    the_cases_of_a_guest_run: "docs/src/guides/testing-guests.md", "Test a guest" => tests_a_guest;
    the_case_that_is_shown_is_one: "docs/src/guides/testing-guests.md", "A case" => is_a_case;
    the_first_guest_shouts: "docs/src/getting-started/first-guest.md", "The crate" => shouts;
    the_configuration_file_is_taken: "docs/src/guides/configuration.md", "A configuration file" => is_configured;
    tenants_are_simulated: "docs/src/guides/simulate.md", "Tenants" => simulates;
    caps_are_simulated: "docs/src/guides/tenants.md", "Caps" => simulates;
    a_tenant_has_its_part_of_the_stores: "docs/src/guides/tenants.md", "Grants by key" => grants_by_key;
    messages_take_their_routes: "docs/src/guides/routes.md", "An example" => takes_routes;
    queues_have_priorities: "docs/src/guides/priorities.md", "An example" => has_priorities;
    components_have_new_versions: "docs/src/guides/components.md", "New versions while the worker runs" => refreshes;
    components_are_pushed_and_run: "docs/src/guides/components.md", "Registries" => runs_from_a_registry;
    components_are_compiled_before: "docs/src/guides/components.md", "Precompiled components" => compiles_before;
    an_existing_program_is_a_filter: "docs/src/guides/programs.md", "A filter" => filters;
    a_dead_letter_says_what_is_shown: "docs/src/concepts/outcomes.md", "Dead letters" => tells_why;
    dead_letters_are_operated: "docs/src/guides/dead-letters.md", "Dead letters" => operates_dead_letters;
    a_store_takes_its_settings: "docs/src/reference/stores.md", "S3" => takes_settings;
    a_log_line_has_the_fields_that_are_shown: "docs/src/reference/logs.md", "Logs" => logs;
    a_policy_is_printed: "docs/src/reference/iam.md", "IAM rights" => prints_a_policy;
    a_record_has_the_fields_that_are_shown: "docs/src/guides/usage.md", "The usage file" => records_usage;
    the_health_check_is_that_of_the_templates: "docs/src/guides/monitoring.md", "Health checks" => is_watched;
    the_benchmark_of_watching_exists: "docs/src/guides/monitoring.md", "What watching costs" => is_noted;
    the_benchmark_of_traces_exists: "docs/src/guides/traces.md", "What traces cost" => is_noted;
    the_benchmark_of_a_task_exists: "docs/src/internals/performance.md", "A task" => is_noted;
    the_benchmark_of_concurrency_exists: "docs/src/internals/performance.md", "Concurrency" => is_noted;
    the_benchmark_of_isolation_exists: "docs/src/internals/performance.md", "Isolation" => is_noted;
    the_benchmark_of_pictures_exists: "docs/src/internals/performance.md", "Thumbnails" => is_noted;
    the_benchmark_on_sqs_exists: "docs/src/internals/performance.md", "SQS" => is_noted;
    the_benchmark_of_endurance_exists: "docs/src/internals/performance.md", "Endurance" => is_noted;
    the_benchmarks_of_starts_exist: "docs/src/internals/performance.md", "Start" => is_noted;
    a_container_takes_the_command: "docs/src/guides/container.md", "Build and run" => runs_in_a_container;
    the_guests_are_built: "guest-examples/README.md", "Build" => is_noted;
    the_guests_do_what_they_say: "guest-examples/README.md", "Try" => tries_the_guests;
    the_image_processor_makes_renditions: "guest-examples/README.md", "image-processor" => makes_renditions;
    the_fuzz_targets_exist: "fuzz/README.md", "Fuzz targets" => is_noted;
}

/// The sections that can't be run, and why.
const LISTED: &[(&str, &str, &str)] = &[
    ("ARCHITECTURE.md", "The tree", "a picture of folders"),
    ("guest-examples/README.md", "upload", "serves without end; the tests `serve::uploading` do the same"),
    ("guest-examples/jpeg-scaled/README.md", "jpeg-scaled", "run by a documentation test of the crate"),
    ("guest-examples/vp8-scaled/README.md", "vp8-scaled", "run by a documentation test of the crate"),
    (
        "docs/src/guides/ecs.md",
        "Another component",
        "needs a registry of ECR, like the tests `registry::credentials`",
    ),
    (
        "docs/src/guides/traces.md",
        "Traces and metrics over OTLP",
        "needs a collector, as the tests `watch::traces` have one",
    ),
    (
        "docs/src/guides/monitoring.md",
        "Monitor workers",
        "runs without end; the tests `watch::watching` do the same",
    ),
    ("docs/src/guides/alerts.md", "Set up", "the test `deploy::monitoring` gives it to Prometheus"),
    (
        "docs/src/guides/components.md",
        "Signed components",
        "needs cosign; the tests `registry::signatures` make the same signatures",
    ),
    (
        "docs/src/guides/simulate.md",
        "Questions",
        "fleets of hours, of which the tests `cli::simulate` run smaller ones",
    ),
    ("docs/src/guides/scaling.md", "Scale a fleet", "fleets of hours, as in the guide of the simulator"),
    ("docs/src/guides/simulate.md", "How large a fleet", "takes a quarter of an hour"),
    (
        "docs/src/guides/simulate.md",
        "Against the theory of queues",
        "computed by the tests of `wasmrun-simulate`",
    ),
    ("docs/src/guides/once.md", "Once", "runs without end; the tests `worker::once` do the same"),
    (
        "docs/src/guides/control.md",
        "Pause a worker, cancel a message",
        "needs a worker that runs on; the tests `worker::control` do the same",
    ),
    (
        "docs/src/guides/tenants.md",
        "Many tenants on one queue",
        "runs without end; the tests `worker::keys` do the same",
    ),
    ("docs/src/guides/tenants.md", "Budgets", "runs without end; the tests `worker::budgets` do the same"),
    (
        "docs/src/guides/tenants.md",
        "A session of a role for each key",
        "a policy that AWS applies; the tests `aws::sessions` show the sessions",
    ),
    (
        "docs/src/guides/tenants.md",
        "Usage and costs by key",
        "needs records with keys; the tests `worker::keys` report such records",
    ),
    (
        "docs/src/guides/notifications.md",
        "Notifications",
        "runs without end; the tests `worker::notifications` do the same",
    ),
    (
        "docs/src/guides/notifications.md",
        "What it says",
        "JSON, of which the tests `worker::notifications` read each field",
    ),
    (
        "docs/src/guides/notifications.md",
        "When a group is complete",
        "runs without end; the tests `worker::groups` do the same",
    ),
    (
        "docs/src/guides/notifications.md",
        "Over HTTP",
        "needs a server; the tests `worker::notifications` have one",
    ),
    (
        "docs/src/guides/routes.md",
        "What a route has",
        "needs the buckets of two customers; the tests `worker::routes` run the like",
    ),
    ("docs/src/guides/guests.md", "Write a guest", TEMPLATES),
    ("docs/src/guides/guests.md", "The work on a guest", TEMPLATES),
    ("docs/src/guides/guests.md", "On a queue", "run by the examples of `wasmrun dev --help`"),
    ("docs/src/guides/guest-rust.md", "A guest in Rust", TEMPLATES),
    ("docs/src/guides/guest-python.md", "A guest in Python", TEMPLATES),
    ("docs/src/guides/guest-c.md", "A guest in C", TEMPLATES),
    ("docs/src/guides/guest-javascript.md", "A guest in JavaScript", TEMPLATES),
    ("docs/src/guides/guest-javascript.md", "TypeScript", TEMPLATES),
    ("docs/src/guides/guest-go.md", "A guest in Go", TEMPLATES),
    (
        "docs/src/guides/dead-letters.md",
        "Run a dead letter again",
        "needs an ID; run by the tests `queues::walks`",
    ),
    ("docs/src/guides/dead-letters.md", "Messages that are too old", "run by the tests `queues::walks`"),
    ("sdk/javascript/README.md", "wasmrun-guest", PACKAGES),
    ("sdk/python/README.md", "wasmrun-guest", PACKAGES),
    ("guest-examples/fuzz/README.md", "Fuzz target `picture`", "needs a nightly compiler and cargo-fuzz"),
    (CORPORA, "Pictures of others", "fetches test pictures of a dozen projects"),
    (CORPORA, "Similarity", "needs Pillow"),
    (
        CORPORA,
        "Damaged pictures",
        "takes minutes; the tests of `picture-properties` do the same with fewer files",
    ),
    (IDEMPOTENCY, "1. Derive the output's key from the input alone", FRAGMENT),
    (IDEMPOTENCY, "2. Read the version that was announced", FRAGMENT),
    (IDEMPOTENCY, "3. What must not be done twice: put if absent", FRAGMENT),
    (IDEMPOTENCY, "4. The newest wins: sequencer and if-match", FRAGMENT),
];
const TEMPLATES: &str = "the commands of a new project, which the tests `authors::templates` run";
const PACKAGES: &str = "built by the tests `authors::packages`";
const CORPORA: &str = "docs/src/benchmarks/corpora.md";
const IDEMPOTENCY: &str = "docs/src/guides/idempotency.md";
const FRAGMENT: &str = "fragments of the guest `careful`, which the tests `idempotency` run";

#[test]
fn each_section_of_each_document_is_run_or_listed() {
    let shown = document::all();
    for section in &shown {
        assert_eq!(section.unknown(), [""; 0], "{}, {:?}", section.file, section.heading);
    }
    let name = |file: &str, heading: &str| format!("{file}, {heading:?}");
    let shown: BTreeSet<_> = shown.iter().map(|section| name(&section.file, &section.heading)).collect();
    let of_platforms = [crate::deploy::deploying::SECTIONS, crate::deploy::kubernetes::SECTIONS].concat();
    let known = [SECTIONS, &of_platforms, super::embedding::SECTIONS].concat();
    let listed = LISTED.iter().map(|(file, heading, _)| (*file, *heading));
    let known: BTreeSet<_> =
        known.into_iter().chain(listed).map(|(file, heading)| name(file, heading)).collect();
    assert_eq!(shown, known);
}
