//! The page of a kind or of a field of it, as kubectl lays it out.

use anyhow::Context;
use serde_json::Value;
use wherry_api::Resource;

use super::schema::Schemas;

/// Where lines end.
const WIDTH: usize = 80;
const INDENT: usize = 4;
/// How deep fields are shown, where types hold themselves.
const DEPTH_MAX: usize = 16;

/// The page of the field at a path; that of the kind where the path is empty.
pub fn of(schemas: &Schemas<'_>, resource: &Resource, path: &[&str], recursive: bool) -> anyhow::Result<String> {
    let kind = schemas.kind(resource.group, resource.version, resource.kind);
    let mut schema = kind.with_context(|| format!("the server explains no {}", resource.kind))?;
    for field in path {
        let found = schemas.fields(schema).and_then(|fields| fields.get(*field));
        schema = found.with_context(|| format!("field \"{field}\" does not exist"))?;
    }
    let mut page = String::new();
    if !resource.group.is_empty() {
        page += &format!("GROUP:      {}\n", resource.group);
    }
    page += &format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version);
    if let Some(field) = path.last() {
        page += &format!("FIELD: {field} <{}>\n\n\n", schemas.type_name(schema));
    }
    let said = schemas.descriptions(schema).join("\n");
    let said = if said.is_empty() { "<empty>".to_owned() } else { said + "\n" };
    page += &format!("DESCRIPTION:\n{}", wrapped(&said, INDENT));
    if schemas.fields(schema).is_some() {
        page += "FIELDS:\n";
        fields(&mut page, schemas, schema, if recursive { Depth::All(1) } else { Depth::One });
    }
    Ok(page + "\n")
}

/// How much of the fields is shown.
#[derive(Clone, Copy)]
enum Depth {
    /// Those of this level, with their descriptions.
    One,
    /// All below it, by name and type; this level is the n-th.
    All(usize),
}

fn fields<'a>(page: &mut String, schemas: &Schemas<'a>, schema: &'a Value, depth: Depth) {
    for (name, field) in schemas.fields(schema).into_iter().flatten() {
        let required = if schemas.requires(schema, name) { " -required-" } else { "" };
        let indent = if let Depth::All(level) = depth { 2 * level } else { 2 };
        *page += &format!("{:indent$}{name}\t<{}>{required}\n", "", schemas.type_name(field));
        match depth {
            Depth::One => {
                let said = field.get("description").and_then(Value::as_str).unwrap_or("<no description>");
                *page += &wrapped(said, INDENT);
                page.push('\n');
            }
            Depth::All(level) if level < DEPTH_MAX => fields(page, schemas, field, Depth::All(level + 1)),
            Depth::All(_) => {}
        }
    }
}

/// A text in lines that are no longer than the page is wide, where its words allow it.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in text.split('\n') {
        let mut line: Option<String> = None;
        for word in paragraph.split(' ') {
            line = Some(match line {
                Some(line) if indent + line.chars().count() + 1 + word.chars().count() <= WIDTH => line + " " + word,
                Some(full) => {
                    out += &format!("{:indent$}{full}\n", "");
                    word.to_owned()
                }
                None => word.to_owned(),
            });
        }
        out += &format!("{:indent$}{}\n", "", line.unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wherry_api::Kind;
    use wherry_api::kinds::Deployment;

    use super::*;

    fn document() -> Value {
        let name = |name: &str| format!("#/components/schemas/io.k8s.{name}");
        let gvk = json!([{"group": "apps", "version": "v1", "kind": "Deployment"}]);
        json!({"components": {"schemas": {
            "io.k8s.Deployment": {
                "description": "A deployment:\n  * indented", "type": "object", "x-kubernetes-group-version-kind": gvk,
                "properties": {"spec": {"description": "What is wanted.", "allOf": [{"$ref": name("Spec")}]}},
            },
            "io.k8s.Spec": {"description": "A spec.", "type": "object", "required": ["many"], "properties": {
                "many": {"description": "word ".repeat(20).trim(), "type": "array", "items": {"$ref": name("Item")}},
                "map": {"type": "object", "additionalProperties": {"$ref": name("Quantity")}},
                "when": {"$ref": name("Time")},
            }},
            "io.k8s.Item": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "object"}}},
            "io.k8s.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "io.k8s.Time": {"type": "string"},
        }}})
    }

    fn page(path: &[&str], recursive: bool) -> String {
        let document = document();
        of(&Schemas::new(&document), Deployment::resource(), path, recursive).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn explains_as_kubectl_does() {
        let head = "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\n";
        let words = |count| vec!["word"; count].join(" ");
        for (path, recursive, expected) in [
            (
                &[][..],
                false,
                "DESCRIPTION:\n    A deployment:\n      * indented\n    \nFIELDS:\n  spec\t<Spec>\n    What is wanted.\n\n\n".to_owned(),
            ),
            (
                &["spec"],
                false,
                format!(
                    "FIELD: spec <Spec>\n\n\nDESCRIPTION:\n    What is wanted.\n    A spec.\n    \nFIELDS:\n  \
                     many\t<[]Item> -required-\n    {}\n    {}\n\n  map\t<map[string]Quantity>\n    <no description>\n\n  \
                     when\t<string>\n    <no description>\n\n\n",
                    words(15),
                    words(5)
                ),
            ),
            (
                &["spec"],
                true,
                "FIELD: spec <Spec>\n\n\nDESCRIPTION:\n    What is wanted.\n    A spec.\n    \nFIELDS:\n  \
                 many\t<[]Item> -required-\n    x\t<integer>\n    y\t<Object>\n  map\t<map[string]Quantity>\n  \
                 when\t<string>\n\n"
                    .to_owned(),
            ),
            (&["spec", "many", "x"], false, "FIELD: x <integer>\n\n\nDESCRIPTION:\n    <empty>\n\n".to_owned()),
        ] {
            assert_eq!(page(path, recursive), format!("{head}{expected}"), "{path:?}");
        }
        assert_eq!(page(&["spec", "none"], false), "field \"none\" does not exist");
    }
}
