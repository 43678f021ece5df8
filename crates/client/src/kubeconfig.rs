//! Kubeconfig files, as far as a certificate or a token and a CA go: no exec plugins, no auth providers.
//!
//! Follows `k8s.io/client-go/tools/clientcmd/api/v1`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// The extension of a cluster's entry that names further API servers: `{servers: [https://host:port, ...]}`.
pub const SERVERS_EXTENSION: &str = "wherry.dev/servers";

/// The current context of a kubeconfig: where the cluster is, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubeconfig {
    /// `https://host:port`, each: the cluster's `server`, which kubectl takes, and behind it those of its extension
    /// [`SERVERS_EXTENSION`], which kubectl ignores.
    pub servers: Vec<String>,
    /// The cluster's authority, as PEM.
    pub authority: String,
    /// The client's certificate, as PEM; empty where there is none.
    pub certificate: String,
    /// The client's key, as PEM; empty where there is none.
    pub key: String,
    /// A bearer token; empty where there is none.
    pub token: String,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file, or one that it names.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No YAML of that form.
    #[error("{path} is no kubeconfig: {why}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Kubeconfig {
    /// Reads a file and takes its current context.
    pub fn load(path: &Path) -> Result<Self, KubeconfigError> {
        let text = read(path)?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KubeconfigError> {
        let wrong = |why: String| KubeconfigError::Form { path: path.to_owned(), why };
        let documents = wherry_api::yaml::parse(text).map_err(|e| wrong(e.to_string()))?;
        let document = documents.into_iter().next().ok_or_else(|| wrong("it is empty".into()))?;
        let file: File = serde_json::from_value(document).map_err(|e| wrong(e.to_string()))?;
        let missing = |what: &str, name: &str| wrong(format!("it has no {what} named \"{name}\""));
        let context = named(&file.contexts, &file.current_context);
        let context = context.ok_or_else(|| missing("context", &file.current_context))?;
        let cluster = named(&file.clusters, &context.cluster).ok_or_else(|| missing("cluster", &context.cluster))?;
        let user = named(&file.users, &context.user).ok_or_else(|| missing("user", &context.user))?;
        let pem = |data: &str, file: &str| text_of(data, file, path);
        Ok(Self {
            servers: cluster.servers(),
            authority: pem(&cluster.certificate_authority_data, &cluster.certificate_authority)?,
            certificate: pem(&user.client_certificate_data, &user.client_certificate)?,
            key: pem(&user.client_key_data, &user.client_key)?,
            token: user.token.clone(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct File {
    current_context: String,
    clusters: Vec<Named>,
    contexts: Vec<Named>,
    users: Vec<Named>,
}

/// An entry of any of the three lists; only the fields of its own are filled.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user")]
    entry: Entry,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Entry {
    server: String,
    extensions: Vec<Extension>,
    certificate_authority: String,
    certificate_authority_data: String,
    cluster: String,
    user: String,
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
}

/// Something of somebody's: ours has `servers`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Extension {
    name: String,
    extension: serde_json::Value,
}

impl Entry {
    fn servers(&self) -> Vec<String> {
        let ours = self.extensions.iter().filter(|extension| extension.name == SERVERS_EXTENSION);
        let further = ours.filter_map(|ours| ours.extension.get("servers")?.as_array()).flatten();
        let mut servers: Vec<String> = Vec::new();
        for server in std::iter::once(self.server.as_str()).chain(further.filter_map(serde_json::Value::as_str)) {
            let server = server.trim_end_matches('/').to_owned();
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers
    }
}

fn named<'a>(entries: &'a [Named], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.name == name).map(|entry| &entry.entry)
}

/// The text of inline data, or of a file named beside it (relative to the kubeconfig).
fn text_of(data: &str, file: &str, kubeconfig: &Path) -> Result<String, KubeconfigError> {
    if !data.is_empty() {
        let form = |why: String| KubeconfigError::Form { path: kubeconfig.to_owned(), why };
        let bytes = BASE64_STANDARD.decode(data).map_err(|e| form(format!("bad base64: {e}")))?;
        return String::from_utf8(bytes).map_err(|e| form(format!("not PEM: {e}")));
    }
    if file.is_empty() {
        return Ok(String::new());
    }
    read(&kubeconfig.parent().unwrap_or(Path::new("")).join(file))
}

fn read(path: &Path) -> Result<String, KubeconfigError> {
    std::fs::read_to_string(path).map_err(|source| KubeconfigError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_current_context() {
        let text = "current-context: b\nclusters:\n- {name: one, cluster: {server: \"https://a:1/\", certificate-authority-data: Q0E=, \
                    extensions: [{name: x, extension: {a: b}}, \
                    {name: wherry.dev/servers, extension: {servers: [\"https://a:1\", \"https://b:2\"]}}]}}\n\
                    contexts:\n- {name: a, context: {cluster: other, user: them}}\n- {name: b, context: {cluster: one, user: me}}\n\
                    users:\n- {name: me, user: {token: t, client-certificate-data: Q0VSVA==}}\n";
        let found = Kubeconfig::parse(text, Path::new("k")).unwrap();
        let expected = Kubeconfig {
            servers: vec!["https://a:1".into(), "https://b:2".into()],
            authority: "CA".into(),
            certificate: "CERT".into(),
            key: String::new(),
            token: "t".into(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn says_what_is_missing() {
        let error = Kubeconfig::parse("current-context: b", Path::new("k")).unwrap_err();
        assert_eq!(error.to_string(), "k is no kubeconfig: it has no context named \"b\"");
    }
}
