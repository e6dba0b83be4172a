//! A template with parameters, whose functions are resolved like in CloudFormation, which can't be run locally.

use crate::harness::{World, field, program, repository};
use serde_json::{Map, Value};

/// A template of `deploy/ecs`, with values for its parameters and references.
#[derive(Clone)]
pub(super) struct Template {
    document: Value,
    /// Results of `Ref` by name, and of `Fn::GetAtt` by a name with a dot.
    values: Map<String, Value>,
}

impl Template {
    /// Reads a template with the defaults of its parameters. Prints that the test is skipped and returns `None` if the
    /// reader isn't installed here.
    pub(super) fn read(world: &World, file: &str) -> Option<Self> {
        let document = world
            .program(&program("python")?)
            .arg(repository().join("tests/it/deploy/deploying/template.py"))
            .arg(repository().join("deploy/ecs").join(file))
            .succeeds()
            .json();
        let parameters = document["Parameters"].as_object().expect("parameters");
        let values = parameters.iter().filter_map(|(name, parameter)| {
            let default = parameter.get("Default")?;
            let is_list = field(parameter, "Type").contains("List");
            let list = |text: &str| text.split(',').map(Value::from).collect();
            Some((name.clone(), if is_list { list(default.as_str()?) } else { default.clone() }))
        });
        Some(Self { values: values.collect(), document })
    }

    /// Sets a parameter's value or a resource's name.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// The names of the resources of this type.
    pub(super) fn of_type(&self, kind: &str) -> Vec<&str> {
        let resources = self.resources().iter().filter(|(_, resource)| resource["Type"] == kind);
        resources.map(|(name, _)| name.as_str()).collect()
    }

    /// A resource's properties.
    #[track_caller]
    pub(super) fn properties(&self, resource: &str) -> Value {
        let properties = self.resources().get(resource).map(|resource| &resource["Properties"]);
        self.resolve(properties.expect("a resource")).expect("properties")
    }

    /// The statements of the task role.
    pub(super) fn rights(&self) -> Value {
        let mut role = self.properties("TaskRole");
        let policies = role["Policies"].as_array_mut().expect("policies");
        assert_eq!(policies.len(), 1, "{policies:?}");
        assert_eq!(policies[0]["PolicyName"], "wasmrun");
        policies[0]["PolicyDocument"]["Statement"].take()
    }

    /// The task definition in the spelling of the ECS API.
    pub(super) fn task_definition(&self) -> Value {
        as_of_ecs(self.properties("TaskDefinition"))
    }

    /// The template without some of its resources. Numeric parameters are replaced by their values: CloudFormation
    /// converts them to numbers, and ministack leaves them as strings.
    pub(super) fn without(&self, is_left_out: impl Fn(&Value) -> bool) -> Value {
        let mut document = self.document.clone();
        let resources = document["Resources"].as_object_mut().expect("resources");
        resources.retain(|_, resource| !is_left_out(resource));
        for resource in resources.values_mut() {
            self.put_numbers(resource);
        }
        document
    }

    fn put_numbers(&self, value: &mut Value) {
        let number = value["Ref"].as_str().and_then(|name| self.values.get(name)).filter(|to| to.is_number());
        match (number, &mut *value) {
            (Some(number), _) => *value = number.clone(),
            (None, Value::Object(fields)) => fields.values_mut().for_each(|field| self.put_numbers(field)),
            (None, Value::Array(items)) => items.iter_mut().for_each(|item| self.put_numbers(item)),
            _ => {}
        }
    }

    fn resources(&self) -> &Map<String, Value> {
        self.document["Resources"].as_object().expect("resources")
    }

    /// Resolves functions in a value. Returns `None` if the property must be treated as missing.
    fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => Some(items.iter().filter_map(|item| self.resolve(item)).collect()),
            Value::Object(fields) => match fields.iter().next() {
                Some((function, argument)) if function == "Ref" || function.starts_with("Fn::") => {
                    self.call(function, argument)
                }
                _ => {
                    let resolve = |(name, value): (&String, _)| Some((name.clone(), self.resolve(value)?));
                    Some(fields.iter().filter_map(resolve).collect())
                }
            },
            plain => Some(plain.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        if function == "Fn::If" {
            let holds = self.resolve(&self.document["Conditions"][text(&argument[0])]) == Some(true.into());
            return self.resolve(&argument[if holds { 1 } else { 2 }]);
        }
        if argument == "AWS::NoValue" {
            return None;
        }
        let arguments = self.resolve(argument)?;
        Some(match function {
            "Ref" => self.value(text(&arguments)).clone(),
            "Fn::GetAtt" => self.value(&join(&arguments, ".")).clone(),
            "Fn::Sub" if arguments.is_string() => self.substitute(&arguments, &Value::Null),
            "Fn::Sub" => self.substitute(&arguments[0], &arguments[1]),
            "Fn::Join" => join(&arguments[1], text(&arguments[0])).into(),
            "Fn::Split" => text(&arguments[1]).split(text(&arguments[0])).map(Value::from).collect(),
            "Fn::Select" => {
                let index = arguments[0].as_u64().and_then(|index| usize::try_from(index).ok());
                arguments[1][index.expect("an index")].clone()
            }
            "Fn::Equals" => (arguments[0] == arguments[1]).into(),
            "Fn::Not" => (arguments[0] == false).into(),
            other => panic!("{other} isn't known here"),
        })
    }

    #[track_caller]
    pub(super) fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or_else(|| panic!("there is no value for {name}"))
    }

    /// Replaces each `${NAME}` by its value in `here` or in the template.
    fn substitute(&self, pattern: &Value, here: &Value) -> Value {
        let mut parts = text(pattern).split("${");
        let start = parts.next().unwrap_or_default().to_owned();
        let whole = parts.fold(start, |whole, part| {
            let (name, rest) = part.split_once('}').expect("the end of a name");
            match here.get(name).unwrap_or_else(|| self.value(name)) {
                Value::String(value) => whole + value + rest,
                value => whole + &value.to_string() + rest,
            }
        });
        whole.into()
    }
}

/// ECS starts keys with lower-case letters where CloudFormation uses capitals. The keys of options are those of the log
/// driver.
pub(super) fn as_of_ecs(value: Value) -> Value {
    let small = |name: &str| name[..1].to_ascii_lowercase() + &name[1..];
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| match &*name {
                "Options" => (small(&name), value),
                _ => (small(&name), as_of_ecs(value)),
            });
            fields.collect()
        }
        Value::Array(items) => items.into_iter().map(as_of_ecs).collect(),
        plain => plain,
    }
}

#[track_caller]
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} isn't a text"))
}

/// A list of strings.
#[track_caller]
pub(super) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("{value} isn't a list")).iter().map(text).collect()
}

#[track_caller]
fn join(list: &Value, between: &str) -> String {
    texts(list).join(between)
}
