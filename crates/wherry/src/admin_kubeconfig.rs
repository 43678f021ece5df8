//! The administrator's kubeconfig, DATA/kubeconfig: of this master first, and of the others as they come and go, so that who
//! holds it carries on over the loss of any.

use std::sync::Arc;

use jiff::Timestamp;
use wherry_store::{Member, Role};

use crate::credentials::Credentials;
use crate::data_dir::DataDir;

/// Where it is in the data directory.
pub const KUBECONFIG: &str = "kubeconfig";

/// Writes it.
pub struct AdminKubeconfig {
    /// Who signs its certificate.
    pub credentials: Arc<Credentials>,
    /// Where it is kept.
    pub data: Arc<DataDir>,
    /// This master's API.
    pub server: String,
}

/// A master in a kubeconfig.
pub struct Named {
    /// Its name among the masters.
    pub name: String,
    /// Its API, `https://host:port`.
    pub server: String,
}

impl AdminKubeconfig {
    /// Writes it with a new certificate.
    pub fn write(&self, members: &[(Member, Role)], now: Timestamp) -> anyhow::Result<()> {
        let voters = members.iter().filter(|(_, role)| *role == Role::Voter);
        let named = voters.map(|(Member { name, address, .. }, _)| Named {
            name: name.clone(),
            server: format!("https://{address}"),
        });
        let others: Vec<Named> = named.filter(|other| other.server != self.server).collect();
        Ok(self.data.write(KUBECONFIG, &self.credentials.kubeconfig(&self.server, &others, now)?)?)
    }
}
