//! What a registry wants to know before it answers: `WWW-Authenticate`, as the distribution project's token authentication and
//! RFC 7617 have it. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use wherry_api::Login;
use wherry_client::escape;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A login.
    Basic,
    /// A token from this address, which may want a login.
    Bearer(String),
}

impl Challenge {
    /// What an answer asks for; a token rather than a login. A token is for pulling from the repository, where nothing is said.
    pub fn of(headers: &HeaderMap, repository: &str) -> Option<Self> {
        let all = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let asked: Vec<_> = all.filter_map(|value| value.split_once(' ').or(Some((value, "")))).collect();
        let scheme = |wanted: &str| asked.iter().find(|(scheme, _)| scheme.eq_ignore_ascii_case(wanted));
        let bearer = scheme("bearer").and_then(|(_, fields)| token_address(fields, repository));
        bearer.map(Self::Bearer).or_else(|| scheme("basic").map(|_| Self::Basic))
    }
}

fn token_address(fields: &str, repository: &str) -> Option<String> {
    let field = |name: &str| {
        let (_, rest) = fields.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    };
    let realm = field("realm")?;
    let scope = field("scope").map_or_else(|| format!("repository:{repository}:pull"), str::to_owned);
    let service = field("service").map(|service| format!("service={}&", escape(service))).unwrap_or_default();
    let joint = if realm.contains('?') { '&' } else { '?' };
    Some(format!("{realm}{joint}{service}scope={}", escape(&scope)))
}

/// The header that says a login.
pub fn basic(login: &Login) -> Option<HeaderValue> {
    let joined = STANDARD.encode(format!("{}:{}", login.user, login.password));
    secret(format!("Basic {joined}"))
}

/// The header that shows a token.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    secret(format!("Bearer {token}"))
}

fn secret(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_asks_for_a_token_or_a_login() {
        let check = |lines: &[&str], expected: Option<Challenge>| {
            let headers = lines.iter().map(|line| (header::WWW_AUTHENTICATE, line.parse().unwrap()));
            assert_eq!(Challenge::of(&headers.collect(), "team/a"), expected, "{lines:?}");
        };
        let token = |address: &str| Some(Challenge::Bearer(address.to_owned()));
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull""#;
        let at = "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fa%3Apull";
        check(&[hub], token(at));
        check(&[r#"Basic realm="x""#, hub], token(at));
        check(
            &[r#"bearer realm="https://a.example?x=y""#],
            token("https://a.example?x=y&scope=repository%3Ateam%2Fa%3Apull"),
        );
        check(&[r#"Basic realm="https://a.example""#], Some(Challenge::Basic));
        check(&["Basic"], Some(Challenge::Basic));
        check(&["Bearer", "Negotiate"], None);
        check(&[], None);
    }
}
