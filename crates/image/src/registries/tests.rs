//! Where names and answers lead; a registry as a whole is asked by the scenes of `tests`.

use super::*;

#[test]
fn names_lead_to_registries() {
    let check = |name: &str, expected: (&str, &str)| {
        let reference: Reference = name.parse().unwrap();
        let (host, repository) = place(&reference);
        assert_eq!((host, repository.as_str()), expected, "{name}");
    };
    check("hello:v1", ("registry-1.docker.io", "library/hello"));
    check("team/hello", ("registry-1.docker.io", "team/hello"));
    check("docker.io/team/hello", ("registry-1.docker.io", "team/hello"));
    check("ghcr.io/team/hello:v1", ("ghcr.io", "team/hello"));
    check("127.0.0.1:5000/hello:v1", ("127.0.0.1:5000", "hello"));
}

#[test]
fn an_answer_leads_elsewhere() {
    let from: Uri = "https://a.example:5000/v2/x".parse().unwrap();
    let check = |location: &str, expected: Option<&str>| {
        let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        let found = elsewhere(&from, &headers).map(|to| to.to_string());
        assert_eq!(found.as_deref(), expected, "{location}");
    };
    check("/y?z=1", Some("https://a.example:5000/y?z=1"));
    check("https://b.example/y", Some("https://b.example/y"));
    check("http://b.example/y", None);
}

#[test]
fn a_refusal_says_why() {
    let check = |status: StatusCode, body: &str, expected: &str| {
        let answer = Answer { status, headers: HeaderMap::new(), body: body.to_owned().into() };
        assert_eq!(refused(&"https://a.example/v2".parse().unwrap(), &answer).to_string(), expected);
    };
    let fault = r#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": {}}]}"#;
    check(
        StatusCode::UNAUTHORIZED,
        fault,
        "access denied: the registry at a.example answers 401 Unauthorized: UNAUTHORIZED: authentication required",
    );
    check(StatusCode::FORBIDDEN, "no", "access denied: the registry at a.example answers 403 Forbidden");
    check(StatusCode::BAD_GATEWAY, "<html>", "the registry at a.example: 502 Bad Gateway");
}
