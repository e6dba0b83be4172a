//! Runs the pages on ECS, command by command, with the command `aws` on a server that stands in for AWS. The test
//! starts the workers that ECS would start.

use super::stack::{call, taken};
use super::template::{Template, texts};
use super::{TEMPLATES, as_in, by_name, container, needed};
use crate::docs::examples::document::{Section, section};
use crate::docs::examples::place::Place;
use crate::docs::examples::sections;
use crate::harness::{ACCOUNT, Amazon, Process, guest, repository, wait_within};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const FILE: &str = "docs/src/guides/ecs.md";
const COSTS: &str = "docs/src/reference/costs.md";
const BATCH: &str = "A batch, to the first thumbnail";
const REGION: &str = "eu-west-1";

sections! {
    a_batch_is_deployed_as_it_is_written: "docs/src/guides/ecs.md", "A batch, to the first thumbnail" => batch;
    the_image_is_built_in_a_container: "docs/src/guides/ecs.md", "With Docker, or on a Mac" => in_docker;
    a_sidecar_is_deployed_as_it_is_written: "docs/src/guides/ecs-sidecar.md", "A sidecar" => sidecar;
    workers_are_deployed_as_it_is_written_without_cloudformation: "docs/src/guides/ecs-by-hand.md", "Without CloudFormation" => by_hand;
}

/// Creates a clone of the repository, with templates reduced to what the server supports.
fn clone(amazon: &Amazon) -> Option<Place<'_>> {
    let place = Place::with_aws(amazon)?;
    place.is_clone();
    for (file, _) in TEMPLATES {
        let template = Template::read(&place.world, &format!("{file}.yaml"))?;
        // JSON is valid YAML.
        place.world.write(&format!("deploy/ecs/{file}.yaml"), taken(&template).to_string());
        place.link(&format!("deploy/ecs/{file}.task-definition.json"));
    }
    Some(place)
}

/// The shell variables that the steps of the batch define.
fn known() -> String {
    let commands = section(FILE, BATCH).commands();
    let defines = |line: &&str| {
        let name = line.split(['=', '(']).next().unwrap_or_default();
        line.starts_with("export ") || name.len() < line.len() && name.chars().all(|c| c.is_ascii_lowercase())
    };
    // The version is one line of several, of an object that is stored before.
    let lines = commands.lines().filter(defines).filter(|line| !line.ends_with('\\'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The worker that ECS would start after the command that creates its service.
fn worker(place: &Place, amazon: &Amazon, made_by: &str, family: &str) -> Process {
    let is_made = || place.noted().iter().any(|command| command.starts_with(made_by));
    wait_within(Duration::from_secs(240), "there is a service", is_made);
    let answer =
        call(&place.world, amazon, "ecs", "describe_task_definition", &json!({"taskDefinition": family}));
    let container = container(&answer["taskDefinition"]);
    let words = texts(&container["command"]);
    as_in(amazon.environment(place.world.wasmrun([])), words, container).start()
}

fn assert_noted(place: &Place, beginning: &str) {
    let noted = place.noted();
    assert!(noted.iter().any(|command| command.starts_with(beginning)), "{beginning}: {noted:#?}");
}

fn batch(section: &Section) {
    let Some(amazon) = Amazon::start() else { return };
    let Some(place) = clone(&amazon) else { return };
    let script = place.script(&section.commands()).start();
    let worker = worker(&place, &amazon, "aws cloudformation deploy", "thumbnails-batch");
    let output = script.finish().succeeded();
    worker.signal(Signal::TERM);
    assert!(place.world.read("coffee cup.jpg.jpg").starts_with(&[0xff, 0xd8]), "a JPEG: {output}");
    let registry = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
    assert_noted(&place, &format!("podman login --username AWS --password-stdin {registry}"));
    assert_noted(&place, &format!("podman push localhost/wasmrun:0.1.0 {registry}/wasmrun:0.1.0"));
    assert_noted(&place, "aws cloudformation delete-stack --stack-name thumbnails");
}

fn in_docker(section: &Section) {
    let place = Place::new();
    place.run(&section.commands());
    assert_noted(&place, "docker run --rm --privileged");
}

fn sidecar(section: &Section) {
    let Some(amazon) = Amazon::start() else { return };
    let Some(place) = clone(&amazon) else { return };
    place.run(&(known() + &section.commands()));
    assert_noted(&place, "podman build --tag ");
    assert_noted(&place, "aws cloudformation delete-stack --stack-name sidecar");
}

fn by_hand(section: &Section) {
    let Some(amazon) = Amazon::start() else { return };
    let Some(place) = clone(&amazon) else { return };
    let components = format!("components-{ACCOUNT}-{REGION}");
    amazon.create_bucket(&components);
    amazon.put(&components, "thumbnail.wasm", fs::read(guest("thumbnail")).expect("the component"));
    let script = place.script(&(known() + &section.commands())).start();
    let worker = worker(&place, &amazon, "aws ecs create-service", "thumbnails-batch");
    script.finish().succeeded();
    worker.signal(Signal::TERM);

    // The role has exactly the permissions that the task definition's command needs.
    let read = |file: &str| serde_json::from_slice::<Value>(&place.world.read(file)).expect("JSON");
    let queue = |name: &str| format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}");
    let definition = read("target/task-definition.json");
    let needed = needed(&place.world, container(&definition), &queue("thumbnails-dead"), "thumbnails");
    assert_eq!(by_name(&read("target/task-policy.json")["Statement"]), needed);
    assert_eq!(definition["taskRoleArn"], format!("arn:aws:iam::{ACCOUNT}:role/thumbnails-task"));
    // The template contains both policies as well.
    let template = fs::read_to_string(repository().join("deploy/ecs/batch.yaml")).expect("the template");
    for condition in ["aws:SourceArn", "aws:SourceAccount"] {
        for file in ["target/queue-policy.json", "target/trust.json"] {
            assert!(read(file).to_string().contains(condition), "{file}");
        }
        assert!(template.contains(condition), "{condition}");
    }
}

/// Parses products of numbers with units before `= $` in the document, and the amount in dollars after it.
fn sums() -> Vec<(String, f64, f64)> {
    let text = fs::read_to_string(repository().join(COSTS)).expect("the document");
    let mut parts = text.split("= $").peekable();
    let mut sums = Vec::new();
    while let (Some(before), Some(after)) = (parts.next(), parts.peek()) {
        let sum = before.rsplit(['|', '(', '\n', ';']).next().unwrap_or_default().replace(',', "");
        let digits = after.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(after.len());
        let dollars = after[..digits].replace(',', "").trim_end_matches('.').parse().expect("dollars");
        let mut terms = sum.split('×').map(|term| {
            let number = term.trim().trim_start_matches('$').split(' ').next().unwrap_or_default();
            number.parse::<f64>()
        });
        let product = terms.try_fold(1.0, |product, term| term.map(|term| product * term));
        if let Ok(product) = product
            && !sum.contains('+')
        {
            sums.push((sum.trim().to_owned(), product, dollars));
        }
    }
    sums
}

#[test]
fn the_costs_add_up() {
    let sums = sums();
    assert!(sums.len() >= 7, "{sums:?}");
    for (sum, product, dollars) in sums {
        assert!((product - dollars).abs() < 0.006, "{sum} is {product}, not {dollars}");
    }
}
