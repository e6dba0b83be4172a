use super::*;

#[test]
fn a_port_is_that_of_the_url_or_of_its_scheme() {
    for (url, port) in [
        ("https://sqs.eu-west-1.amazonaws.com/1/jobs", 443),
        ("http://127.0.0.1:4566", 4566),
        ("http://example.com/a:b", 80),
        ("api.example.com", 443),
        ("*.example.com:8443/path", 8443),
        ("http://[::1]", 80),
        ("[::1]:81", 81),
    ] {
        assert_eq!(port_of(url), Some(port), "{url}");
    }
}
