//! Leaf values: the types that JSON writes in a form of their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::wire::{Payload, fields};

/// Go's zero time, year 1, in seconds.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;

/// UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a text in the protobuf message is not UTF-8".to_owned())
}

/// A varint as a signed number, as int32 and int64 are written.
pub(super) fn signed(varint: u64) -> i64 {
    varint.cast_signed()
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// `resource.Quantity`: a message with one text.
pub(super) fn quantity(bytes: &[u8]) -> Result<Value, String> {
    match single(bytes)? {
        [] => Ok(Value::Null),
        found => text(found).map(Value::from),
    }
}

/// `RawExtension` and `FieldsV1`: JSON in a message with one field of bytes.
pub(super) fn raw(bytes: &[u8]) -> Result<Value, String> {
    match single(bytes)? {
        [] => Ok(Value::Null),
        json => serde_json::from_slice(json).map_err(|error| format!("the JSON inside protobuf: {error}")),
    }
}

fn single(bytes: &[u8]) -> Result<&[u8], String> {
    let mut found: &[u8] = &[];
    for field in fields(bytes) {
        if let (1, Payload::Bytes(bytes)) = field? {
            found = bytes;
        }
    }
    Ok(found)
}

/// `intstr.IntOrString`; its zero is the number 0.
pub(super) fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut word) = (false, 0, "");
    for field in fields(bytes) {
        match field? {
            (1, Payload::Varint(kind)) => is_text = kind == 1,
            (2, Payload::Varint(varint)) => number = signed(varint),
            (3, Payload::Bytes(bytes)) => word = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { word.into() } else { number.into() })
}

/// Seconds and nanoseconds, `None` where they are Go's zero time.
fn instant(bytes: &[u8]) -> Result<Option<Timestamp>, String> {
    let (seconds, nanos) = parts(bytes)?;
    if (seconds == 0 && nanos == 0) || seconds == ZERO_TIME_SECONDS {
        return Ok(None);
    }
    let nanos = i32::try_from(nanos).map_err(|_| "a time's nanoseconds are out of range")?;
    Timestamp::new(seconds, nanos).map(Some).map_err(|error| format!("a time in the protobuf message: {error}"))
}

fn parts(bytes: &[u8]) -> Result<(i64, i64), String> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(bytes) {
        match field? {
            (1, Payload::Varint(varint)) => seconds = signed(varint),
            (2, Payload::Varint(varint)) => nanos = signed(varint),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// `metav1.Time`: to the second.
pub(super) fn time(bytes: &[u8]) -> Result<Value, String> {
    let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(instant(bytes)?.map_or(Value::Null, |at| text(at).into()))
}

/// `metav1.MicroTime`: always six digits.
pub(super) fn micro_time(bytes: &[u8]) -> Result<Value, String> {
    let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    Ok(instant(bytes)?.map_or(Value::Null, |at| text(at).into()))
}
