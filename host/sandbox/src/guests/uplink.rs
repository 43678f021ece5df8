//! A sandbox's pods' way out: everything is asked of the node.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use wherry_vnet::{DialError, PortKind, Resolution, Uplink, Way};

use super::node::Node;
use crate::message::{Port, ToNode};

pub(crate) struct Up(pub(crate) Arc<Node>);

#[async_trait]
impl Uplink for Up {
    async fn connect(&self, pod: IpAddr, to: SocketAddr) -> Result<Way, DialError> {
        self.0.connect_to(pod, to).await
    }

    async fn resolve(&self, pod: IpAddr, name: &str) -> Result<Vec<IpAddr>, Resolution> {
        self.0.resolve(pod, name).await
    }

    fn bound(&self, pod: IpAddr, kind: PortKind, at: SocketAddr, is_bound: bool) {
        self.0.bound(Port { pod, at, protocol: kind.into() }, is_bound);
    }

    fn is_mixed(&self, pod: IpAddr) -> bool {
        self.0.is_mixed(pod)
    }

    async fn heard(&self, pod: IpAddr) {
        self.0.is_heard(pod).await;
    }

    fn send(&self, pod: IpAddr, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        let payload = payload.into();
        let _lost_as_datagrams_may_be = self.0.try_tell(&ToNode::Datagram { pod, from, to, payload });
        Ok(())
    }
}
