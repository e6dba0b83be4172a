//! The names of queues in labels and dimensions.

use wasmrun_runtime::model::text::distinct_end;

/// Returns a name for each queue: the last part of its URL's path, or as much of its end as tells it apart from the others.
pub(crate) fn queue_labels<'a>(urls: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let paths: Vec<&str> = urls.into_iter().map(path).collect();
    paths.iter().map(|path| distinct_end(path, &paths)).collect()
}

fn path(url: &str) -> &str {
    let path = url.trim_end_matches('/');
    path.strip_prefix("sqlite:").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_queue_has_its_name_alone_unless_another_has_it_too() {
        for (url, name) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/uploads.fifo", "uploads.fifo"),
            ("sqlite:/var/lib/jobs.db#dead", "jobs.db#dead"),
            ("sqlite:jobs.db", "jobs.db"),
            ("memory:q", "memory:q"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
        ] {
            assert_eq!(queue_labels([url]), [name]);
            assert_eq!(queue_labels([url, "sqlite:/srv/other.db"]), [name, "other.db"]);
        }
    }

    #[test]
    fn queues_of_the_same_name_have_what_tells_them_apart_before_it() {
        let labels = |urls: &[&'static str]| queue_labels(urls.iter().copied());
        assert_eq!(
            labels(&["sqlite:/srv/a/q.db", "sqlite:/srv/b/q.db", "sqlite:/srv/b/r.db"]),
            ["a/q.db", "b/q.db", "r.db"]
        );
        assert_eq!(
            labels(&["sqlite:/x/a/q.db", "sqlite:/y/a/q.db", "sqlite:/y/b/q.db"]),
            ["x/a/q.db", "y/a/q.db", "b/q.db"]
        );
        assert_eq!(labels(&["sqlite:/q.db", "sqlite:/a/q.db"]), ["/q.db", "a/q.db"]);
        assert_eq!(labels(&["sqlite:/a/q.db#one", "sqlite:/b/q.db#two"]), ["q.db#one", "q.db#two"]);
        let sqs = ["https://sqs.eu-west-1.amazonaws.com/1/q", "https://sqs.us-east-1.amazonaws.com/1/q"];
        assert_eq!(labels(&sqs), ["sqs.eu-west-1.amazonaws.com/1/q", "sqs.us-east-1.amazonaws.com/1/q"]);
    }

    #[test]
    fn different_queues_have_different_labels() {
        let one = ["a", "b"].map(str::to_owned);
        let longer = |paths: &[String]| -> Vec<String> {
            paths.iter().flat_map(|path| one.each_ref().map(|part| format!("{part}/{path}"))).collect()
        };
        let (two, three) = (longer(&one), longer(&longer(&one)));
        let paths: Vec<String> = [&one[..], &two, &three].concat();
        let urls: Vec<String> = paths.iter().map(|path| format!("sqlite:/{path}")).collect();
        for [x, y, z] in (0..urls.len().pow(3)).map(|at| [at % 14, at / 14 % 14, at / 196]) {
            let chosen: BTreeSet<&str> = [x, y, z].map(|at| urls[at].as_str()).into();
            let labels: BTreeSet<&str> = queue_labels(chosen.iter().copied()).into_iter().collect();
            assert_eq!(labels.len(), chosen.len(), "{chosen:?}: {labels:?}");
        }
    }
}
