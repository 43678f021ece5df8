//! The walk from wire to JSON over the table of messages.

use serde_json::{Map, Value};

use super::schema::{Field, Kind, Message, SPREAD, Shape, message};
use super::values;
use super::wire::{Payload, fields, packed};

/// How deep messages may nest; the kinds' own types nest about 15 deep.
const DEPTH_MAX: usize = 48;

/// A message as an object.
pub(super) fn object(message: &Message, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    walk(message, bytes, DEPTH_MAX, &mut object)?;
    Ok(object)
}

fn walk(message: &Message, bytes: &[u8], depth: usize, object: &mut Map<String, Value>) -> Result<(), String> {
    for field in fields(bytes) {
        let (number, payload) = field?;
        if let Some(field) = message.fields.iter().find(|field| field.number == number) {
            add(field, payload, depth, object).map_err(|error| format!("{}: {error}", field.name))?;
        }
    }
    Ok(())
}

fn add(field: &Field, payload: Payload<'_>, depth: usize, object: &mut Map<String, Value>) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or("the message is nested too deeply")?;
    match (field.shape, field.kind, payload) {
        (Shape::One { .. }, Kind::Message(inner), Payload::Bytes(bytes)) if field.name == SPREAD => {
            walk(message(inner).ok_or("unknown message")?, bytes, depth, object)
        }
        (Shape::One { keep }, kind, payload) => {
            let value = value(kind, payload, depth)?;
            if !value.is_null() && (keep || !is_zero(&value)) {
                object.insert(field.name.to_owned(), value);
            }
            Ok(())
        }
        (Shape::List, kind, payload) => add_items(field.name, kind, payload, depth, object),
        (Shape::Map, kind, Payload::Bytes(bytes)) => add_entry(field.name, kind, bytes, depth, object),
        (Shape::Map, ..) => Err("a map entry is not a message".to_owned()),
    }
}

fn add_items(
    name: &str,
    kind: Kind,
    payload: Payload<'_>,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), String> {
    let items = match (kind, payload) {
        (Kind::Int, Payload::Bytes(bytes)) => packed(bytes)?.into_iter().map(|n| values::signed(n).into()).collect(),
        (kind, payload) => vec![value(kind, payload, depth)?],
    };
    let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut().ok_or("two fields of one name")?.extend(items);
    Ok(())
}

fn add_entry(
    name: &str,
    kind: Kind,
    bytes: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), String> {
    let (mut key, mut payload) = ("", Payload::Bytes(&[]));
    for field in fields(bytes) {
        match field? {
            (1, Payload::Bytes(bytes)) => key = values::text(bytes)?,
            (2, found) => payload = found,
            _ => {}
        }
    }
    let value = value(kind, payload, depth)?;
    let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
    map.as_object_mut().ok_or("two fields of one name")?.insert(key.to_owned(), value);
    Ok(())
}

fn value(kind: Kind, payload: Payload<'_>, depth: usize) -> Result<Value, String> {
    match (kind, payload) {
        (Kind::Int, Payload::Varint(varint)) => Ok(values::signed(varint).into()),
        (Kind::Bool, Payload::Varint(varint)) => Ok((varint != 0).into()),
        (Kind::String, Payload::Bytes(bytes)) => values::text(bytes).map(Value::from),
        (Kind::Bytes, Payload::Bytes(bytes)) => Ok(values::base64(bytes)),
        (Kind::Quantity, Payload::Bytes(bytes)) => values::quantity(bytes),
        (Kind::IntOrString, Payload::Bytes(bytes)) => values::int_or_string(bytes),
        (Kind::Time, Payload::Bytes(bytes)) => values::time(bytes),
        (Kind::MicroTime, Payload::Bytes(bytes)) => values::micro_time(bytes),
        (Kind::Raw, Payload::Bytes(bytes)) => values::raw(bytes),
        (Kind::Message(inner), Payload::Bytes(bytes)) => {
            let mut object = Map::new();
            walk(message(inner).ok_or("unknown message")?, bytes, depth, &mut object)?;
            Ok(Value::Object(object))
        }
        _ => Err("the field has another wire type".to_owned()),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
