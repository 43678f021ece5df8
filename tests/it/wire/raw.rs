//! Connections to the API byte by byte, as an administrator or as a stranger.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wherry_tests::connect;

use super::World;

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Administrator,
    Stranger,
}

/// A connection for HTTP/1.1, its handshake done.
pub fn open(world: &World, who: Who) -> StreamOwned<ClientConnection, TcpStream> {
    let known = &world.kubeconfig;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(known.authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match who {
        Who::Stranger => builder.with_no_client_auth(),
        Who::Administrator => {
            let chain = vec![CertificateDer::from_pem_slice(known.certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(known.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut stream = connect(world.ports.api).unwrap();
    client.complete_io(&mut stream).unwrap();
    StreamOwned::new(client, stream)
}
