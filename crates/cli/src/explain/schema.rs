//! Schemas of an OpenAPI v3 document: references, lists and maps are seen through.

use serde_json::{Map, Value};

const REF_PREFIX: &str = "#/components/schemas/";

/// How many references, lists and maps one schema may be behind.
const DEPTH_MAX: usize = 16;

/// The schemas of a document.
pub struct Schemas<'a> {
    all: Option<&'a Map<String, Value>>,
}

impl<'a> Schemas<'a> {
    /// Those of this document.
    pub fn new(document: &'a Value) -> Self {
        Self { all: document.pointer("/components/schemas").and_then(Value::as_object) }
    }

    /// The schema of a kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&'a Value> {
        let wanted = [("group", group), ("version", version), ("kind", kind)];
        let is = |gvk: &Value| wanted.iter().all(|(key, value)| gvk.get(key).and_then(Value::as_str) == Some(value));
        let kinds = |schema: &'a Value| schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        self.all?.values().find(|schema| kinds(schema).is_some_and(|kinds| kinds.iter().any(is)))
    }

    /// The fields of what a schema is, or is a list or a map of.
    pub fn fields(&self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        self.chain(schema).find_map(|schema| schema.get("properties")).and_then(Value::as_object)
    }

    /// Whether a field must be there.
    pub fn requires(&self, schema: &'a Value, field: &str) -> bool {
        let required = self.chain(schema).find_map(|schema| schema.get("required")).and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|one| one == field))
    }

    /// What is said of a schema, and of what it refers to.
    pub fn descriptions(&self, schema: &'a Value) -> Vec<&'a str> {
        let mut all: Vec<&str> = self.chain(schema).filter_map(|schema| schema.get("description")?.as_str()).collect();
        all.dedup();
        all
    }

    /// `string`, `[]Container`, `map[string]Quantity`.
    pub fn type_name(&self, schema: &'a Value) -> String {
        let mut name = String::new();
        for schema in self.chain(schema) {
            if schema.get("items").is_some() {
                name.push_str("[]");
            } else if map_value(schema).is_some() {
                name.push_str("map[string]");
            } else if self.inner(schema).is_none() {
                return name + plain_type(schema).unwrap_or("Object");
            } else if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let plain = self.inner(schema).and_then(plain_type);
                return name + plain.unwrap_or_else(|| reference.rsplit(['.', '/']).next().unwrap_or_default());
            }
        }
        name
    }

    /// A schema, then what it refers to, is a list of or is a map of, and so on.
    fn chain(&self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        std::iter::successors(Some(schema), |schema| self.inner(schema)).take(DEPTH_MAX)
    }

    fn inner(&self, schema: &'a Value) -> Option<&'a Value> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.all?.get(reference.trim_start_matches(REF_PREFIX));
        }
        let only = schema.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1);
        schema.get("items").or_else(|| map_value(schema)).or_else(|| only?.first())
    }
}

fn map_value(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|value| value.is_object())
}

/// The type of what is no object with fields.
fn plain_type(schema: &Value) -> Option<&str> {
    schema.get("type").and_then(Value::as_str).filter(|name| *name != "object")
}
