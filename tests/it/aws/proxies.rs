//! The connections to AWS: proxies, requests that never use one, trusted certificates, and the hosts that are called.

use crate::harness::{Answer, Command, Raw, ScriptedSqs, Stub, Tls, World, guest, signed};
use serde_json::json;
use std::path::Path;

const SECRET: &str = "open-sesame";

/// One task that reads an object.
fn get(world: &World, store: &str) -> Command {
    let command = world.wasmrun(["invoke", "--json", "--message", "get known"]);
    signed(command.misbehaving(&format!("{store}:ro"), "dir:out:rw"))
}

/// An S3 server on which every object exists, for any host name.
fn s3() -> Stub {
    Stub::answering(|request| match request.is_probe() {
        true => Answer::no_such_key(),
        false => Answer::new(200, "hello").with("etag", "\"abc\""),
    })
}

/// A proxy that refuses every connection.
fn closed() -> Stub {
    Stub::answering(|_| Answer::new(502, "closed"))
}

fn asked(stub: &Stub) -> Vec<String> {
    stub.seen().into_iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

#[test]
fn services_without_tls_are_asked_through_http_proxy() {
    let world = World::new();
    let proxy = s3();
    let through = |name: &str, value: String| {
        let command = get(&world, "s3://bucket-in/from").env(name, value);
        command.env("AWS_ENDPOINT_URL", "http://storage.test:9000").succeeds()
    };
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let before = proxy.seen().len();
        let output = through(name, proxy.endpoint());
        assert_eq!(output.json()["outcome"], "completed", "{name}: {output}");
        let asked = asked(&proxy).split_off(before);
        let expected = "GET http://storage.test:9000/bucket-in/from/known";
        assert!(asked.iter().any(|asked| asked.starts_with(expected)), "{name}: {asked:?}");
    }
    // Queues and roles use the proxy as well.
    let queue = ScriptedSqs::holding(30, [json!("ok")], |_| None);
    let at_proxy = queue.url().replace("/000000000000/jobs", "");
    let worker = world.wasmrun(["run", "--until-empty", "--queue", "http://queues.test/000000000000/jobs"]);
    let worker = signed(worker.arg(guest("misbehave")).args(World::grants()).args(["--on", "rejected=drop"]));
    let output = worker.env("HTTP_PROXY", at_proxy).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    let role =
        get(&world, "s3://bucket-in").args(["--assume-role", "input=arn:aws:iam::123456789012:role/thumbs"]);
    let closed = closed();
    let role = role.env("HTTP_PROXY", closed.endpoint()).env("AWS_ENDPOINT_URL", "http://roles.test");
    role.fails_with(3, "cannot be assumed");
    assert!(asked(&closed).iter().all(|asked| asked == "POST http://roles.test/"), "{:?}", asked(&closed));
    assert!(!closed.seen().is_empty());
}

#[test]
fn no_proxy_names_what_is_asked_directly() {
    let world = World::new();
    let (server, proxy) = (s3(), closed());
    for (name, direct) in
        [("NO_PROXY", "other.test, 127.0.0.1"), ("no_proxy", "127.0.0.0/8"), ("NO_PROXY", "*")]
    {
        let command = get(&world, "s3://bucket-in").env("AWS_ENDPOINT_URL", server.endpoint());
        let output = command.env("HTTP_PROXY", proxy.endpoint()).env(name, direct).succeeds();
        assert_eq!(output.json()["outcome"], "completed", "{direct}: {output}");
    }
    // The lower-case variable takes precedence.
    let command = get(&world, "s3://bucket-in").env("AWS_ENDPOINT_URL", server.endpoint());
    let command = command.env("HTTP_PROXY", proxy.endpoint()).env("http_proxy", "");
    assert_eq!(command.succeeds().json()["outcome"], "completed");
    assert!(proxy.seen().is_empty(), "{:?}", asked(&proxy));
}

/// Nothing listens at this address: a direct request is refused, and a request through a proxy isn't.
#[test]
fn no_proxy_names_an_address_in_brackets_with_or_without_its_port() {
    let world = World::new();
    let proxy = closed();
    for (direct, is_direct) in
        [("[::1]:1", true), ("[::1]", true), ("::1", true), ("[::2]:1", false), ("::/128", false)]
    {
        let before = proxy.seen().len();
        let command = get(&world, "s3://bucket-in").env("AWS_ENDPOINT_URL", "http://[::1]:1");
        command.env("HTTP_PROXY", proxy.endpoint()).env("NO_PROXY", direct).ends().exited_with(3);
        assert_eq!(proxy.seen().len() == before, is_direct, "{direct}: {:?}", asked(&proxy));
    }
}

#[test]
fn what_hands_out_credentials_is_never_asked_through_a_proxy() {
    let world = World::new();
    let credentials = Stub::answering(|_| {
        let credentials = json!({"AccessKeyId": "handed-out", "SecretAccessKey": "x", "Token": "y",
            "Expiration": "2099-01-01T00:00:00Z"});
        Answer::new(200, credentials.to_string()).with("content-type", "application/json")
    });
    let proxy = s3();
    let without = |command: Command| {
        let command = command.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
        command.env("HTTP_PROXY", proxy.endpoint()).env("AWS_ENDPOINT_URL", "http://storage.test")
    };
    let of_container = without(get(&world, "s3://bucket-in"))
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", credentials.endpoint()));
    assert_eq!(of_container.succeeds().json()["outcome"], "completed");
    assert_eq!(asked(&credentials), ["GET /credentials"]);
    assert!(proxy.seen().iter().all(|request| request.access_key() == "handed-out"));
    // Nor is the metadata service of EC2, which doesn't exist here.
    let before = proxy.seen().len();
    let of_instance = without(get(&world, "s3://bucket-in")).without_env("AWS_EC2_METADATA_DISABLED");
    of_instance.ends();
    let asked = asked(&proxy).split_off(before);
    assert!(!asked.iter().any(|asked| asked.contains("169.254") || asked.contains("fd00:ec2")), "{asked:?}");
}

#[test]
fn the_host_of_a_queues_url_is_the_host_that_is_called() {
    let world = World::new();
    let proxy = closed();
    let called = |url: &str, settings: &[(&str, &str)]| {
        let before = proxy.seen().len();
        let command = signed(world.wasmrun(["queue", "stats", url])).env("HTTPS_PROXY", proxy.endpoint());
        let command = settings.iter().fold(command, |command, (name, value)| command.env(name, value));
        command.ends().exited_with(3);
        let mut hosts = asked(&proxy).split_off(before);
        hosts.dedup();
        hosts
    };
    for host in [
        "sqs.eu-west-1.amazonaws.com",
        "sqs-fips.us-east-1.amazonaws.com",
        "sqs.eu-west-1.api.aws",
        "sqs-fips.us-gov-west-1.api.aws",
        "sqs.cn-north-1.amazonaws.com.cn",
        "vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com",
        "eu-west-1.queue.amazonaws.com",
        "queue.amazonaws.com",
    ] {
        let url = format!("https://{host}/123456789012/jobs");
        assert_eq!(called(&url, &[]), [format!("CONNECT {host}:443")], "{url}");
    }
    // Settings in the environment apply to the region's standard host, and don't conflict with the other hosts.
    let standard = "https://sqs.us-east-1.amazonaws.com/123456789012/jobs";
    let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
    assert_eq!(called(standard, &[fips]), ["CONNECT sqs-fips.us-east-1.amazonaws.com:443"]);
    let dual_stack = "https://sqs.us-east-1.api.aws/123456789012/jobs";
    let asks = ("AWS_USE_DUALSTACK_ENDPOINT", "true");
    assert_eq!(called(dual_stack, &[asks]), ["CONNECT sqs.us-east-1.api.aws:443"]);
    // A configured endpoint takes precedence.
    let endpoint = ("AWS_ENDPOINT_URL_SQS", "https://stand-in.test:4566");
    assert_eq!(called(dual_stack, &[endpoint]), ["CONNECT stand-in.test:4566"]);
    let refused = signed(world.wasmrun(["queue", "stats", dual_stack])).env(fips.0, fips.1);
    refused.fails_with(3, "AWS_USE_FIPS_ENDPOINT");
}

#[test]
fn a_proxys_password_is_sent_to_it_and_shown_to_nobody() {
    let world = World::new();
    let proxy = s3();
    let url = proxy.endpoint().replace("http://", &format!("http://me:{SECRET}@"));
    let command = get(&world, "s3://bucket-in").args(["--log", "trace"]).env("HTTP_PROXY", &url);
    let output = command.env("AWS_ENDPOINT_URL", "http://storage.test").succeeds();
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), "Basic bWU6b3Blbi1zZXNhbWU=");
    let closed = closed();
    let url = closed.endpoint().replace("http://", &format!("http://me:{SECRET}@"));
    let queue =
        signed(world.wasmrun(["queue", "stats", "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"]));
    let refused = queue.env("HTTPS_PROXY", url).ends().exited_with(3);
    assert_eq!(closed.seen()[0].header("proxy-authorization"), "Basic bWU6b3Blbi1zZXNhbWU=");
    let socks = get(&world, "s3://bucket-in").env("HTTPS_PROXY", format!("socks5://me:{SECRET}@127.0.0.1:1"));
    let socks = socks.fails_with(2, "the variable HTTPS_PROXY does not name an HTTP proxy");
    for output in [output, refused, socks] {
        let shown = output.to_string();
        // The process's name isn't checked, because it shows the test's environment.
        let said = shown.split_once("-- standard output").expect("what it said").1;
        assert!(!said.contains(SECRET) && !said.contains("bWU6b3Blbi1zZXNhbWU"), "{said}");
    }
}

#[test]
fn a_bundle_that_holds_no_certificate_is_refused_at_the_start() {
    let world = World::new();
    world.write("empty.pem", "");
    world.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let with = |variable: &str, path: &str| get(&world, "s3://bucket-in").env(variable, world.path(path));
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        for (path, said) in [
            ("missing.pem", "cannot be read: No such file"),
            ("empty.pem", "holds no certificate in PEM form"),
            ("broken.pem", "holds no certificate in PEM form"),
            (".", "is not a file"),
        ] {
            let output = with(variable, path).fails_with(2, said);
            assert!(output.error().contains(&format!("({variable})")), "{output}");
        }
    }
    let queue =
        signed(world.wasmrun(["queue", "stats", "jobs"])).env("AWS_CA_BUNDLE", world.path("empty.pem"));
    queue.fails_with(3, "holds no certificate");
}

#[test]
fn services_with_tls_are_asked_through_a_tunnel_and_believed_by_the_users_bundle() {
    let world = World::new();
    let Some(server) = Tls::start(&world) else { return };
    let endpoint = format!("https://localhost:{}", server.port);
    let get = |bundle: Option<&Path>| {
        let command = get(&world, "s3://bucket-in").env("AWS_ENDPOINT_URL", &endpoint);
        bundle.into_iter().fold(command, |command, path| command.env("AWS_CA_BUNDLE", path))
    };
    let bundle = world.path("ca.pem");
    assert_eq!(get(Some(&bundle)).succeeds().json()["outcome"], "completed");
    let by_file = get(None).env("SSL_CERT_FILE", &bundle);
    assert_eq!(by_file.succeeds().json()["outcome"], "completed");
    let tunnel = Raw::tunnel_to(server.port);
    let proxied = get(Some(&bundle)).env("HTTPS_PROXY", tunnel.endpoint()).succeeds();
    assert_eq!(proxied.json()["outcome"], "completed", "{proxied}");
    let expected = format!("CONNECT localhost:{} HTTP/1.1", server.port);
    let asked = tunnel.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| *asked == expected), "{asked:?}");
    // A certificate signed by another authority isn't trusted.
    let stranger = get(None).ends();
    assert_ne!(stranger.status.code(), Some(0), "{stranger}");
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
}
