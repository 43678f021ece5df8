//! OpenAPI documents of the resources, made from the types' schemas and the table of merge facts.

use serde_json::Value;

/// The document of `/openapi/v3`: a path for each group and version, with a hash that changes with its content.
pub fn v3_index() -> Value {
    Value::Null
}

/// The document of one group and version (`api/v1`, `apis/apps/v1`); `None` where there is no such group.
pub fn v3(path: &str) -> Option<Value> {
    let _ = path;
    None
}

/// The document of `/openapi/v2`, as JSON.
pub fn v2() -> Value {
    Value::Null
}
