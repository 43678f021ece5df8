//! The master's role: store, API, controllers, image registry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wherry_apiserver::{Identity, Readiness, Registry, RegistryConfig, ServeConfig};
use wherry_base::{Clock, Drain, Trigger};
use wherry_client::Client;
use wherry_controllers::ControllersConfig;
use wherry_registry::ImageStore;
use wherry_store::{Limits, Store};

use crate::cluster_info::ClusterInfo;
use crate::config::ClusterFlags;
use crate::credentials::Credentials;
use crate::data_dir::DataDir;
use crate::serve_tls::{for_those_who_may, serve_tls};

const STOP_MOST: Duration = Duration::from_secs(10);

/// A running master.
pub struct Master {
    registry: Registry,
    /// What `/readyz` says.
    pub readiness: Readiness,
    tasks: Trigger,
}

/// What a master is started from.
pub struct Parts<'a> {
    /// What the flags say of the cluster.
    pub flags: &'a ClusterFlags,
    /// What the cluster agrees on.
    pub info: ClusterInfo,
    /// Where the store and the images are.
    pub data: &'a DataDir,
    /// Certificates.
    pub credentials: &'a Arc<Credentials>,
    /// The machine's clock.
    pub clock: Arc<dyn Clock>,
    /// Where kubeconfigs point.
    pub advertise: SocketAddr,
    /// The bound port of the API.
    pub api: TcpListener,
    /// The bound port of the image registry.
    pub images: TcpListener,
}

impl Master {
    /// Opens the store and starts to serve.
    pub async fn start(parts: Parts<'_>) -> anyhow::Result<Self> {
        let Parts { flags, info, data, credentials, clock, advertise, api, images } = parts;
        let store = Store::open(&data.join("store"), Limits::default())?;
        let url = format!("https://{advertise}");
        let config = RegistryConfig {
            service_cidr: info.service_cidr,
            cluster_cidr: info.cluster_cidr,
            node_prefix: flags.node_cidr_mask_size,
            advertise,
            cluster_info: info
                .data(credentials.kubeconfig_without_user(&url), flags.failure.node_monitor_grace_period)?,
            tolerations: flags.failure.tolerations(),
        };
        let registry = Registry::new(store, config, clock.clone());
        registry.bootstrap().await.context("the cluster's first objects cannot be made")?;
        let (tasks, readiness) = (Trigger::new(), Readiness::default());
        let drain = tasks.drain();
        let image_client = registry.client(Identity::component("image-registry"));
        let image_store = ImageStore::open(&data.join("images"), &image_client, watch::channel(Vec::new()).1);
        let image_store = image_store.context("the image registry cannot be opened")?;
        image_store.take_over().await.context("the names of images cannot be taken over")?;
        let image_router = for_those_who_may(wherry_registry::router(image_store.clone()));
        drain.spawn(image_store.follow(drain.clone()));
        let serve = ServeConfig {
            tls: credentials.api_tls()?,
            kubelet_tls: credentials.kubelet_client()?,
            advertise_url: url,
            readiness: readiness.clone(),
            images: image_router.clone(),
        };
        drain.spawn_graceful(wherry_apiserver::serve(api, registry.clone(), serve, drain.clone()));
        drain.spawn_graceful(serve_tls(
            images,
            credentials.registry_tls()?,
            image_router,
            registry.clone(),
            drain.clone(),
        ));
        let client = registry.client(Identity::component("kube-controller-manager"));
        let config = ControllersConfig {
            authority: Arc::clone(&credentials.authority),
            certificate_life: flags.cluster_signing_duration,
            ingress_address: advertise.ip(),
            nodes: flags.failure.monitor(),
        };
        wherry_controllers::start(client, config, clock, &drain);
        Ok(Self { registry, readiness, tasks })
    }

    /// Under which the master's tasks run.
    pub fn drain(&self) -> Drain {
        self.tasks.drain()
    }

    /// An in-process client.
    pub fn client(&self, identity: Identity) -> Client {
        self.registry.client(identity)
    }

    /// Ends the controllers, then finishes requests; the store closes with the last handle.
    pub async fn stop(self) {
        self.readiness.set(false);
        if !self.tasks.stop(STOP_MOST).await {
            tracing::warn!("some of the master's tasks did not end in time");
        }
    }
}
