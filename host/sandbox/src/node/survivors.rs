//! Containers that have outlived the node's process that started them: what the sandbox says it has, and taking it over.
//!
//! A sandbox may only claim pods that it was made for, and only before it has said that this was all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wherry_runtime::{Adoption, PodRef, Staged, Survivor};
use wherry_vnet::Namespace;

use super::asked::PORTS_MAX;
use super::container::Remote;
use super::link::Link;
use crate::message::{Port, SurvivingContainer, ToSandbox};

/// How many containers a sandbox may claim to have.
const SURVIVORS_MAX: usize = 65_536;

/// Ids of containers, as the agent makes them.
const ID_CHARS: usize = 64;

/// How long a container whose pod is gone may take to stop.
const GONE_GRACE: Duration = Duration::from_secs(1);

impl Link {
    /// The sandbox says what it has.
    pub(super) fn told_of(&self, survivors: Vec<SurvivingContainer>) -> Result<(), String> {
        if self.is_introduced() {
            return Err("it claims containers after it has said that there are no more".to_owned());
        }
        let mut state = self.state();
        for survivor in survivors {
            if !may_have(&self.name, &survivor) {
                return Err(format!("it claims a container of the pod {:?}, which is not its own", survivor.pod.name));
            }
            state.survivors.insert((survivor.pod.uid.clone(), survivor.id.clone()), survivor);
        }
        if state.survivors.len() > SURVIVORS_MAX { Err("it claims too many containers".to_owned()) } else { Ok(()) }
    }

    /// A port of a pod that was not taken over yet is bound, or given back.
    pub(super) fn bound_by_survivor(&self, port: Port, is_bound: bool) {
        let mut state = self.state();
        if !is_bound {
            state.survivors_ports.remove(&port);
        } else if state.survivors_ports.len() < PORTS_MAX {
            state.survivors_ports.insert(port);
        }
    }

    /// Takes a pod over, where that was not done with another of its containers, with the ports that it has bound: they
    /// are reachable when this returns.
    fn adopt_pod(self: &Arc<Self>, network: &Arc<Namespace>) {
        let address = network.address();
        let mut state = self.state();
        let known = state.pods.insert(address, Arc::downgrade(network));
        if known.is_some_and(|pod| pod.strong_count() > 0) {
            return;
        }
        let ports: Vec<_> = state.survivors_ports.extract_if(.., |port| port.pod == address).collect();
        drop(state);
        self.tell(&ToSandbox::Adopt { pod: address }, Vec::new());
        self.holder().iter().for_each(|holder| network.hold(holder));
        ports.into_iter().for_each(|port| self.bound(port, true));
    }

    /// What there is of a pod of that runtime and was not taken over yet.
    pub(crate) fn survivors(&self, runtime: &'static str, pod: &PodRef) -> Vec<Survivor> {
        let state = self.state();
        let of_pod =
            state.survivors.range((pod.uid.clone(), String::new())..).take_while(|((uid, _), _)| *uid == pod.uid);
        of_pod.map(|(_, survivor)| survivor.told(runtime, &self.name)).filter(|survivor| survivor.pod == *pod).collect()
    }

    /// Takes a container over, whose staged files are below `files`. `None`: it is gone.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        Survivor { id, pod, .. }: &Survivor,
        Adoption { network, logs, .. }: &Adoption,
        files: &Path,
    ) -> Option<Arc<Remote>> {
        let survivor = self.state().survivors.remove(&(pod.uid.clone(), id.clone()))?;
        let remote = self.expect(id, Arc::clone(logs), Staged::left(files, id), false);
        self.adopt_pod(network);
        if let Some(exit) = survivor.exit {
            self.exited(id.clone(), exit);
            return Some(remote);
        }
        match logs.file() {
            Ok((file, bytes)) => self.tell(&ToSandbox::Log { container: id.clone(), bytes }, vec![file.into()]),
            Err(error) => tracing::warn!(sandbox = %self.name, id, %error, "the log stays in the file of before"),
        }
        Some(remote)
    }

    /// Stops what was not taken over.
    pub(crate) fn end_survivors(self: &Arc<Self>) {
        let mut state = self.state();
        let rest = std::mem::take(&mut state.survivors);
        state.survivors_ports.clear();
        drop(state);
        let (running, ended): (Vec<_>, Vec<_>) = rest.into_values().partition(|survivor| survivor.exit.is_none());
        for SurvivingContainer { id, .. } in ended {
            self.tell(&ToSandbox::Forget { container: id }, Vec::new());
        }
        for SurvivingContainer { id, .. } in &running {
            self.tell(&ToSandbox::Stop { container: id.clone() }, Vec::new());
        }
        let link = Arc::clone(self);
        self.drain.spawn(async move {
            tokio::time::sleep(GONE_GRACE).await;
            running.iter().for_each(|survivor| link.kill(&survivor.id));
        });
    }
}

/// Whether a sandbox of that name may have that container. Its id becomes part of a path.
fn may_have(sandbox: &str, survivor: &SurvivingContainer) -> bool {
    let is_id = survivor.id.len() == ID_CHARS && survivor.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names = [super::runtime::of_namespace(&survivor.pod.namespace), super::runtime::of_pod(&survivor.pod.uid)];
    is_id && names.iter().any(|name| name == sandbox)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    use tokio_util::sync::CancellationToken;
    use wherry_base::Trigger;

    use super::super::launch::Process;
    use super::super::link::Terms;
    use super::*;
    use crate::message::{PodPart, Ranges, ToNode, VERSION};
    use crate::wire::{Packet, Wire};

    struct Stub(CancellationToken);

    #[async_trait]
    impl Process for Stub {
        fn id(&self) -> u32 {
            0
        }

        fn kill(&self) {
            self.0.cancel();
        }

        async fn ended(&self) -> String {
            self.0.cancelled().await;
            "killed".to_owned()
        }
    }

    fn survivor(namespace: &str, uid: &str, id: &str) -> SurvivingContainer {
        let pod =
            PodPart { namespace: namespace.into(), name: "p".into(), uid: uid.into(), address: [10, 0, 0, 2].into() };
        SurvivingContainer {
            id: id.into(),
            name: "c".into(),
            run: 0,
            pod,
            reference: "image".into(),
            digest: "digest".into(),
            since_millis: 0,
            exit: None,
        }
    }

    /// How many containers of the pod `u` the sandbox `namespace-shop` is believed to have that says this, and then says
    /// `late`; `None`: it is killed for it.
    async fn believed(words: Vec<ToNode>, late: Option<ToNode>) -> Option<usize> {
        let (flags, kind) = (SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, SocketType::SEQPACKET);
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
        let (trigger, killed) = (Trigger::new(), CancellationToken::new());
        let range = "10.0.0.0/8".parse().unwrap();
        let ranges = Ranges { pods: range, cluster: range, services: range, node: [10, 0, 0, 1].into() };
        let terms = Terms { ranges, requests: tokio::runtime::Handle::current(), engine: "this".into() };
        let process = Box::new(Stub(killed.clone()));
        let link = Link::open("namespace-shop", process, Wire::new(ours).unwrap(), &terms, &trigger.drain());
        let wire = Wire::new(theirs).unwrap();
        for word in words {
            let _killed_already = wire.send(&Packet::new(&word, Vec::new()).unwrap()).await;
        }
        link.introduced().await;
        let pod = PodRef { namespace: "shop".into(), name: "p".into(), uid: "u".into() };
        let believed = link.is_introduced().then(|| link.survivors("wasm", &pod).len());
        let Some(late) = late else { return believed };
        wire.send(&Packet::new(&late, Vec::new()).unwrap()).await.unwrap();
        killed.cancelled().await;
        None
    }

    #[tokio::test]
    async fn a_sandbox_is_believed_its_own_pods_only() {
        let id = "a".repeat(ID_CHARS);
        let other = "b".repeat(ID_CHARS);
        let hello = || ToNode::Hello { version: VERSION };
        let ready = || ToNode::Ready { engine: "this".into(), lacking: vec![] };
        let claims = |claimed: Vec<SurvivingContainer>| vec![hello(), ToNode::Survivors(claimed), ready()];
        let own = || survivor("shop", "u", &id);
        assert_eq!(believed(claims(vec![own(), survivor("shop", "v", &other)]), None).await, Some(1));
        assert_eq!(believed(vec![hello(), ready()], None).await, Some(0));
        for liar in [
            vec![ToNode::Hello { version: VERSION + 1 }, ready()],
            vec![hello(), ToNode::Ready { engine: "that".into(), lacking: vec![] }],
            claims(vec![own(), survivor("bank", "u", &other)]),
            claims(vec![survivor("shop", "u", "../../../etc")]),
            claims(vec![survivor("shop", "u", "")]),
        ] {
            let said = format!("{liar:?}");
            assert_eq!(believed(liar, None).await, None, "{said}");
        }
        assert_eq!(believed(vec![hello(), ready()], Some(ToNode::Survivors(vec![own()]))).await, None);
    }
}
