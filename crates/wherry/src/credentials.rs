//! Who is who in this cluster: the authority and the certificates made of it, kept under DATA/pki.
//!
//! The authority's key is made once. Leaf certificates are made anew at each start, so that none expires in a
//! process that is restarted within a year, and server names follow the flags.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use wherry_pki::{Authority, Issued, Subject};

use crate::data_dir::DataDir;

const AUTHORITY_NAME: &str = "wherry-ca";
const AUTHORITY_KEY: &str = "pki/ca.key";
const AUTHORITY_CERTIFICATE: &str = "pki/ca.crt";

/// The credentials of all roles in this process.
pub struct Credentials {
    /// The authority's certificate, as PEM.
    pub authority: String,
    /// What the API server, the registry and the kubelet endpoints present.
    pub server: Issued,
    /// The first administrator, for the kubeconfig.
    pub admin: Issued,
    /// The API server as a client of kubelets.
    pub apiserver: Issued,
    /// The node as a client of the API server.
    pub node: Issued,
}

impl Credentials {
    /// Reads the authority, or makes it, and issues the certificates.
    pub fn prepare(
        data: &DataDir,
        address: IpAddr,
        service: IpAddr,
        node: &str,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let authority = match data.read(AUTHORITY_KEY)? {
            Some(key) => Authority::from_pem(AUTHORITY_NAME, &key, now).context("DATA/pki/ca.key cannot be used")?,
            None => Authority::generate(AUTHORITY_NAME, now)?,
        };
        data.write(AUTHORITY_KEY, &authority.key())?;
        data.write(AUTHORITY_CERTIFICATE, &authority.certificate())?;
        let names = server_names(address, service, node);
        let issue = |user, group, names: &[String]| authority.issue(&Subject { user, group, names }, now);
        Ok(Self {
            authority: authority.certificate(),
            server: issue("wherry", None, &names)?,
            admin: issue("kubernetes-admin", Some("system:masters"), &[])?,
            node: issue(&format!("system:node:{node}"), Some("system:nodes"), &[])?,
            apiserver: issue("kube-apiserver-kubelet-client", Some("system:masters"), &[])?,
        })
    }

    /// TLS of the API: a client without a certificate is let in as anonymous, for health and version.
    pub fn api_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(wherry_pki::server_config(&self.server, &self.authority, true)?))
    }

    /// TLS of the kubelet endpoints and the registry: nobody without a certificate.
    pub fn closed_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(wherry_pki::server_config(&self.server, &self.authority, false)?))
    }

    /// How the API server calls kubelets.
    pub fn kubelet_client(&self) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        Ok(Arc::new(wherry_pki::client_config(&self.apiserver, &self.authority)?))
    }

    /// The administrator's kubeconfig for an API server at `url`.
    pub fn kubeconfig(&self, url: &str) -> String {
        let encode = |pem: &str| BASE64_STANDARD.encode(pem);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: wherry\n\
             clusters:\n- name: wherry\n  cluster:\n    server: {url}\n    certificate-authority-data: {ca}\n\
             contexts:\n- name: wherry\n  context:\n    cluster: wherry\n    user: kubernetes-admin\n\
             users:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n",
            ca = encode(&self.authority),
            certificate = encode(&self.admin.certificate),
            key = encode(&self.admin.key),
        )
    }
}

fn server_names(address: IpAddr, service: IpAddr, node: &str) -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).into();
    names.push("kubernetes.default.svc.cluster.local".to_owned());
    names.extend([node.to_owned(), "127.0.0.1".to_owned(), address.to_string(), service.to_string()]);
    names.sort();
    names.dedup();
    names
}
