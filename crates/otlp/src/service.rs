//! What spans and metrics are said to come from.

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector};
use opentelemetry_semantic_conventions::attribute::{SERVICE_INSTANCE_ID, SERVICE_NAME};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

/// What the SDK calls a service without a name.
const UNKNOWN: &str = "unknown_service";

/// A service, and this process as an instance of it.
#[derive(Clone, Debug)]
pub struct Service(pub(crate) Resource);

impl Service {
    /// Describes this process. Without a name, the service has that of `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`, or
    /// else `default_name`. The instance gets an ID of its own if the variables name none: sums of several workers would
    /// otherwise be one series, which jumps from one to the other.
    pub fn new(name: Option<String>, default_name: String) -> Self {
        let found = found();
        let has = |key| found.get(&Key::from_static_str(key)).filter(|value| !is_unknown(value)).is_some();
        let name = name.or_else(|| (!has(SERVICE_NAME)).then_some(default_name));
        let id = (!has(SERVICE_INSTANCE_ID)).then(|| Uuid::new_v4().to_string());
        let of = |key: &'static str| move |value: String| KeyValue::new(key, value);
        let own = name.map(of(SERVICE_NAME)).into_iter().chain(id.map(of(SERVICE_INSTANCE_ID)));
        let all = found.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).chain(own);
        Self(Resource::builder_empty().with_attributes(all).build())
    }
}

/// Returns the attributes that the SDK finds. Those of `OTEL_RESOURCE_ATTRIBUTES` may be percent-encoded, which
/// opentelemetry_sdk 0.33.1 leaves as it is: see the
/// [specification](https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable).
fn found() -> Resource {
    let of_variable = EnvResourceDetector::new().detect();
    let found = Resource::builder().build();
    let attributes = found.iter().map(|(key, value)| match value {
        Value::String(text) if of_variable.get(key).as_ref() == Some(value) => {
            KeyValue::new(decoded(key.as_str()), decoded(text.as_str()))
        }
        value => KeyValue::new(key.clone(), value.clone()),
    });
    Resource::builder_empty().with_attributes(attributes).build()
}

/// Decodes a text, or leaves it as it is if that gives no UTF-8.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |decoded| decoded.into_owned())
}

fn is_unknown(value: &Value) -> bool {
    matches!(value, Value::String(name) if name.as_str().starts_with(UNKNOWN))
}
