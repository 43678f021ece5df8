//! The same document in the form of OpenAPI 2, for clients that know no other.

use serde_json::{Map, Value, json};

use super::schemas::REF_PREFIX;

/// Converts a document of version 3.
pub(super) fn convert(mut document: Value) -> Value {
    let mut definitions = document.pointer_mut("/components/schemas").map(Value::take).unwrap_or_default();
    let mut paths = document.pointer_mut("/paths").map(Value::take).unwrap_or_default();
    for item in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
        for (key, part) in item.as_object_mut().into_iter().flatten() {
            if key == "parameters" { flatten_parameters(part) } else { operation(part) }
        }
    }
    for schema in [&mut definitions, &mut paths] {
        rewrite(schema);
    }
    let info = document.get("info").cloned().unwrap_or_default();
    json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions})
}

fn flatten_parameters(parameters: &mut Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(Value::Object(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
        }
    }
}

fn operation(operation: &mut Value) {
    let Value::Object(operation) = operation else { return };
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    flatten_parameters(parameters);
    let (consumes, body) = operation.remove("requestBody").map(content).unwrap_or_default();
    if let (Some(schema), Some(Value::Array(parameters))) = (body, operation.get_mut("parameters")) {
        parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
        operation.insert("consumes".to_owned(), consumes.into());
    }
    if let Some(answer) = operation.get_mut("responses").and_then(|answers| answers.get_mut("200")) {
        let (produces, schema) = content(answer.take());
        *answer = json!({"description": "OK", "schema": schema});
        operation.insert("produces".to_owned(), produces.into());
    }
}

/// The media types, and the schema that they share.
fn content(mut holder: Value) -> (Vec<String>, Option<Value>) {
    let Some(Value::Object(content)) = holder.get_mut("content") else { return Default::default() };
    let schema = content.values_mut().next().and_then(|media| media.get_mut("schema")).map(Value::take);
    (content.keys().cloned().collect(), schema)
}

/// References, and the two types for which version 2 has no alternatives.
fn rewrite(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.remove("oneOf").is_some() {
                object.insert("type".to_owned(), "string".into());
            }
            if let Some(Value::Array(all)) = object.get_mut("allOf").map(Value::take) {
                object.remove("allOf");
                object.extend(all.into_iter().filter_map(|one| one.as_object().cloned()).flatten());
            }
            object.values_mut().for_each(rewrite);
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(REF_PREFIX) {
                *text = format!("#/definitions/{name}");
            }
        }
        _ => {}
    }
}
