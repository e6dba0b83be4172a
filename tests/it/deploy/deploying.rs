//! The templates in `deploy/ecs`, resolved like CloudFormation does, compared with the program's own output, and
//! created on servers that stand in for AWS.

mod documented;
mod registered;
mod stack;
mod template;

pub(crate) use documented::SECTIONS;

use crate::harness::{
    Amazon, Command, DockerRegistry, World, field, guest, photograph, program, repository, wait_until,
};
use serde_json::{Value, json};
use stack::Stack;
use std::collections::BTreeMap;
use std::fs;
use template::{Template, text, texts};

const ACCOUNT: &str = "123456789012";
/// Region, partition, and the domain of the partition's services.
const IRELAND: [&str; 3] = ["eu-west-1", "aws", "amazonaws.com"];
/// A key as `cosign generate-key-pair` writes it.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----
";
const BEIJING: [&str; 3] = ["cn-north-1", "aws-cn", "amazonaws.com.cn"];

/// The names of each template and its bare task definition, and the name that the latter uses for its resources.
const TEMPLATES: [(&str, &str); 3] = [("batch", "thumbnails"), ("sidecar", "sidecar"), ("service", "upload")];

/// The template with the values that a stack in this region would have.
fn sample(template: &Template, name: &str, [region, partition, domain]: [&str; 3]) -> Template {
    let arn = |service: &str, what: &str| format!("arn:{partition}:{service}:{region}:{ACCOUNT}:{what}");
    let role = |suffix: &str| format!("arn:{partition}:iam::{ACCOUNT}:role/{name}-{suffix}");
    let queue = |name: &str| format!("https://sqs.{region}.{domain}/{ACCOUNT}/{name}");
    let bucket = |of: &str| format!("{of}-{ACCOUNT}-{region}");
    let image = |name: &str| format!("{ACCOUNT}.dkr.ecr.{region}.{domain}/{name}");
    let dead = format!("{name}-dead");
    let component = if name == "upload" { "upload.wasm" } else { "thumbnail.wasm" };
    let balancing = |what: &str| format!("{what}/0123456789abcdef");
    template
        .clone()
        .with("AWS::Region", region)
        .with("AWS::Partition", partition)
        .with("AWS::AccountId", ACCOUNT)
        .with("AWS::StackName", name)
        .with("AWS::URLSuffix", domain)
        .with("Name", name)
        .with("Image", image("wasmrun:0.1.0"))
        .with("AppImage", image("app:1.0.0"))
        .with("ComponentUrl", format!("s3://{}/{component}", bucket("components")))
        .with("SubnetIds", json!(["subnet-11111111", "subnet-22222222"]))
        .with("InputBucket", bucket(&format!("{name}-input")))
        .with("OutputBucket", bucket(&format!("{name}-output")))
        .with("Queue", queue(name))
        .with("Queue.Arn", arn("sqs", name))
        .with("Queue.QueueName", name)
        .with("DeadLetters", queue(&dead))
        .with("DeadLetters.Arn", arn("sqs", &dead))
        .with("DeadLetters.QueueName", dead)
        .with("TaskRole.Arn", role("task"))
        .with("ExecutionRole.Arn", role("execution"))
        .with("LogGroup", format!("/wasmrun/{name}"))
        .with("Cluster", name)
        .with("Service.Name", name)
        .with("SecurityGroup", "sg-11111111")
        .with("Alerts", arn("sns", "alerts"))
        .with("UploadsBucket", "photos-in")
        .with("JobsQueueArn", arn("sqs", "uploads"))
        .with("LoadBalancer.LoadBalancerFullName", balancing(&format!("app/{name}")))
        .with("TargetGroup.TargetGroupFullName", balancing(&format!("targetgroup/{name}")))
}

/// The container that runs wasmrun.
#[track_caller]
fn container(task_definition: &Value) -> &Value {
    let containers = task_definition["containerDefinitions"].as_array().expect("containers");
    containers.iter().find(|container| container["name"] == "wasmrun").expect("wasmrun's")
}

/// Runs a command with the container's environment variables and these arguments.
fn as_in<'a>(mut command: Command, words: impl IntoIterator<Item = &'a str>, container: &Value) -> Command {
    for variable in container["environment"].as_array().expect("variables") {
        // This folder exists only in the container, and a fixed port might be taken here.
        command = match (field(variable, "name"), field(variable, "value")) {
            ("WASMRUN_CACHE", _) => command,
            ("WASMRUN_STATUS", _) => command.env("WASMRUN_STATUS", "0"),
            (name, value) => command.env(name, value),
        };
    }
    command.args(words)
}

/// The statements that `wasmrun policy` prints for the container's command.
fn needed(world: &World, container: &Value, dead_letters: &str, cluster: &str) -> BTreeMap<String, Value> {
    let words = texts(&container["command"]);
    let (command, arguments) = words.split_first().expect("a command");
    // Its flags are those of `run`, which has no address of requests.
    let listen = arguments.iter().position(|word| *word == "--listen").unwrap_or(arguments.len());
    let others = arguments.iter().take(listen).chain(arguments.iter().skip(listen + 2));
    let policy = as_in(world.wasmrun(["policy"]), others.copied(), container);
    let output = match *command {
        "run" => policy.args(["--dead-letter", dead_letters, "--cluster", cluster]).succeeds(),
        "serve" => policy.succeeds(),
        _ => panic!("{words:?}"),
    };
    let policy: Value = serde_json::from_str(&output.stdout.join("\n")).expect("JSON");
    by_name(&policy["Statement"])
}

/// Statements by their names, with sorted actions, because their order means nothing.
fn by_name(statements: &Value) -> BTreeMap<String, Value> {
    let statements = statements.as_array().expect("statements");
    let named = statements.iter().map(|statement| {
        let mut statement = statement.clone();
        let actions = statement["Action"].as_array_mut().expect("actions");
        actions.sort_by(|one, other| text(one).cmp(text(other)));
        (field(&statement, "Sid").to_owned(), statement)
    });
    let named: BTreeMap<_, _> = named.collect();
    assert_eq!(named.len(), statements.len(), "each has a name of its own");
    named
}

#[test]
fn a_linter_finds_nothing_in_the_templates() {
    let Some(linter) = program("cfn-lint") else { return };
    let world = World::new();
    let lint = |files: &[&str]| {
        let files = files.iter().map(|file| repository().join("deploy/ecs").join(file));
        world.program(&linter).args(files).ends()
    };
    let output = lint(&["batch.yaml", "sidecar.yaml", "service.yaml"]);
    assert!(output.status.success(), "{output}");
    assert!(output.stdout.is_empty(), "{output}");
    // The linter does find errors: this file is no template.
    assert!(!lint(&["batch.task-definition.json"]).status.success());
}

#[test]
fn a_task_may_do_what_wasmrun_says_that_it_needs_and_nothing_else() {
    let world = World::new();
    let Some(batch) = Template::read(&world, "batch.yaml") else { return };
    let Some(sidecar) = Template::read(&world, "sidecar.yaml") else { return };
    let plain = sample(&batch, "thumbnails", IRELAND);
    let key = format!("arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let encrypted = plain.clone().with("KmsKeyArn", key);
    let pinned = plain.clone().with("ComponentVersion", "3L4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY");
    let in_image = plain.clone().with("ComponentUrl", "").with("ComponentPath", "/processor.wasm");
    let elsewhere = plain.clone().with("ComponentUrl", "").with("ComponentVersion", "x");
    let tagged = elsewhere.clone().with("ComponentArtefact", "team/thumbnail:1.2");
    let by_digest = format!("team/thumbnail@sha256:{}", "0".repeat(64));
    let signed = tagged.clone().with("VerifyKey", PUBLIC_KEY);
    let by_digest = elsewhere.with("ComponentArtefact", by_digest);
    let measured = encrypted.clone().with("ComponentVersion", "null").with("MetricsNamespace", "Thumbnails");
    let beside = sample(&sidecar, "sidecar", IRELAND);
    let Some(service) = Template::read(&world, "service.yaml") else { return };
    let service = sample(&service, "upload", IRELAND);
    let alone = service.clone().with("UploadsBucket", "").with("JobsQueueArn", "");
    let in_registry = service.clone().with("ComponentUrl", "").with("ComponentArtefact", "team/upload:1.2");
    let pinned_service = service.clone().with("ComponentVersion", "x");
    let with_policies =
        beside.clone().with("AppPolicyArns", json!(["arn:aws:iam::aws:policy/ReadOnlyAccess"]));
    for (template, statements) in [
        (plain, 7),
        (encrypted, 9),
        (pinned, 7),
        (in_image, 6),
        (tagged, 8),
        (signed, 8),
        (by_digest, 8),
        (measured, 9),
        (beside, 6),
        (with_policies, 6),
        (service, 3),
        (alone, 1),
        (in_registry, 4),
        (pinned_service, 3),
        (sample(&batch, "thumbnails", BEIJING), 7),
        (sample(&sidecar, "sidecar", BEIJING), 6),
    ] {
        let task = template.task_definition();
        let dead_letters = template.value("DeadLetters");
        let needed = needed(&world, container(&task), text(dead_letters), text(template.value("Cluster")));
        let granted = by_name(&template.rights());
        assert_eq!(granted, needed, "{task:#}");
        assert_eq!(granted.len(), statements, "{granted:#?}");
    }
}

#[test]
fn a_key_among_the_parameters_is_the_one_that_the_worker_verifies_with() {
    let world = World::new();
    let Some(batch) = Template::read(&world, "batch.yaml") else { return };
    let Some(registry) = DockerRegistry::start() else { return };
    let artefact = registry.url("thumbnail:1");
    world.wasmrun(["push"]).arg(guest("thumbnail")).arg(&artefact).succeeds();
    // The console of CloudFormation makes one line of the text.
    for key in [PUBLIC_KEY.to_owned(), PUBLIC_KEY.replace('\n', "")] {
        let template = sample(&batch, "thumbnails", IRELAND).with("ComponentUrl", "");
        let template = template.with("ComponentArtefact", "thumbnail:1").with("VerifyKey", key);
        let task = template.task_definition();
        let words = texts(&container(&task)["command"]).into_iter().map(|word| match word {
            word if word.starts_with("oci://") => artefact.as_str(),
            // The queue is opened first, and needs credentials.
            word if word.starts_with("https://sqs.") => "sqlite:jobs.db",
            word => word,
        });
        let worker = as_in(world.wasmrun([]), words, container(&task));
        worker.fails_with(2, "is not signed");
    }
}

#[test]
fn the_bare_task_definitions_are_those_of_the_templates() {
    let world = World::new();
    for (file, name) in TEMPLATES {
        let Some(template) = Template::read(&world, &format!("{file}.yaml")) else { return };
        let mut task = sample(&template, name, IRELAND).task_definition();
        without_what_the_application_needs(&mut task);
        assert_eq!(bare(file), task, "{file}");
    }
}

/// Removes the ports of the template's application, and the variables with its buckets: `wasmrun manifest ecs` knows
/// nothing of them.
fn without_what_the_application_needs(task_definition: &mut Value) {
    let containers = task_definition["containerDefinitions"].as_array_mut().expect("containers").iter_mut();
    for container in containers.filter(|container| container["name"] == "app") {
        container.as_object_mut().expect("a container").remove("portMappings");
        let variables = container["environment"].as_array_mut().expect("variables");
        variables.retain(|variable| field(variable, "name").starts_with("WASMRUN_"));
    }
}

/// A bare task definition.
fn bare(file: &str) -> Value {
    let path = repository().join(format!("deploy/ecs/{file}.task-definition.json"));
    serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON")
}

#[test]
fn a_stack_makes_thumbnails_of_what_is_put_into_its_bucket_with_the_command_of_its_container() {
    let world = World::new();
    let Some(batch) = Template::read(&world, "batch.yaml") else { return };
    let Some(amazon) = Amazon::start() else { return };
    amazon.create_bucket("components");
    amazon.put("components", "a/thumbnail.wasm", fs::read(guest("thumbnail")).expect("the component"));
    let parameters = [
        ("Image", "wasmrun:0.1.0"),
        ("ComponentUrl", "s3://components/a/thumbnail.wasm"),
        ("VpcId", "vpc-11111111"),
        ("SubnetIds", "subnet-11111111,subnet-22222222"),
    ];
    let stack = Stack::create(&world, &amazon, &batch, &parameters);
    is_wired(&stack);
    let task = stack.task();
    assert_eq!(task["family"], "thumbnails-batch");
    grants_what_is_needed(&stack, &task);
    let words = texts(&container(&task)["command"]);
    makes_a_thumbnail(&stack, &batch, as_in(amazon.environment(world.wasmrun([])), words, container(&task)));
}

#[test]
fn a_stack_with_an_application_makes_thumbnails_with_what_comes_with_the_application() {
    let world = World::new();
    let Some(sidecar) = Template::read(&world, "sidecar.yaml") else { return };
    let Some(amazon) = Amazon::start() else { return };
    let parameters = [
        ("Image", "wasmrun:0.1.0"),
        ("AppImage", "app:1.0.0"),
        ("SubnetIds", "subnet-11111111,subnet-22222222"),
        ("SecurityGroupIds", "sg-11111111"),
    ];
    let stack = Stack::create(&world, &amazon, &sidecar, &parameters);
    is_wired(&stack);
    let task = stack.task();
    assert_eq!(task["family"], "sidecar-app");
    grants_what_is_needed(&stack, &task);
    // No container has copied the component here.
    let component = guest("thumbnail");
    let words = texts(&container(&task)["command"]).into_iter().map(|word| match word {
        "/components/component.wasm" => component.to_str().expect("text"),
        word => word,
    });
    makes_a_thumbnail(
        &stack,
        &sidecar,
        as_in(amazon.environment(world.wasmrun([])), words, container(&task)),
    );
}

/// Asserts that the bucket notifies the queue, that the queue allows it, and that the queue has a dead-letter queue.
fn is_wired(stack: &Stack) {
    let parsed = |value: &Value| serde_json::from_str::<Value>(text(value)).expect("JSON");
    let (queue, dead_letters) = (stack.attributes("QueueUrl"), stack.attributes("DeadLettersUrl"));
    assert_eq!(queue["VisibilityTimeout"], "60");
    let redrive = parsed(&queue["RedrivePolicy"]);
    assert_eq!(redrive["deadLetterTargetArn"], dead_letters["QueueArn"]);
    assert_eq!(redrive["maxReceiveCount"].to_string().trim_matches('"'), "5");

    let bucket = stack.output("InputBucketName");
    let policy = parsed(&queue["Policy"]);
    let announcements = &policy["Statement"][0];
    assert_eq!(announcements["Effect"], "Allow");
    assert_eq!(announcements["Action"], "sqs:SendMessage");
    assert_eq!(announcements["Principal"], json!({"Service": "s3.amazonaws.com"}));
    assert_eq!(announcements["Resource"], queue["QueueArn"]);
    let source = json!({"aws:SourceArn": format!("arn:aws:s3:::{bucket}")});
    assert_eq!(announcements["Condition"]["ArnEquals"], source);

    let notification = stack.call("s3", "get_bucket_notification_configuration", &json!({"Bucket": bucket}));
    let notified = &notification["QueueConfigurations"][0];
    assert_eq!(notified["QueueArn"], queue["QueueArn"], "{notification}");
    assert_eq!(notified["Events"], json!(["s3:ObjectCreated:*"]), "{notification}");
}

fn grants_what_is_needed(stack: &Stack, task: &Value) {
    let role = stack.output("TaskRoleArn");
    assert_eq!(task["taskRoleArn"], role);
    let role = role.rsplit('/').next();
    let policy = stack.call("iam", "get_role_policy", &json!({"RoleName": role, "PolicyName": "wasmrun"}));
    let (dead_letters, cluster) = (stack.output("DeadLettersUrl"), stack.output("ClusterName"));
    let needed = needed(stack.world, container(task), dead_letters, cluster);
    assert_eq!(by_name(&policy["PolicyDocument"]["Statement"]), needed);
}

fn makes_a_thumbnail(stack: &Stack, template: &Template, worker: Command) {
    let (amazon, world) = (stack.amazon, stack.world);
    let [input, output, queue, dead_letters] =
        ["InputBucketName", "OutputBucketName", "QueueUrl", "DeadLettersUrl"].map(|name| stack.output(name));
    let worker = worker.start();
    let address = worker.listens_on();
    amazon.put(input, "a/coffee cup.jpg", photograph());
    wait_until("there is a thumbnail", || !amazon.keys(output).is_empty());
    wait_until("its message is settled", || amazon.depth(queue) == [0; 3]);
    let definition = sample(template, "thumbnails", IRELAND).task_definition();
    let words = texts(&container(&definition)["healthCheck"]["command"]);
    let ["CMD", "/wasmrun", check @ ..] = &words[..] else { panic!("{words:?}") };
    let check = world.wasmrun(check.iter().copied()).env("WASMRUN_STATUS", address.to_string());
    assert_eq!(check.succeeds().stdout, ["alive"]);
    let worker = worker.stop();
    assert_eq!(worker.summary()["outcomes"]["completed"], worker.summary()["tasks"], "{worker}");
    assert_eq!(amazon.keys(output), ["a/coffee cup.jpg.jpg"], "{worker}");
    let (thumbnail, content_type) = amazon.get(output, "a/coffee cup.jpg.jpg").expect("a thumbnail");
    assert_eq!(content_type.as_deref(), Some("image/jpeg"));
    assert!(thumbnail.starts_with(&[0xff, 0xd8]), "a JPEG");
    assert_eq!(amazon.depth(dead_letters), [0; 3]);
}
