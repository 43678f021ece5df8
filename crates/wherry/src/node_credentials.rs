//! A node's two certificates: as a client of the API (`system:node:NAME`), and for its own endpoints. Beside a master they
//! are issued by its authority, elsewhere by certificate signing requests, as kubelets make them; and so they are renewed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use wherry_api::k8s_openapi::ByteString;
use wherry_api::k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use wherry_api::kinds::{CertificateSigningRequest, ObjectMeta};
use wherry_api::well_known::{NODE_USER, NODES};
use wherry_base::{Backoff, Clock, Drain};
use wherry_client::{Client, Kubeconfig};
use wherry_pki::{Authority, Issued, LiveCertificate, Subject, Usage, Validity};

use crate::data_dir::DataDir;
use crate::renewal::Renewal;

const AUTHORITY: &str = "pki/ca.crt";
const CLIENT: Files = Files { certificate: "pki/node.crt", key: "pki/node.key" };
const SERVING: Files = Files { certificate: "pki/kubelet.crt", key: "pki/kubelet.key" };
/// How long a request is waited for: a master that answers signs at once.
const SIGNED_MOST: Duration = Duration::from_secs(30);
/// The same in a cluster where a person may have to approve it: what a kubelet waits.
const APPROVED_MOST: Duration = Duration::from_secs(15 * 60);
/// The first and the longest wait between two looks at a request.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Who a node is, and where.
#[derive(Clone, Debug)]
pub struct Own {
    user: String,
    /// The names of its serving certificate: the addresses that its Node has.
    names: Vec<String>,
}

impl Own {
    /// The node of a name that others reach at an address.
    pub fn new(name: &str, address: IpAddr) -> Self {
        Self { user: format!("{NODE_USER}{name}"), names: vec![address.to_string(), name.to_owned()] }
    }

    fn subject(&self, usage: Usage) -> Subject<'_> {
        let names = if usage == Usage::Server { self.names.as_slice() } else { &[] };
        Subject { user: &self.user, group: Some(NODES), names }
    }
}

/// A node's certificates, and the authority that it trusts.
pub struct NodeCredentials {
    /// Who they are for.
    own: Own,
    /// As PEM.
    authority: String,
    /// The node as a client of the API and of other nodes.
    client: Arc<LiveCertificate>,
    /// The node's own endpoints; none until the Node is registered, where it is issued by a request.
    serving: Arc<LiveCertificate>,
}

impl NodeCredentials {
    /// Issued by the authority itself, for a node beside its master.
    pub fn issue(own: Own, authority: &Authority, life: Duration, now: Timestamp) -> anyhow::Result<Arc<Self>> {
        let (client, serving) = (Arc::default(), Arc::default());
        let credentials = Self { own, authority: authority.certificate(), client, serving };
        credentials.reissue(authority, life, now)?;
        Ok(Arc::new(credentials))
    }

    /// Those of a node that has joined; `None` where it has not.
    pub fn read(own: Own, data: &DataDir) -> anyhow::Result<Option<Arc<Self>>> {
        let (Some(authority), Some(issued)) = (data.read(AUTHORITY)?, CLIENT.read(data)?) else { return Ok(None) };
        let client = LiveCertificate::of(&issued).context("DATA/pki/node.crt cannot be used")?;
        let serving = Arc::<LiveCertificate>::default();
        if let Some(issued) = SERVING.read(data)? {
            serving.replace(&issued).context("DATA/pki/kubelet.crt cannot be used")?;
        }
        Ok(Some(Arc::new(Self { own, authority, client, serving })))
    }

    /// Those that a kubeconfig has. The node's own endpoints show what it has signed itself until the cluster has signed
    /// something better, as a kubelet's do.
    pub fn of_kubeconfig(
        own: Own,
        kubeconfig: &Kubeconfig,
        data: &DataDir,
        now: Timestamp,
    ) -> anyhow::Result<Arc<Self>> {
        let Kubeconfig { authority, certificate, key, .. } = kubeconfig.clone();
        let client = Arc::<LiveCertificate>::default();
        if !certificate.is_empty() {
            client.replace(&Issued { certificate, key }).context("the kubeconfig's certificate cannot be used")?;
        }
        let serving = LiveCertificate::awaited(&wherry_pki::self_signed(&own.user, &own.names, now)?)?;
        if let Some(issued) = SERVING.read(data)? {
            serving.replace(&issued).context("DATA/pki/kubelet.crt cannot be used")?;
        }
        Ok(Arc::new(Self { own, authority, client, serving }))
    }

    /// Whether the API can be asked with these at all.
    pub fn are_valid(&self, now: Timestamp) -> bool {
        self.client.validity().is_some_and(|validity| now < validity.until)
    }

    /// TLS of the node's endpoints: nobody without a certificate.
    pub fn server_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        Ok(Arc::new(wherry_pki::server_config(&self.serving, &self.authority, false)?))
    }

    /// How the node calls the API, the image registry and other nodes.
    pub fn client_tls(&self) -> anyhow::Result<rustls::ClientConfig> {
        Ok(wherry_pki::client_config(&self.client, &self.authority)?)
    }

    fn reissue(&self, authority: &Authority, life: Duration, now: Timestamp) -> anyhow::Result<()> {
        let issue = |usage| authority.issue(&self.own.subject(usage), Validity::of(now, life));
        self.client.replace(&issue(Usage::Client)?)?;
        Ok(self.serving.replace(&issue(Usage::Server)?)?)
    }

    /// Renews them by the authority until the drain.
    pub fn keep(self: Arc<Self>, authority: Arc<Authority>, life: Duration, clock: &Arc<dyn Clock>, drain: &Drain) {
        let mut renewal = Renewal::new("node", &self.client, clock);
        drain.vital().spawn(async move {
            loop {
                let now = renewal.due().await;
                renewal.done(self.reissue(&authority, life, now)).await;
            }
        });
    }

    /// Renews them by requests until the drain; makes the serving one where there is none. The Node must be registered.
    pub fn keep_by_requests(&self, data: &Arc<DataDir>, api: &Client, clock: &Arc<dyn Clock>, drain: &Drain) {
        let renewal = Renewal::new("node", &self.client, clock);
        drain.vital().spawn(self.request(Usage::Client, SIGNED_MOST, renewal, data, api));
        let renewal = Renewal::new("kubelet", &self.serving, clock);
        drain.vital().spawn(self.request(Usage::Server, SIGNED_MOST, renewal, data, api));
    }

    /// The same for the serving one alone, in a cluster where a person may have to approve it.
    pub fn keep_serving(&self, data: &Arc<DataDir>, api: &Client, clock: &Arc<dyn Clock>, drain: &Drain) {
        let renewal = Renewal::new("kubelet", &self.serving, clock);
        drain.vital().spawn(self.request(Usage::Server, APPROVED_MOST, renewal, data, api));
    }

    /// Renews one of them by requests, each of which is waited for so long; for ever.
    fn request(
        &self,
        usage: Usage,
        most: Duration,
        mut renewal: Renewal,
        data: &Arc<DataDir>,
        api: &Client,
    ) -> impl Future<Output = ()> + use<> {
        let (live, files) = match usage {
            Usage::Client => (&self.client, CLIENT),
            Usage::Server => (&self.serving, SERVING),
        };
        let (own, data, api, live) = (self.own.clone(), Arc::clone(data), api.clone(), Arc::clone(live));
        async move {
            loop {
                renewal.due().await;
                let renewed = async {
                    let issued = ask(&api, &own, usage, most).await?;
                    files.write(&data, &issued)?;
                    Ok(live.replace(&issued)?)
                };
                renewal.done(renewed.await).await;
            }
        }
    }
}

/// Asks for a first client certificate, and keeps it with the authority.
pub async fn enroll(api: &Client, own: &Own, authority: &str, data: &DataDir) -> anyhow::Result<()> {
    let issued = ask(api, own, Usage::Client, SIGNED_MOST).await?;
    data.write(AUTHORITY, authority)?;
    CLIENT.write(data, &issued)
}

/// A file of a certificate and one of its key.
#[derive(Clone, Copy, Debug)]
struct Files {
    certificate: &'static str,
    key: &'static str,
}

impl Files {
    fn read(self, data: &DataDir) -> anyhow::Result<Option<Issued>> {
        let (certificate, key) = (data.read(self.certificate)?, data.read(self.key)?);
        Ok(certificate.zip(key).map(|(certificate, key)| Issued { certificate, key }))
    }

    fn write(self, data: &DataDir, issued: &Issued) -> anyhow::Result<()> {
        data.write(self.key, &issued.key)?;
        Ok(data.write(self.certificate, &issued.certificate)?)
    }
}

/// Makes a key, asks to have it certified, and waits for the answer.
async fn ask(api: &Client, own: &Own, usage: Usage, most: Duration) -> anyhow::Result<Issued> {
    let key = wherry_pki::new_key()?;
    let request = wherry_pki::request(&key, &own.subject(usage))?;
    let (signer_name, usage) = match usage {
        Usage::Client => ("kubernetes.io/kube-apiserver-client-kubelet", "client auth"),
        Usage::Server => ("kubernetes.io/kubelet-serving", "server auth"),
    };
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: signer_name.to_owned(),
            // Kubernetes before 1.27 signs no request without the second, whatever the key's kind.
            usages: Some(["digital signature", "key encipherment", usage].map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let requests = api.all::<CertificateSigningRequest>();
    let name = requests.create(&object).await?.metadata.name.unwrap_or_default();
    let mut backoff = Backoff::new(LOOK.0, LOOK.1);
    let answered = async {
        loop {
            if let Some(certificate) = answer(&requests.get(&name).await?)? {
                return Ok(Issued { certificate, key: key.clone() });
            }
            tokio::time::sleep(backoff.fail()).await;
        }
    };
    tokio::time::timeout(most, answered)
        .await
        .with_context(|| format!("nobody has signed the certificate signing request {name} in time"))?
}

/// The certificate, once there is one; an error where there will be none.
fn answer(request: &CertificateSigningRequest) -> anyhow::Result<Option<String>> {
    let Some(status) = &request.status else { return Ok(None) };
    if let Some(certificate) = &status.certificate {
        return Ok(Some(String::from_utf8(certificate.0.clone())?));
    }
    for condition in status.conditions.iter().flatten() {
        if matches!(condition.type_.as_str(), "Denied" | "Failed") {
            bail!("{}", condition.message.as_deref().unwrap_or("the request was denied"));
        }
    }
    Ok(None)
}
