use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;

fn now() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

#[test]
fn a_subject_survives_the_certificate() {
    let authority = Authority::generate("test", now()).unwrap();
    let subject = Subject { user: "system:node:n1", group: Some("system:nodes"), names: &[] };
    let issued = authority.issue(&subject, now()).unwrap();
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let (user, groups) = subject_of(&der).unwrap();
    assert_eq!((user.as_str(), groups), ("system:node:n1", vec!["system:nodes".to_owned()]));
}

#[test]
fn a_stored_authority_vouches_for_what_it_issued() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let first = Authority::generate("test", now()).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let issued = first.issue(&Subject { user: "s", group: None, names: &names }, now()).unwrap();
    let again = Authority::from_pem("test", &first.key(), now()).unwrap();
    assert!(server_config(&issued, &again.certificate(), true).is_ok());
    assert!(client_config(&issued, &again.certificate()).is_ok());
}

#[test]
fn bad_input_is_named() {
    let authority = Authority::generate("test", now()).unwrap();
    let names = ["not a name".to_owned()];
    let error = authority.issue(&Subject { user: "s", group: None, names: &names }, now()).unwrap_err();
    assert_eq!(error.to_string(), "\"not a name\" is neither a DNS name nor an IP address");
    let issued = Issued { certificate: "nonsense".into(), key: String::new() };
    let error = client_config(&issued, &authority.certificate()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read a certificate: the text holds none");
}
