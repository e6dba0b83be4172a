//! Credentials: Docker's configuration and helpers, and passwords of ECR; and the certificates of registries.

use super::{helper, invoke, push, with_helper};
use crate::harness::{Amazon, Command, DockerRegistry, Raw, World, certificate, guest, signed};

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// Writes Docker's configuration.
fn docker(world: &World, config: &str) {
    world.write(".docker/config.json", config);
}

#[test]
fn credentials_are_those_of_docker_login_and_its_helpers() {
    let Some(registry) = DockerRegistry::with_users() else { return };
    let world = World::new();
    let (host, url) = (registry.host(), registry.url("a:1"));
    let pushed = || world.wasmrun(["push"]).arg(guest("empty")).arg(&url);
    pushed().fails_with(3, "it may need a credential").failed_with(3, "`docker login`");
    docker(&world, &format!(r#"{{"auths": {{"{host}": {{"auth": "bWU6c2VjcmV0"}}}}}}"#));
    pushed().succeeds();
    invoke(&world, &url).succeeds();
    docker(&world, &format!(r#"{{"auths": {{"{host}": {{"auth": "bWU6d3Jvbmc="}}}}}}"#));
    let output = invoke(&world, &url).fails_with(3, "or of AWS is not valid");
    assert!(!output.to_string().contains("bWU6"), "{output}");

    docker(&world, &format!(r#"{{"credHelpers": {{"{host}": "test"}}}}"#));
    helper(
        &world,
        r#"read server; echo "$1 $server" > asked; echo '{"Username": "me", "Secret": "secret"}'"#,
    );
    with_helper(&world, invoke(&world, &url)).succeeds();
    assert_eq!(String::from_utf8_lossy(&world.read("asked")).trim(), format!("get {host}"));
    docker(&world, r#"{"credsStore": "test"}"#);
    with_helper(&world, invoke(&world, &url)).succeeds();
    for (script, said) in [
        ("echo credentials not found in native keychain; exit 1", "it may need a credential"),
        ("echo secret; exit 3", "docker-credential-test fails for"),
        ("echo secret", "its answer is not a credential"),
        ("while echo secretsecretsecretsecret; do :; done", "its answer is too long"),
    ] {
        helper(&world, script);
        let output = with_helper(&world, invoke(&world, &url)).fails_with(3, said);
        assert!(!output.to_string().contains("secret"), "{output}");
    }
    docker(&world, "{");
    invoke(&world, &url).fails_with(3, "Docker's configuration");
}

#[test]
fn a_registry_of_ecr_is_used_with_the_credentials_of_aws() {
    let world = World::new();
    if certificate(&world, &format!("DNS:{ECR},IP:127.0.0.1")).is_none() {
        return;
    }
    let (Some(registry), Some(amazon)) = (DockerRegistry::with_tls(&world), Amazon::moto()) else { return };
    let proxy = Raw::tunnel_to(registry.port());
    let trusting = |command: Command| {
        let command = command.env("SSL_CERT_FILE", world.path("ca.pem"));
        command.env("HTTPS_PROXY", proxy.endpoint())
    };
    let url = format!("oci://{ECR}/team/empty:1");
    let pushed = world.wasmrun(["push"]).arg(guest("empty")).arg(&url);
    let pushed = amazon.environment(trusting(pushed)).succeeds();
    assert!(pushed.stdout[0].starts_with(&format!("{url}@sha256:")), "{pushed}");
    amazon.environment(trusting(invoke(&world, &url))).succeeds();
    // Docker's own credential wins.
    docker(&world, &format!(r#"{{"auths": {{"{ECR}": {{"auth": "bWU6d3Jvbmc="}}}}}}"#));
    amazon.environment(trusting(invoke(&world, &url))).fails_with(3, "or of AWS is not valid");
    docker(&world, "{}");
    let unreachable = signed(trusting(invoke(&world, &url))).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    unreachable.fails_with(3, "ECR issues no password for the registry");
    // Neither without the authority's certificate, nor with TLS switched off.
    let host = registry.host();
    let local = format!("oci://{host}/team/empty:1");
    let untrusted = invoke(&world, &local).arg("--registry-plain-http=false");
    untrusted.fails_with(3, "the server's certificate is refused");
    invoke(&world, &local).fails_with(3, "400");
}

#[test]
fn a_registry_elsewhere_is_asked_without_tls_only_if_that_is_wanted() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    push(&world, "empty", &registry.url("a:1"));
    // The proxy makes the registry answer under another name.
    let proxy = format!("http://{}", registry.host());
    let named = |options: &[&str]| {
        let command = invoke(&world, "oci://registry.test/a:1").args(options);
        command.env("HTTP_PROXY", &proxy).env("HTTPS_PROXY", &proxy)
    };
    named(&[]).fails_with(3, "https://registry.test cannot be reached");
    named(&["--registry-plain-http"]).succeeds();
    world.write("wasmrun.toml", "[registry]\nplain-http = true");
    named(&["--config", "wasmrun.toml"]).succeeds();
}
