//! The parts of the templates that no local server creates from a template: services, scaling, alarms, a load balancer. Each
//! is given to moto by the call that creates it, which checks its parameters.

use super::stack::call;
use super::template::{Template, as_of_ecs};
use super::{IRELAND, TEMPLATES, bare, sample};
use crate::harness::{Amazon, World, field};
use serde_json::{Value, json};

/// A server with the task definitions, a cluster for each, and the default network.
struct Account<'a> {
    world: &'a World,
    amazon: Amazon,
    subnets: Vec<String>,
    vpc: String,
    group: String,
}

impl<'a> Account<'a> {
    fn start(world: &'a World) -> Option<Self> {
        let amazon = Amazon::moto()?;
        let mut account =
            Self { world, amazon, subnets: Vec::new(), vpc: String::new(), group: String::new() };
        for (file, name) in TEMPLATES {
            account.call("ecs", "register_task_definition", &bare(file));
            account.call("ecs", "create_cluster", &json!({"clusterName": name}));
        }
        let subnets = account.call("ec2", "describe_subnets", &json!({}));
        let groups = account.call("ec2", "describe_security_groups", &json!({}));
        let subnet = |index: usize| field(&subnets["Subnets"][index], "SubnetId").to_owned();
        account.subnets = vec![subnet(0), subnet(1)];
        account.vpc = field(&subnets["Subnets"][0], "VpcId").to_owned();
        account.group = field(&groups["SecurityGroups"][0], "GroupId").to_owned();
        Some(account)
    }

    #[track_caller]
    fn call(&self, service: &str, operation: &str, arguments: &Value) -> Value {
        call(self.world, &self.amazon, service, operation, arguments)
    }

    /// A template with the values of this account.
    fn sample(&self, file: &str, name: &str) -> Option<Template> {
        let template = Template::read(self.world, &format!("{file}.yaml"))?;
        let groups = ["SecurityGroup", "TaskGroup", "LoadBalancerGroup"];
        let template = groups
            .into_iter()
            .fold(sample(&template, name, IRELAND), |template, group| template.with(group, &*self.group));
        let template = template.with("TaskDefinition", format!("{name}-{file}"));
        let subnets = || json!(self.subnets);
        Some(
            template
                .with("VpcId", &*self.vpc)
                .with("SubnetIds", subnets())
                .with("LoadBalancerSubnetIds", subnets()),
        )
    }

    /// Creates the ECS service.
    fn create_service(&self, template: &Template, name: &str) -> Value {
        let mut service = as_of_ecs(template.properties("Service"));
        service["serviceName"] = name.into();
        self.call("ecs", "create_service", &service)["service"].take()
    }

    /// Registers the scaling policies. Returns the template with their ARNs.
    fn register_scaling(&self, mut template: Template, number: usize) -> Template {
        let target = template.properties("ScalableTarget");
        self.call("application-autoscaling", "register_scalable_target", &target);
        template = template.with("ScalableTarget", "the target");
        let policies = template.of_type("AWS::ApplicationAutoScaling::ScalingPolicy");
        let policies: Vec<_> = policies.into_iter().map(str::to_owned).collect();
        assert_eq!(policies.len(), number, "{policies:?}");
        for name in policies {
            let mut policy = template.properties(&name);
            let fields = policy.as_object_mut().expect("properties");
            assert_eq!(fields.remove("ScalingTargetId"), Some("the target".into()));
            for field in ["ServiceNamespace", "ScalableDimension", "ResourceId"] {
                fields.insert(field.to_owned(), target[field].clone());
            }
            let answer = self.call("application-autoscaling", "put_scaling_policy", &policy);
            template = template.with(&name, field(&answer, "PolicyARN"));
        }
        template
    }

    /// Creates the alarms, and asserts that the server has them as the template does.
    fn create_alarms(&self, template: &Template) {
        let alarms = template.of_type("AWS::CloudWatch::Alarm");
        for name in &alarms {
            let mut alarm = template.properties(name);
            alarm["AlarmName"] = (*name).into();
            self.call("cloudwatch", "put_metric_alarm", &alarm);
        }
        let taken = self.call("cloudwatch", "describe_alarms", &json!({}));
        let taken = taken["MetricAlarms"].as_array().expect("alarms");
        for name in &alarms {
            let alarm = template.properties(name);
            let taken = taken.iter().find(|taken| taken["AlarmName"] == **name).expect("the alarm");
            for field in ["ComparisonOperator", "EvaluationPeriods", "TreatMissingData", "AlarmActions"] {
                assert_eq!(taken[field], alarm[field], "{field}: {taken:#}");
            }
            assert_eq!(taken["Threshold"].as_f64(), alarm["Threshold"].as_f64(), "{taken:#}");
        }
    }

    /// Creates a part of the load balancer. Returns its ARN.
    fn balance(&self, operation: &str, part: Value) -> String {
        let answer = self.call("elbv2", operation, &part);
        let created = answer.as_object().expect("an answer").values().find_map(|parts| parts.get(0));
        let created = created.and_then(Value::as_object).expect("a part");
        let arn =
            ["ListenerArn", "TargetGroupArn", "LoadBalancerArn"].iter().find_map(|name| created.get(*name));
        arn.and_then(Value::as_str).expect("an ARN").to_owned()
    }
}

#[test]
fn the_services_take_the_task_definitions_the_scaling_and_the_alarms() {
    let world = World::new();
    let Some(account) = Account::start(&world) else { return };
    let Some(batch) = account.sample("batch", "thumbnails") else { return };
    account.create_service(&batch, "thumbnails");
    let batch = account.register_scaling(batch, 3);
    account.create_alarms(&batch);
}

#[test]
fn a_load_balancer_takes_the_listeners_and_the_targets_of_the_service() {
    let world = World::new();
    let Some(account) = Account::start(&world) else { return };
    let Some(template) = account.sample("service", "upload") else { return };
    let without = |resource: &str, key: &str| {
        let mut properties = template.properties(resource);
        let attributes = properties.as_object_mut().and_then(|fields| fields.remove(key)).expect(key);
        properties["Name"] = "upload".into();
        (properties, attributes)
    };
    let (balancer, attributes) = without("LoadBalancer", "LoadBalancerAttributes");
    let balancer = account.balance("create_load_balancer", balancer);
    let attributes = json!({"LoadBalancerArn": balancer, "Attributes": attributes});
    account.call("elbv2", "modify_load_balancer_attributes", &attributes);
    let (group, attributes) = without("TargetGroup", "TargetGroupAttributes");
    assert_eq!(group["HealthCheckPort"], "9464");
    let group = account.balance("create_target_group", group);
    let attributes = json!({"TargetGroupArn": group, "Attributes": attributes});
    account.call("elbv2", "modify_target_group_attributes", &attributes);

    let template = template.with("LoadBalancer", balancer).with("TargetGroup", &*group);
    let plain = template.properties("Listener");
    assert_eq!((&plain["Port"], &plain["Protocol"]), (&80.into(), &"HTTP".into()));
    let certificate = account.call("acm", "request_certificate", &json!({"DomainName": "example.com"}));
    let secure = template.clone().with("CertificateArn", field(&certificate, "CertificateArn"));
    for listener in [secure.properties("Listener"), secure.properties("Redirect")] {
        account.balance("create_listener", listener);
    }

    let template = template.with("ErrorsAlarm", "ErrorsAlarm");
    let service = account.create_service(&template, "upload");
    let target = json!([{"containerName": "wasmrun", "containerPort": 8080, "targetGroupArn": group}]);
    assert_eq!(service["loadBalancers"], target);
    let template = account.register_scaling(template, 1);
    account.create_alarms(&template);
}

#[test]
fn no_time_of_the_service_ends_a_request_that_another_allows() {
    let world = World::new();
    let Some(template) = Template::read(&world, "service.yaml") else { return };
    let template = sample(&template, "upload", IRELAND)
        .with("LoadBalancerGroup", "sg-0123456789abcdef0")
        .with("VpcId", "vpc-0123456789abcdef0")
        .with("LoadBalancerSubnetIds", json!(["subnet-0", "subnet-1"]));
    let attribute = |resource: &str, list: &str, key: &str| {
        let properties = template.properties(resource);
        let attributes = properties[list].as_array().expect("attributes");
        let attribute = attributes.iter().find(|attribute| attribute["Key"] == key).expect(key);
        field(attribute, "Value").parse::<u64>().expect("seconds")
    };
    let idle = attribute("LoadBalancer", "LoadBalancerAttributes", "idle_timeout.timeout_seconds");
    let leaving = attribute("TargetGroup", "TargetGroupAttributes", "deregistration_delay.timeout_seconds");
    let task = template.task_definition();
    let container = super::container(&task);
    let command = super::texts(&container["command"]);
    let stop = command.iter().position(|word| *word == "--stop-timeout").expect("a stop timeout");
    let stop: u64 = command[stop + 1].trim_end_matches('s').parse().expect("seconds");
    // Five seconds in the queue, and 30 in the component, which are wasmrun's defaults.
    let longest = 35;
    assert!(idle > longest && leaving > longest && stop > longest, "{idle} {leaving} {stop}");
    // wasmrun closes idle connections after 75 seconds.
    assert!(idle < 75, "{idle}");
    let killed = container["stopTimeout"].as_u64().expect("seconds");
    assert!((stop + 10..=120).contains(&killed), "{killed}");
}
