//! The master's certificates: the authority, kept under DATA/pki, and what it issues for this process.
//!
//! The authority's key is made once. Leaf certificates are made anew at each start and at two thirds of their life; who
//! connects afterwards sees the new one. The administrator's is in the kubeconfig, which is written anew each time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use wherry_api::routes::{MASTER_NAMES, OFFER};
use wherry_api::well_known::{MASTER_USER, MASTERS};
use wherry_client::SERVERS_EXTENSION;
use wherry_pki::{Authority, Issued, LiveCertificate, Subject, Validity};

use crate::admin_kubeconfig::Named;
use crate::data_dir::DataDir;

const AUTHORITY_NAME: &str = "wherry-ca";
/// The authority's key: who has it is a master.
pub const AUTHORITY_KEY: &str = "pki/ca.key";
const AUTHORITY_CERTIFICATE: &str = "pki/ca.crt";
/// How long certificates are valid where nobody says otherwise.
pub const LIFE: Duration = Duration::from_hours(365 * 24);

/// What a master presents, and whom it trusts.
pub struct Credentials {
    /// Signs certificates.
    pub authority: Arc<Authority>,
    /// What the API server and the registry present.
    pub server: Arc<LiveCertificate>,
    /// The API server as a client of kubelets.
    pub apiserver: Arc<LiveCertificate>,
    /// This master as a client of other masters.
    pub peer: Arc<LiveCertificate>,
    user: String,
    names: Vec<String>,
    life: Duration,
}

/// The authority of a data directory; made where there is none.
pub fn authority(data: &DataDir, now: Timestamp) -> anyhow::Result<Authority> {
    let authority = match data.read(AUTHORITY_KEY)? {
        Some(key) => Authority::from_pem(AUTHORITY_NAME, &key, now).context("DATA/pki/ca.key cannot be used")?,
        None => Authority::generate(AUTHORITY_NAME, now)?,
    };
    data.write(AUTHORITY_KEY, &authority.key())?;
    data.write(AUTHORITY_CERTIFICATE, &authority.certificate())?;
    Ok(authority)
}

impl Credentials {
    /// Reads the authority, or makes it, and issues the certificates.
    pub fn prepare(
        data: &DataDir,
        name: &str,
        address: IpAddr,
        service: IpAddr,
        life: Duration,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let authority = Arc::new(authority(data, now)?);
        let (server, apiserver, peer) = (Arc::default(), Arc::default(), Arc::default());
        let (user, names) = (format!("{MASTER_USER}{name}"), server_names(address, service));
        let own = Self { authority, server, apiserver, peer, user, names, life };
        own.renew(now)?;
        Ok(own)
    }

    /// Issues the certificates of this process anew.
    pub fn renew(&self, now: Timestamp) -> anyhow::Result<()> {
        let server = self.issue("wherry", None, &self.names, now)?;
        // Who joins knows of the authority only a hash: it must be shown.
        let certificate = server.certificate + &self.authority.certificate();
        self.server.replace(&Issued { certificate, key: server.key })?;
        self.apiserver.replace(&self.issue("kube-apiserver-kubelet-client", Some("system:masters"), &[], now)?)?;
        self.peer.replace(&self.issue(&self.user, Some(MASTERS), &[], now)?)?;
        Ok(())
    }

    fn issue(&self, user: &str, group: Option<&str>, names: &[String], now: Timestamp) -> anyhow::Result<Issued> {
        Ok(self.authority.issue(&Subject { user, group, names }, Validity::of(now, self.life))?)
    }

    /// TLS of the API: a client without a certificate is let in as anonymous, for health and version, and to join.
    pub fn api_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(wherry_pki::server_config(&self.server, &self.authority.certificate(), true)?))
    }

    /// TLS of the registry: nobody without a certificate.
    pub fn registry_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(wherry_pki::server_config(&self.server, &self.authority.certificate(), false)?))
    }

    /// How the API server calls kubelets.
    pub fn kubelet_client(&self) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        Ok(Arc::new(wherry_pki::client_config(&self.apiserver, &self.authority.certificate())?))
    }

    /// How this master calls others.
    pub fn peer_client(&self) -> anyhow::Result<Arc<rustls::ClientConfig>> {
        Ok(Arc::new(wherry_pki::client_config(&self.peer, &self.authority.certificate())?))
    }

    /// A kubeconfig of an API server at `url` that says where it is, and not who asks.
    pub fn kubeconfig_without_user(&self, url: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    server: {url}\n    certificate-authority-data: {}\n",
            BASE64_STANDARD.encode(self.authority.certificate())
        )
    }

    /// The administrator's kubeconfig for an API server at `url`, with a new certificate. Our own clients find the other
    /// masters in an extension of the cluster's entry; for kubectl each of them is a context, `wherry-NAME`.
    pub fn kubeconfig(&self, url: &str, others: &[Named], now: Timestamp) -> anyhow::Result<String> {
        let admin = self.issue("kubernetes-admin", Some("system:masters"), &[], now)?;
        let encode = |pem: &str| BASE64_STANDARD.encode(pem);
        let ca = encode(&self.authority.certificate());
        let cluster = |name: &str, server: &str| {
            format!("- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n")
        };
        let context =
            |name: &str| format!("- name: {name}\n  context:\n    cluster: {name}\n    user: kubernetes-admin\n");
        let each = |one: &dyn Fn(&Named) -> String| others.iter().map(one).collect::<String>();
        let servers = each(&|other| format!("        - {}\n", other.server));
        let extension =
            format!("    extensions:\n    - name: {SERVERS_EXTENSION}\n      extension:\n        servers:\n{servers}");
        Ok(format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: wherry\nclusters:\n{own}{extension}{clusters}contexts:\n{first}{contexts}\
             users:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n",
            own = cluster("wherry", url),
            extension = if others.is_empty() { "" } else { &extension },
            clusters = each(&|other| cluster(&format!("wherry-{}", other.name), &other.server)),
            first = context("wherry"),
            contexts = each(&|other| context(&format!("wherry-{}", other.name))),
            certificate = encode(&admin.certificate),
            key = encode(&admin.key),
        ))
    }
}

/// What a server presents, for nodes that cannot be connected to as well: they offer it connections.
pub fn with_offers(tls: Arc<rustls::ServerConfig>) -> Arc<rustls::ServerConfig> {
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols.push(OFFER.to_vec());
    Arc::new(tls)
}

fn server_names(address: IpAddr, service: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = MASTER_NAMES.map(str::to_owned).into();
    names.extend(["127.0.0.1".to_owned(), address.to_string(), service.to_string()]);
    names.sort();
    names.dedup();
    names
}
