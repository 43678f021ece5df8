//! The document of version 2 as a protobuf message, `openapi.v2.Document` of gnostic's `OpenAPIv2.proto`.
//!
//! Owns the table of the fields that our documents have; a key that is not in it is left out.

use serde_json::Value;

/// Where the fields of a JSON object go.
struct Message {
    fields: &'static [Field],
    /// The field of the keys that begin with `x-`; 0 where there are none.
    extensions: u64,
}

struct Field {
    key: &'static str,
    /// The field's number, then those of the messages around the value that JSON does not have.
    path: &'static [u64],
    form: Form,
}

enum Form {
    Text,
    Flag,
    One(&'static Message),
    /// A map: the number of its entries, the messages around a value, and the value.
    Map(u64, &'static [u64], &'static Message),
    /// A parameter, whose form depends on where it stands.
    Parameter,
}

const fn text(key: &'static str, path: &'static [u64]) -> Field {
    Field { key, path, form: Form::Text }
}

const fn one(key: &'static str, path: &'static [u64], message: &'static Message) -> Field {
    Field { key, path, form: Form::One(message) }
}

const fn map(
    key: &'static str,
    path: &'static [u64],
    entry: u64,
    around: &'static [u64],
    of: &'static Message,
) -> Field {
    Field { key, path, form: Form::Map(entry, around, of) }
}

static DOCUMENT: Message = Message {
    fields: &[
        text("swagger", &[1]),
        one("info", &[2], &INFO),
        map("paths", &[8], 2, &[], &PATH_ITEM),
        map("definitions", &[9], 1, &[], &SCHEMA),
    ],
    extensions: 0,
};

static INFO: Message = Message { fields: &[text("title", &[1]), text("version", &[2])], extensions: 0 };

static PATH_ITEM: Message = Message {
    fields: &[
        one("get", &[2], &OPERATION),
        one("put", &[3], &OPERATION),
        one("post", &[4], &OPERATION),
        one("delete", &[5], &OPERATION),
        one("patch", &[8], &OPERATION),
        Field { key: "parameters", path: &[9], form: Form::Parameter },
    ],
    extensions: 0,
};

static OPERATION: Message = Message {
    fields: &[
        text("tags", &[1]),
        text("description", &[3]),
        text("operationId", &[5]),
        text("produces", &[6]),
        text("consumes", &[7]),
        Field { key: "parameters", path: &[8], form: Form::Parameter },
        map("responses", &[9], 1, &[1], &RESPONSE),
    ],
    extensions: 13,
};

static RESPONSE: Message =
    Message { fields: &[text("description", &[1]), one("schema", &[2, 1], &SCHEMA)], extensions: 0 };

static BODY_PARAMETER: Message = Message {
    fields: &[
        text("name", &[2]),
        text("in", &[3]),
        Field { key: "required", path: &[4], form: Form::Flag },
        one("schema", &[5], &SCHEMA),
    ],
    extensions: 0,
};

static QUERY_PARAMETER: Message =
    Message { fields: &[text("in", &[2]), text("name", &[4]), text("type", &[6])], extensions: 0 };

static PATH_PARAMETER: Message = Message {
    fields: &[
        Field { key: "required", path: &[1], form: Form::Flag },
        text("in", &[2]),
        text("name", &[4]),
        text("type", &[5]),
    ],
    extensions: 0,
};

static SCHEMA: Message = Message {
    fields: &[
        text("$ref", &[1]),
        text("format", &[2]),
        text("description", &[4]),
        text("required", &[19]),
        one("additionalProperties", &[21, 1], &SCHEMA),
        text("type", &[22, 1]),
        one("items", &[23, 1], &SCHEMA),
        map("properties", &[25], 1, &[], &SCHEMA),
    ],
    extensions: 31,
};

/// Encodes the JSON document.
pub(super) fn document(json: &Value) -> Vec<u8> {
    message(&DOCUMENT, json)
}

fn message(message: &Message, json: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in json.as_object().into_iter().flatten() {
        if let Some(field) = message.fields.iter().find(|field| field.key == key) {
            // Lists are repeated fields.
            match value {
                Value::Array(items) => items.iter().for_each(|item| put_field(&mut bytes, field, item)),
                value => put_field(&mut bytes, field, value),
            }
        } else if key.starts_with("x-") && message.extensions > 0 {
            let yaml = around(&[2], value.to_string().into_bytes());
            put_bytes(&mut bytes, message.extensions, &entry(key, &yaml));
        }
    }
    bytes
}

fn put_field(bytes: &mut Vec<u8>, field: &Field, json: &Value) {
    let content = match &field.form {
        Form::Text => json.as_str().unwrap_or_default().as_bytes().to_vec(),
        Form::Flag => return put_flag(bytes, field, json),
        Form::One(of) => message(of, json),
        Form::Map(number, inner, of) => {
            let mut entries = Vec::new();
            for (name, value) in json.as_object().into_iter().flatten() {
                put_bytes(&mut entries, *number, &entry(name, &around(inner, message(of, value))));
            }
            entries
        }
        Form::Parameter => parameter(json),
    };
    if let Some((number, inner)) = field.path.split_first() {
        put_bytes(bytes, *number, &around(inner, content));
    }
}

/// `ParametersItem`: a parameter in the body, or one of the others.
fn parameter(json: &Value) -> Vec<u8> {
    match json.get("in").and_then(Value::as_str) {
        Some("body") => around(&[1, 1], message(&BODY_PARAMETER, json)),
        Some("path") => around(&[1, 2, 4], message(&PATH_PARAMETER, json)),
        _ => around(&[1, 2, 3], message(&QUERY_PARAMETER, json)),
    }
}

/// A name and a value: what an entry of any map is.
fn entry(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, 1, name.as_bytes());
    put_bytes(&mut bytes, 2, value);
    bytes
}

/// Wraps a message into others, whose only field it is.
fn around(path: &[u64], content: Vec<u8>) -> Vec<u8> {
    path.iter().rev().fold(content, |content, number| {
        let mut bytes = Vec::with_capacity(content.len() + 4);
        put_bytes(&mut bytes, *number, &content);
        bytes
    })
}

/// False is what a missing flag says.
fn put_flag(bytes: &mut Vec<u8>, field: &Field, json: &Value) {
    if let (Some(number), Some(true)) = (field.path.first(), json.as_bool()) {
        put_varint(bytes, number << 3);
        bytes.push(1);
    }
}

fn put_bytes(bytes: &mut Vec<u8>, number: u64, content: &[u8]) {
    const LENGTH_DELIMITED: u64 = 2;
    put_varint(bytes, number << 3 | LENGTH_DELIMITED);
    put_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
