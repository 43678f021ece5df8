//! `wherry up`: a master and a node in one process, from the data directory to the last hint.

use wherry_apiserver::Identity;
use wherry_cli::{ClusterArgs, apply_manifests, read_manifests};

use crate::config::UpArgs;
use crate::data_dir::{DataDir, Role};
use crate::demo;
use crate::listeners::{MasterListeners, NodeListeners};
use crate::roles::{Setting, node_ready, registry_client, until_stopped};

/// Starts everything, and stops it on SIGINT or SIGTERM.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    args.check()?;
    let manifests = if args.files.is_empty() { Vec::new() } else { read_manifests(&args.files)? };
    let data = DataDir::open(&args.common.data_dir, &[Role::Master, Role::Node])?;
    let (of_master, of_node) = (MasterListeners::bind(&args.common).await?, NodeListeners::bind(&args.common).await?);
    let (master_ports, node_ports) = (of_master.ports()?, of_node.ports()?);
    let setting = Setting::new(&args.common, &data, &args.name)?;
    let master = setting.start_master(of_master).await?;
    let client = master.client(Identity::node(&args.name));
    let node = setting.start_node(client, master_ports.registry, of_node).await?;
    let admin = master.client(Identity::admin());
    let kubeconfig = data.join("kubeconfig");
    until_stopped(async {
        node_ready(&admin, Some(&args.name)).await?;
        master.readiness.set(true);
        let (api, http, https) = (master_ports.api, node_ports.http, node_ports.https);
        eprintln!("ready: API on port {api}, ingress on {http} (https {https})");
        eprintln!("export KUBECONFIG={}", kubeconfig.display());
        // As a person's own, over HTTPS: what is wrong in them is refused.
        let person = ClusterArgs { kubeconfig: Some(kubeconfig.clone()), ..ClusterArgs::default() }.client()?;
        apply_manifests(&person, "default", &manifests, |applied| eprintln!("{} {}", applied.name, applied.outcome))
            .await?;
        if args.demo {
            demo::load_images(&registry_client(&data, master_ports.registry)?).await?;
            demo::run(&admin).await?;
            demo::hints(node_ports, &kubeconfig.display().to_string());
        }
        Ok(())
    })
    .await?;
    node.stop().await;
    master.stop().await;
    Ok(())
}
