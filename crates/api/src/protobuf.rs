//! Bodies of type `application/vnd.kubernetes.protobuf`, which kubectl sends from 1.32 on, read as JSON.
//!
//! Owns the envelope, and the walk from wire to JSON over a table of messages (`protobuf/fields.txt`). Writes no
//! protobuf: answers are JSON. Bounded in size and depth; hostile bytes are an error, never a panic.

pub(crate) mod schema;
#[cfg(test)]
mod tests;
mod values;
mod walk;
pub(crate) mod wire;

use serde_json::Value;

use wire::{Payload, fields};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Kubernetes' own limit on the body of a request.
const BODY_BYTES_MAX: usize = 3 << 20;

/// Reads a body (`k8s\0` magic, then `runtime.Unknown`) as the JSON object that it stands for, `apiVersion` and
/// `kind` included. The error is a sentence for the client.
pub fn to_json(body: &[u8]) -> Result<Value, String> {
    if body.len() > BODY_BYTES_MAX {
        return Err(format!("the body has {} bytes, more than {BODY_BYTES_MAX}", body.len()));
    }
    let envelope =
        body.strip_prefix(MAGIC).ok_or("the body does not begin with the bytes 'k8s\\0' of Kubernetes protobuf")?;
    Unknown::read(envelope)?.to_json()
}

/// `runtime.Unknown`: the envelope that names the kind.
#[derive(Default)]
struct Unknown<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Unknown<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut unknown = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, Payload::Bytes(bytes)) => unknown.read_type(bytes)?,
                (2, Payload::Bytes(bytes)) => unknown.raw = bytes,
                (3, Payload::Bytes(bytes)) => unknown.content_encoding = values::text(bytes)?,
                (4, Payload::Bytes(bytes)) => unknown.content_type = values::text(bytes)?,
                _ => {}
            }
        }
        Ok(unknown)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        for field in fields(bytes) {
            match field? {
                (1, Payload::Bytes(bytes)) => self.api_version = values::text(bytes)?,
                (2, Payload::Bytes(bytes)) => self.kind = values::text(bytes)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Result<Value, String> {
        if !self.content_encoding.is_empty() {
            return Err(format!("the content encoding '{}' inside protobuf is not supported", self.content_encoding));
        }
        if self.content_type == "application/json" {
            return serde_json::from_slice(self.raw).map_err(|error| format!("the JSON inside protobuf: {error}"));
        }
        let message = schema::root(self.api_version, self.kind).ok_or_else(|| {
            format!("no kind \"{}\" is registered for version \"{}\" in protobuf", self.kind, self.api_version)
        })?;
        let mut object = walk::object(message, self.raw)?;
        object.insert("apiVersion".to_owned(), self.api_version.into());
        object.insert("kind".to_owned(), self.kind.into());
        Ok(Value::Object(object))
    }
}
