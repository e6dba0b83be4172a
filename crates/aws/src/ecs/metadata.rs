//! Reads the metadata of the ECS task that this process runs in.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>

use super::agent::ask;
use hyper::Method;
use serde_json::Value;
use std::time::Duration;

/// Variable with the URL of the agent.
const ENDPOINT: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// Timeout of each request. The agent is on this host, and the start of the worker waits for the response.
const PATIENCE: Duration = Duration::from_secs(2);

/// The ECS task that this process is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EcsTask {
    /// ARN of the task.
    pub arn: String,
    /// Name and revision of the task definition: `thumbnails:7`.
    pub definition: String,
    /// The smaller of the memory limits of the task and of the container, in bytes. `None` if neither has a limit.
    pub memory_bytes: Option<u64>,
}

impl EcsTask {
    /// Asks the agent for the task. Returns `None` if there is no agent or it doesn't answer.
    pub async fn find() -> Option<Self> {
        let endpoint = std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty())?;
        let get = |url: String| async move { ask(Method::GET, &url, None, PATIENCE).await };
        let (task, container) = tokio::join!(get(format!("{endpoint}/task")), get(endpoint.clone()));
        match task {
            Ok(task) => Some(Self::of(&task, container.as_ref().unwrap_or(&Value::Null))),
            Err(error) => {
                tracing::warn!(endpoint, error, "cannot read the ECS task metadata");
                None
            }
        }
    }

    fn of(task: &Value, container: &Value) -> Self {
        let text = |name: &str| task[name].as_str().unwrap_or_default().to_owned();
        let definition = format!("{}:{}", text("Family"), text("Revision")).trim_matches(':').to_owned();
        // The agent's limits are in MiB.
        let limit =
            |of: &Value| of["Limits"]["Memory"].as_u64()?.checked_mul(1 << 20).filter(|&bytes| bytes > 0);
        let memory_bytes = [limit(task), limit(container)].into_iter().flatten().min();
        Self { arn: text("TaskARN"), definition, memory_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_smaller_limit_counts_and_nonsense_is_none() {
        let task = json!({
            "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f258373e7b93ce9a3c3",
            "Family": "curltest", "Revision": "3", "Limits": {"CPU": 0.25, "Memory": 512},
        });
        let known = EcsTask::of(&task, &json!({"Limits": {"CPU": 10, "Memory": 128}}));
        assert_eq!(known.memory_bytes, Some(128 << 20));
        assert_eq!(known.definition, "curltest:3");
        assert!(known.arn.ends_with("e9028f8d5d8e4f258373e7b93ce9a3c3"));
        assert_eq!(EcsTask::of(&task, &Value::Null).memory_bytes, Some(512 << 20));
        for limits in [
            json!(null),
            json!({"Memory": -1}),
            json!({"Memory": 0}),
            json!({"Memory": u64::MAX}),
            json!("x"),
        ] {
            assert_eq!(EcsTask::of(&json!({"Limits": limits}), &Value::Null).memory_bytes, None, "{limits}");
        }
        assert_eq!(EcsTask::of(&json!([]), &json!(3)).arn, "");
    }
}
