//! A kubelet's `/stats/summary`, as far as it says what is used at present.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use wherry_api::{Error, Reason};

/// The longest summary, in bytes: of some ten thousand containers.
const SUMMARY_BYTES_MAX: usize = 16 << 20;

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// Thousand-millionths of a core.
    pub(super) nano_cores: u64,
    /// What is not given back when memory runs short.
    pub(super) memory_bytes: u64,
}

/// What a node and its pods use. `None`: not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// When, in RFC 3339.
    pub(super) time: String,
    pub(super) node: Option<Usage>,
    /// The containers of each pod, by its uid.
    pub(super) pods: HashMap<String, Vec<(String, Option<Usage>)>>,
}

impl Sample {
    pub(super) async fn read(mut chunks: BoxStream<'static, Result<Bytes, Error>>) -> Result<Self, Error> {
        let bad = |message: &str| Error::new(Reason::InternalError, message);
        let mut summary = Vec::new();
        while let Some(chunk) = chunks.next().await {
            summary.extend_from_slice(&chunk?);
            if summary.len() > SUMMARY_BYTES_MAX {
                return Err(bad("the kubelet's summary is too long"));
            }
        }
        let summary = serde_json::from_slice(&summary).map_err(|_| bad("the kubelet's summary is malformed"))?;
        Ok(Self::of(&summary))
    }

    fn of(summary: &Value) -> Self {
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let pod = |pod: &Value| {
            let containers = list(pod, "containers");
            (text(pod, "/podRef/uid"), containers.iter().map(|one| (text(one, "/name"), usage(one))).collect())
        };
        Self {
            time: text(summary, "/node/cpu/time"),
            node: summary.get("node").and_then(usage),
            pods: list(summary, "pods").iter().map(pod).collect(),
        }
    }
}

fn usage(of: &Value) -> Option<Usage> {
    let nano_cores = of.pointer("/cpu/usageNanoCores")?.as_u64()?;
    Some(Usage { nano_cores, memory_bytes: of.pointer("/memory/workingSetBytes")?.as_u64()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let summary = json!({
            "node": {"cpu": {"time": "2026-01-01T00:00:00Z", "usageNanoCores": 5}, "memory": {"workingSetBytes": 7}},
            "pods": [{"podRef": {"uid": "u"}, "containers": [
                {"name": "a", "cpu": {"usageNanoCores": 1}, "memory": {"workingSetBytes": 2}},
                {"name": "b", "cpu": {}, "memory": {"workingSetBytes": 2}},
            ]}],
        });
        let used = |nano_cores, memory_bytes| Some(Usage { nano_cores, memory_bytes });
        let containers = vec![("a".to_owned(), used(1, 2)), ("b".to_owned(), None)];
        let pods = HashMap::from([("u".to_owned(), containers)]);
        let expected = Sample { time: "2026-01-01T00:00:00Z".into(), node: used(5, 7), pods };
        assert_eq!(Sample::of(&summary), expected);
        assert_eq!(Sample::of(&json!("nonsense")), Sample::default());
    }
}
