use std::sync::Arc;

use wherry_runtime::{Image, ImageKind, Limits, LogSink, PodRef, StdStream};
use wherry_vnet::{Egress, Network, NetworkConfig, NoServices, PodIdentity};

use super::*;

struct Nowhere;

impl LogSink for Nowhere {
    fn write(&self, _: StdStream, _: &[u8]) {}
}

fn spec() -> ContainerSpec {
    let config = NetworkConfig {
        pod_cidr: "10.1.0.0/24".parse().unwrap(),
        cluster_cidr: "10.1.0.0/16".parse().unwrap(),
        service_cidr: "10.2.0.0/16".parse().unwrap(),
        node_ip: [10, 1, 0, 1].into(),
    };
    let pod = PodIdentity { namespace: "shop".into(), name: "web".into(), uid: "u".into() };
    let network = Network::new(config, Arc::new(NoServices)).namespace(pod, Egress::Denied).unwrap();
    ContainerSpec {
        id: "i".into(),
        pod: PodRef { namespace: "shop".into(), name: "web".into(), uid: "u".into() },
        name: "c".into(),
        run: 1,
        image: Image { reference: "web:1".into(), digest: "sha256:d".into(), kind: ImageKind::Command },
        command: vec![],
        args: vec![],
        env: vec![("A".into(), "b=c".into())],
        working_dir: String::new(),
        mounts: vec![Mount { host: "/h".into(), guest: "/g".into(), read_only: true }],
        host_directories: vec![],
        limits: Limits::default(),
        cpu_requested_milli: 0,
        security: Security { may_gain_privileges: true, ..Security::default() },
        hostname: "web-host".into(),
        network,
        http_port: None,
        logs: Arc::new(Nowhere),
        stdin: false,
        stdin_once: false,
        tty: false,
        terminal: None,
    }
}

fn owner() -> Owner {
    Owner { node: "n".into(), directory: "/d".into() }
}

fn host(spec: &ContainerSpec) -> HostConfig {
    member(spec, "box", &owner(), EngineKind::Docker).unwrap().host_config.unwrap()
}

#[test]
fn a_container_joins_its_pods_sandbox() {
    let body = member(&spec(), "box", &owner(), EngineKind::Docker).unwrap();
    assert_eq!((body.image.as_deref(), body.entrypoint, body.cmd), (Some("sha256:d"), None, None));
    assert_eq!((body.env, body.working_dir, body.user), (Some(vec!["A=b=c".into()]), None, None));
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("container:box"));
    assert_eq!(host.ipc_mode.as_deref(), Some("container:box"));
    let mounts = host.mounts.unwrap();
    assert_eq!((mounts[0].source.as_deref(), mounts[0].target.as_deref()), (Some("/h"), Some("/g")));
    assert_eq!((mounts[0].read_only, mounts[0].typ), (Some(true), Some(MountType::BIND)));
    assert_eq!((host.memory, host.cpu_quota, host.cpu_shares), (None, None, Some(2)));
    assert_eq!((host.privileged, host.security_opt), (Some(false), Some(vec![])));
    let given = ContainerSpec { command: vec!["/a".into()], args: vec!["b".into()], ..spec() };
    let body = member(&given, "box", &owner(), EngineKind::Docker).unwrap();
    assert_eq!((body.entrypoint, body.cmd), (Some(vec!["/a".into()]), Some(vec!["b".into()])));
}

#[test]
fn limits_are_the_kernels() {
    let check = |cpu_milli, expected| {
        let limits = Limits { cpu_milli, memory_bytes: Some(64 << 20) };
        let host = host(&ContainerSpec { limits, cpu_requested_milli: 500, ..spec() });
        assert_eq!((host.cpu_period, host.cpu_quota), expected);
        assert_eq!((host.memory, host.memory_swap, host.cpu_shares), (Some(64 << 20), Some(64 << 20), Some(512)));
    };
    check(None, (None, None));
    check(Some(1500), (Some(100_000), Some(150_000)));
    check(Some(1), (Some(100_000), Some(1000)));
}

#[test]
fn what_a_container_may_do_is_what_its_pod_says() {
    let security = Security {
        user: Some(7),
        group: Some(8),
        groups: vec![9],
        has_read_only_root: true,
        may_gain_privileges: false,
        capabilities_added: vec!["NET_ADMIN".into()],
        capabilities_dropped: vec!["ALL".into()],
        is_unconfined: true,
        ..Security::default()
    };
    let body = member(&ContainerSpec { security, ..spec() }, "box", &owner(), EngineKind::Docker).unwrap();
    assert_eq!(body.user.as_deref(), Some("7:8"));
    let host = body.host_config.unwrap();
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges", "seccomp=unconfined"]);
    assert_eq!((host.cap_add, host.cap_drop), (Some(vec!["NET_ADMIN".into()]), Some(vec!["ALL".into()])));
    assert_eq!((host.readonly_rootfs, host.group_add), (Some(true), Some(vec!["9".into()])));
    let security = Security { group: Some(8), ..Security::default() };
    assert!(member(&ContainerSpec { security, ..spec() }, "box", &owner(), EngineKind::Docker).is_err());
}

#[test]
fn a_sandbox_has_a_name_and_no_rights() {
    let body = sandbox(&spec(), &owner());
    assert_eq!(body.hostname.as_deref(), Some("web-host"));
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!((host.cap_drop, host.readonly_rootfs), (Some(vec!["ALL".into()]), Some(true)));
}

#[test]
fn podman_is_told_the_hostname_of_each_container() {
    let hostname = |kind| member(&spec(), "box", &owner(), kind).unwrap().hostname;
    assert_eq!((hostname(EngineKind::Docker), hostname(EngineKind::Podman)), (None, Some("web-host".into())));
}

#[test]
fn a_pods_names_are_files_that_its_containers_share() {
    let (scratch, resolver) =
        (tempfile::tempdir().unwrap(), Resolver { address: [10, 2, 0, 10].into(), domain: "cluster.local" });
    let mut spec = spec();
    spec.network.set_hosts(vec![("db".into(), [192, 0, 2, 1].into())]);
    let mounts = crate::names::files(scratch.path(), &spec, &resolver).unwrap();
    let text = |mount: &Mount| std::fs::read_to_string(&mount.host).unwrap();
    assert_eq!(mounts.iter().map(|mount| mount.guest.as_str()).collect::<Vec<_>>(), ["/etc/hosts", "/etc/resolv.conf"]);
    assert!(text(&mounts[0]).ends_with(&format!("{}\tweb-host\n192.0.2.1\tdb\n", spec.network.address())));
    let expected =
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.2.0.10\noptions ndots:5\n";
    assert_eq!(text(&mounts[1]), expected);
    // What a container writes there is seen by all, and a mount of the pod's own goes before.
    std::fs::write(&mounts[0].host, "changed").unwrap();
    spec.mounts.push(Mount { host: "/x".into(), guest: "/etc/resolv.conf".into(), read_only: true });
    let again = crate::names::files(scratch.path(), &spec, &resolver).unwrap();
    assert_eq!((again.len(), text(&again[0])), (1, "changed".to_owned()));
}
