use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

fn now() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn validity() -> Validity {
    Validity::of(now(), Duration::from_secs(3600))
}

fn authority() -> Authority {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Authority::generate("test", now()).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_subject_survives_the_certificate() {
    let subject = Subject { user: "system:node:n1", group: Some("system:nodes"), names: &[] };
    let issued = authority().issue(&subject, validity()).unwrap();
    let Holder { user, groups, serial } = Holder::of(&der(&issued.certificate)).unwrap();
    assert_eq!((user.as_str(), groups), ("system:node:n1", vec!["system:nodes".to_owned()]));
    let other = Holder::of(&der(&authority().issue(&subject, validity()).unwrap().certificate)).unwrap();
    assert!(!serial.is_empty() && serial != other.serial);
}

#[test]
fn a_stored_authority_vouches_for_what_it_issued() {
    let first = authority();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issued = first.issue(&Subject { user: "s", group: None, names: &names }, validity()).unwrap();
    let again = Authority::from_pem("test", &first.key(), now()).unwrap();
    let live = LiveCertificate::of(&issued).unwrap();
    assert!(server_config(&live, &again.certificate(), true).is_ok());
    assert!(client_config(&live, &again.certificate()).is_ok());
    assert_eq!(key_hash(&first.certificate()).unwrap(), key_hash(&again.certificate()).unwrap());
}

#[test]
fn what_is_asked_for_is_what_is_granted() {
    let names = ["n1".to_owned(), "127.0.0.2".to_owned()];
    let subject = Subject { user: "system:node:n1", group: Some("system:nodes"), names: &names };
    let key = new_key().unwrap();
    let asked = SigningRequest::from_pem(&request(&key, &subject).unwrap()).unwrap();
    assert_eq!((asked.user.as_str(), asked.group.as_deref(), &*asked.names), (subject.user, subject.group, &names[..]));
    let certificate = authority().grant(&asked, Usage::Server, validity()).unwrap();
    assert_eq!(Holder::of(&der(&certificate)).unwrap().user, "system:node:n1");
    let live = LiveCertificate::default();
    assert_eq!(live.validity(), None);
    live.replace(&Issued { certificate, key }).unwrap();
    assert_eq!(live.validity(), Some(validity()));
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let pem = |user| request(&new_key().unwrap(), &Subject { user, group: None, names: &[] }).unwrap();
    let (a, b) = (pem("a"), pem("b"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (mut mixed, other) = (lines(&a), lines(&b));
    // The last line but one holds the signature's end.
    let at = mixed.len() - 2;
    mixed[at] = other[at].clone();
    let error = SigningRequest::from_pem(&mixed.join("\n")).unwrap_err().to_string();
    assert!(error.starts_with("the certificate signing request cannot be used"), "{error}");
}

#[test]
fn a_server_is_believed_by_the_hash_of_its_authority() {
    let check = |own: &Authority, pinned: &Authority, name: &str| {
        let names = ["127.0.0.1".to_owned()];
        let issued = own.issue(&Subject { user: "s", group: None, names: &names }, validity()).unwrap();
        let verifier = PinnedAuthority::new(key_hash(&pinned.certificate()).unwrap());
        let (leaf, shown) = (der(&issued.certificate), [der(&own.certificate())]);
        let moment = UnixTime::since_unix_epoch(Duration::from_secs(now().as_second().try_into().unwrap()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verified = verifier.verify_server_cert(&leaf, &shown, &name, &[], moment);
        (verified.is_ok(), verifier.certificate().is_some(), verifier.has_refused())
    };
    let (own, other) = (authority(), authority());
    assert_eq!(check(&own, &own, "127.0.0.1"), (true, true, false));
    assert_eq!(check(&own, &own, "127.0.0.2"), (false, true, false), "its certificate has not that name");
    assert_eq!(check(&own, &other, "127.0.0.1"), (false, false, true));
}

#[test]
fn a_token_survives_being_printed() {
    let token = JoinToken::generate(key_hash(&authority().certificate()).unwrap()).unwrap();
    assert_eq!(token.to_string().parse(), Ok(token.clone()));
    assert_eq!(token.bearer(), format!("{}.{}", token.id, token.secret));
    let hash = token.authority.to_string();
    for wrong in [
        "",
        "abcdef.0123456789abcdef",
        "abcdef.0123456789abcdeF.HASH",
        "abcde.0123456789abcdef.HASH",
        "abcdef.0123456789abcdef.00",
    ] {
        assert_eq!(wrong.replace("HASH", &hash).parse::<JoinToken>(), Err(TokenError), "{wrong}");
    }
    assert!(!format!("{token:?}").contains(&token.secret));
}

#[test]
fn bad_input_is_named() {
    let names = ["not a name".to_owned()];
    let error = authority().issue(&Subject { user: "s", group: None, names: &names }, validity()).unwrap_err();
    assert_eq!(error.to_string(), "\"not a name\" is neither a DNS name nor an IP address");
    let live = Arc::<LiveCertificate>::default();
    let error = client_config(&live, "nonsense").unwrap_err();
    assert_eq!(error.to_string(), "cannot read a certificate: the text holds none");
}
