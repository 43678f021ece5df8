//! The administrator's kubeconfig, DATA/kubeconfig: of this master first, and of the others as they come and go, so that who
//! holds it carries on over the loss of any.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use wherry_base::Clock;
use wherry_store::{Member, Role};

use crate::credentials::Credentials;
use crate::data_dir::DataDir;
use crate::renewal::Renewal;

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

    /// Renews the master's certificates, and keeps the kubeconfig in step with them and with the masters.
    pub async fn keep(
        self,
        mut renewal: Renewal,
        mut members: watch::Receiver<Vec<(Member, Role)>>,
        clock: Arc<dyn Clock>,
    ) {
        members.mark_changed();
        loop {
            tokio::select! {
                now = renewal.due() => {
                    let members = members.borrow().clone();
                    let renewed = self.credentials.renew(now).and_then(|()| self.write(&members, now));
                    renewal.done(renewed).await;
                }
                changed = members.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let members = members.borrow_and_update().clone();
                    if let Err(error) = self.write(&members, clock.now()) {
                        tracing::warn!(error = format!("{error:#}"), "the kubeconfig does not name the present masters");
                    }
                }
            }
        }
    }
}
