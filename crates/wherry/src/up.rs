//! `wherry up`: a master and a node in one process, from the data directory to the last hint.

use std::path::Path;
use std::sync::Arc;

use wherry_apiserver::Identity;
use wherry_cli::{ClusterArgs, apply_manifests, read_manifests};
use wherry_client::{Https, Kubeconfig};
use wherry_image::RegistryClient;

use crate::admin_kubeconfig::KUBECONFIG;
use crate::config::UpArgs;
use crate::data_dir::Role;
use crate::demo;
use crate::listeners::{MasterListeners, NodeListeners};
use crate::node::Surroundings;
use crate::roles::{AsMaster, Setting, await_node, until_stopped};

/// Starts everything, and stops it on SIGINT or SIGTERM.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    args.check()?;
    let manifests = if args.files.is_empty() { Vec::new() } else { read_manifests(&args.files)? };
    let mut setting = Setting::new(&args.common, &[Role::Master, Role::Node])?;
    let (of_master, of_node) = (MasterListeners::bind(&args.common).await?, NodeListeners::bind(&args.common).await?);
    let (master_ports, node_ports) = (of_master.ports()?, of_node.ports()?);
    let name = args.node.name.as_str();
    let place = setting.enter(&args.join).await?;
    let info = setting.cluster_info(master_ports);
    let credentials = setting.credentials(name, &args.cluster)?;
    let member = AsMaster { name, flags: &args.cluster, place, join: &args.join };
    let master = setting.start_master(member, &credentials, of_master).await?;
    let authority = Arc::clone(&credentials.authority);
    let node_credentials = setting.node_credentials(name, &authority)?;
    let client = master.client(Identity::node(name));
    let kubeconfig = setting.data().join(KUBECONFIG);
    let images = Https::with_tls(&Kubeconfig::load(&kubeconfig)?.servers, node_credentials.client_tls()?)?;
    let surroundings = Surroundings::of(info, client, Arc::new(images), setting.data());
    let node = setting.start_node(&args.node, &node_credentials, surroundings, of_node).await?;
    setting.keep(&node_credentials, authority, &master.drain());
    let admin = master.client(Identity::admin());
    let work = async {
        await_node(&admin, Some(name)).await;
        master.readiness.set(true);
        let (api, http, https) = (master_ports.api, node_ports.http, node_ports.https);
        eprintln!("ready: API on port {api}, ingress on {http} (https {https})");
        eprintln!("export KUBECONFIG={}", kubeconfig.display());
        // As a person's own, over HTTPS: what is wrong in them is refused.
        let person = ClusterArgs { kubeconfig: Some(kubeconfig.clone()), ..ClusterArgs::default() }.client()?;
        apply_manifests(&person, "default", &manifests, |applied| eprintln!("{} {}", applied.name, applied.outcome))
            .await?;
        if args.demo {
            demo::load_images(&registry(&kubeconfig)?).await?;
            demo::run(&admin).await?;
            demo::hints(node_ports, &kubeconfig.display().to_string());
        }
        Ok(())
    };
    let ended = until_stopped(work, master.removed()).await;
    node.stop().await;
    master.stop().await;
    ended
}

/// The image registry, as any person reaches it.
fn registry(kubeconfig: &Path) -> anyhow::Result<RegistryClient> {
    Ok(RegistryClient::new(Arc::new(Https::new(&Kubeconfig::load(kubeconfig)?)?)))
}
