//! A template's stack on a server that stands in for AWS, and calls to services that no other test calls.

use super::template::Template;
use crate::harness::{Amazon, World, field, program, repository, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NAME: &str = "of-a-test";

pub(super) struct Stack<'a> {
    pub(super) world: &'a World,
    pub(super) amazon: &'a Amazon,
    outputs: BTreeMap<String, String>,
}

impl<'a> Stack<'a> {
    pub(super) fn create(
        world: &'a World,
        amazon: &'a Amazon,
        template: &Template,
        parameters: &[(&str, &str)],
    ) -> Self {
        let document = taken(template);
        let parameter = |(name, value): &(&str, &str)| json!({"ParameterKey": name, "ParameterValue": value});
        let arguments = json!({
            "StackName": NAME,
            "TemplateBody": document.to_string(),
            "Parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
            "Capabilities": ["CAPABILITY_IAM"],
        });
        let mut stack = Self { world, amazon, outputs: BTreeMap::new() };
        stack.call("cloudformation", "create_stack", &arguments);
        let mut created = Value::Null;
        wait_until("the stack is there", || {
            let stacks = stack.call("cloudformation", "describe_stacks", &json!({"StackName": NAME}));
            created = stacks["Stacks"][0].clone();
            !field(&created, "StackStatus").ends_with("_IN_PROGRESS")
        });
        assert_eq!(created["StackStatus"], "CREATE_COMPLETE", "{created:#}");
        let text = |output: &Value, name: &str| field(output, name).to_owned();
        let outputs = created["Outputs"].as_array().expect("outputs").iter();
        stack.outputs =
            outputs.map(|output| (text(output, "OutputKey"), text(output, "OutputValue"))).collect();
        stack
    }

    pub(super) fn output(&self, name: &str) -> &str {
        &self.outputs[name]
    }

    /// The attributes of the queue that an output names.
    pub(super) fn attributes(&self, output: &str) -> Value {
        let arguments = json!({"QueueUrl": self.output(output), "AttributeNames": ["All"]});
        self.call("sqs", "get_queue_attributes", &arguments)["Attributes"].take()
    }

    /// The task definition that the service uses.
    pub(super) fn task(&self) -> Value {
        let arguments =
            json!({"cluster": self.output("ClusterName"), "services": [self.output("ServiceName")]});
        let services = self.call("ecs", "describe_services", &arguments);
        let arguments = json!({"taskDefinition": services["services"][0]["taskDefinition"]});
        self.call("ecs", "describe_task_definition", &arguments)["taskDefinition"].take()
    }

    #[track_caller]
    pub(super) fn call(&self, service: &str, operation: &str, arguments: &Value) -> Value {
        call(self.world, self.amazon, service, operation, arguments)
    }
}

/// The part of a template that ministack supports. It supports neither scaling nor metric math; moto does.
pub(super) fn taken(template: &Template) -> Value {
    template.without(|resource| {
        field(resource, "Type").starts_with("AWS::ApplicationAutoScaling::")
            || resource["Type"] == "AWS::CloudWatch::Alarm" && !resource["Properties"]["Metrics"].is_null()
    })
}

/// Calls a service of this server with boto3, which knows all services and their parameters.
#[track_caller]
pub(super) fn call(
    world: &World,
    amazon: &Amazon,
    service: &str,
    operation: &str,
    arguments: &Value,
) -> Value {
    let python = program("python").expect("it has read the template");
    let script = repository().join("tests/it/deploy/deploying/call.py");
    let call = amazon.environment(world.program(&python)).arg(script).args([service, operation]);
    call.input(arguments.to_string()).succeeds().json()
}
