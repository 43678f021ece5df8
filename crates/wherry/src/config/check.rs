//! Flags that cannot work, found before anything is begun: what the command line's parser cannot see by itself.

use ipnet::IpNet;
use wherry_apiserver::RegistryConfig;

use super::{ClusterFlags, CommonArgs, JoinFlags, MasterArgs, NodeArgs, NodeFlags, UpArgs};

/// Kubernetes' limit of a node's name.
const NAME_BYTES_MAX: usize = 253;

/// The smallest ranges are of 4 addresses.
const PREFIX_MAX: u8 = 30;

/// A flag that cannot work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// Not an address range that pods or Services can be in.
    #[error("{flag} {range} is no IPv4 range of at least 4 addresses, such as {example}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// Its value.
        range: IpNet,
        /// Its default.
        example: IpNet,
    },
    /// An address would be a pod's and a Service's.
    #[error("--service-cidr {services} and --cluster-cidr {pods} overlap; choose ranges apart from each other")]
    Overlap {
        /// The Services' range.
        services: IpNet,
        /// The pods' range.
        pods: IpNet,
    },
    /// Not a part of the pods' range.
    #[error("--node-cidr-mask-size {0} is no part of the pods' range that pods fit in; choose one up to {PREFIX_MAX}")]
    NodeRange(u8),
    /// Not a name of a node.
    #[error(
        "--name {0:?} is no name of a machine: lower case letters, digits, \"-\" and \".\" between them, up to {NAME_BYTES_MAX}"
    )]
    Name(String),
    /// Images would go and come.
    #[error("--image-gc-low-threshold {low} is not below --image-gc-high-threshold {high}")]
    Thresholds {
        /// Down to how full.
        low: u8,
        /// From how full on.
        high: u8,
    },
}

impl UpArgs {
    /// The first fault.
    pub fn check(&self) -> Result<(), FlagError> {
        self.common.check()?;
        self.cluster.check()?;
        self.node.check()
    }
}

impl MasterArgs {
    /// The first fault.
    pub fn check(&self) -> Result<(), FlagError> {
        check_name(&self.name)?;
        self.common.check()?;
        self.cluster.check()
    }
}

impl NodeArgs {
    /// The first fault.
    pub fn check(&self) -> Result<(), FlagError> {
        self.common.check()?;
        self.join.check()?;
        self.node.check()
    }
}

impl JoinFlags {
    fn check(&self) -> Result<(), FlagError> {
        self.pod_cidr.map_or(Ok(()), |range| check_range("--pod-cidr", range, RegistryConfig::CLUSTER_CIDR))
    }
}

impl ClusterFlags {
    fn check(&self) -> Result<(), FlagError> {
        let prefix = self.node_cidr_mask_size;
        if prefix <= PREFIX_MAX { Ok(()) } else { Err(FlagError::NodeRange(prefix)) }
    }
}

impl NodeFlags {
    fn check(&self) -> Result<(), FlagError> {
        check_name(&self.name)?;
        let (low, high) = (self.images.image_gc_low_threshold, self.images.image_gc_high_threshold);
        if low < high { Ok(()) } else { Err(FlagError::Thresholds { low, high }) }
    }
}

fn check_name(name: &str) -> Result<(), FlagError> {
    if is_node_name(name) { Ok(()) } else { Err(FlagError::Name(name.to_owned())) }
}

impl CommonArgs {
    /// The first fault.
    pub fn check(&self) -> Result<(), FlagError> {
        let pods = self.cluster_cidr.unwrap_or(RegistryConfig::CLUSTER_CIDR);
        let services = self.service_cidr.unwrap_or(RegistryConfig::SERVICE_CIDR);
        check_range("--cluster-cidr", pods, RegistryConfig::CLUSTER_CIDR)?;
        check_range("--service-cidr", services, RegistryConfig::SERVICE_CIDR)?;
        if pods.contains(&services) || services.contains(&pods) {
            return Err(FlagError::Overlap { services, pods });
        }
        Ok(())
    }
}

fn check_range(flag: &'static str, range: IpNet, example: IpNet) -> Result<(), FlagError> {
    let usable = matches!(range, IpNet::V4(_)) && range.prefix_len() <= PREFIX_MAX;
    if usable { Ok(()) } else { Err(FlagError::Range { flag, range, example }) }
}

/// A DNS subdomain (RFC 1123).
fn is_node_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner);
    name.len() <= NAME_BYTES_MAX && name.split('.').all(label)
}
