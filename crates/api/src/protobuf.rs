//! Bodies of type `application/vnd.kubernetes.protobuf`, which kubectl sends from 1.32 on, read as JSON.

use serde_json::Value;

/// Reads a body (`k8s\0` magic, then `runtime.Unknown`) as the JSON object that it stands for, `apiVersion` and
/// `kind` included. The error is a sentence for the client.
pub fn to_json(body: &[u8]) -> Result<Value, String> {
    let _ = body;
    Err("not written yet".into())
}
