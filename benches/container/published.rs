//! What others have published of starting a task elsewhere. Nothing of it was measured here.

/// How long something takes, and who says so.
pub(crate) struct Published {
    pub(crate) what: &'static str,
    pub(crate) takes: &'static str,
    /// A link.
    pub(crate) source: &'static str,
}

pub(crate) const FARGATE: [Published; 4] = [
    Published {
        what: "a new task on Fargate starts",
        takes: "30 to 45 s or longer is normal",
        source: "[an answer on AWS re:Post](https://www.repost.aws/ja/questions/QUjZAzJd27SZWxXM7MgyxOZw/how-to-speed-up-provisioning-of-ecs-fargate-task)",
    },
    Published {
        what: "the same, with an image of 413 MB, 10 tasks",
        takes: "53 to 62 s",
        source: "[elasticscale, 2024](https://elasticscale.com/blog/reduce-aws-fargate-pull-times-with-soci)",
    },
    Published {
        what: "the same, with a web application",
        takes: "60 to 90 s",
        source: "[a user, 2022](https://github.com/aws/containers-roadmap/issues/649)",
    },
    Published {
        what: "a new task on Fargate, until its image begins to be fetched",
        takes: "11 to 44 s",
        source: "[opensearch-migrations #2116](https://github.com/opensearch-project/opensearch-migrations/issues/2116)",
    },
];

pub(crate) const LAMBDA: [Published; 2] = [
    Published {
        what: "a cold start on Lambda",
        takes: "under 100 ms to over 1 s, in under 1 % of invocations",
        source: "[AWS](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)",
    },
    Published {
        what: "the same, until a minimal program in Rust has answered",
        takes: "77 to 209 ms, 96 ms on average",
        source: "[codetalk, 128 MB](https://github.com/codetalkio/patterns-serverless-rust-minimal/blob/master/benchmark/response-times.md)",
    },
];

/// What AWS says in percent.
pub(crate) const SHARES: &str = "\
AWS publishes shares and no seconds: fetching the image is 76 % of a container's start, of which 6.4 % is needed for it
([AWS News Blog](https://aws.amazon.com/blogs/aws/aws-fargate-enables-faster-container-startup-using-seekable-oci/), after a paper); on Fargate,
images compressed with zstd start up to 27 % faster, and no image is kept for the next task, as each runs on a machine of its own that is used once
([AWS Containers Blog](https://aws.amazon.com/blogs/containers/reducing-aws-fargate-startup-times-with-zstd-compressed-container-images/)).";
