//! kubectl's JSONPath templates, `{range .items[*]}{.metadata.name}{"\n"}{end}`, and custom columns.
//!
//! Paths are translated to RFC 9535 and evaluated by `serde_json_path`: names that kubectl writes bare (`a-b`, `a\.b`) are quoted.

use serde_json::Value;
use serde_json_path::JsonPath;

const NONE: &str = "<none>";

/// A path into an object.
#[derive(Clone, Debug)]
pub struct Path {
    path: JsonPath,
    /// Begins with `$`: from the root even inside of a range.
    absolute: bool,
}

/// A template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Node>);

/// Headings and paths.
#[derive(Clone, Debug)]
pub struct Columns(Vec<(String, Path)>);

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Path(Path),
    Range(Path, Vec<Node>),
}

impl Path {
    /// Reads `.metadata.name`, `metadata.name` or `{.metadata.name}`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let inner = trimmed.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(trimmed).trim();
        let path = JsonPath::parse(&rfc9535(inner)).map_err(|e| format!("\"{text}\" is no path: {e}"))?;
        Ok(Self { path, absolute: inner.starts_with('$') })
    }

    /// What it leads to.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        self.path.query(object).all()
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut open: Vec<(Option<Path>, Vec<Node>)> = vec![(None, Vec::new())];
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once('{') {
            push(&mut open, Node::Text(before.to_owned()));
            let end = closing(inside, '}').ok_or_else(|| format!("no '}}' closes \"{{{inside}\""))?;
            let (action, behind) = inside.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            match action.trim() {
                "end" => match open.pop() {
                    Some((Some(path), nodes)) => push(&mut open, Node::Range(path, nodes)),
                    _ => return Err("{end} without {range …}".to_owned()),
                },
                action => match action.strip_prefix("range ") {
                    Some(path) => open.push((Some(Path::parse(path)?), Vec::new())),
                    None => push(&mut open, node(action)?),
                },
            }
        }
        push(&mut open, Node::Text(rest.to_owned()));
        match open.pop() {
            Some((None, nodes)) => Ok(Self(nodes)),
            _ => Err("{range …} without {end}".to_owned()),
        }
    }

    /// What it makes of an object.
    pub fn render(&self, object: &Value) -> String {
        let mut out = String::new();
        render(&self.0, object, object, &mut out);
        out
    }
}

impl Columns {
    /// Reads `NAME:.metadata.name,IP:.status.podIP`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |column: &str| {
            let (heading, path) = column.split_once(':').ok_or_else(|| format!("\"{column}\" is not HEADING:PATH"))?;
            Ok((heading.to_owned(), Path::parse(path)?))
        };
        text.split(',').map(one).collect::<Result<_, String>>().map(Self)
    }

    /// The headings.
    pub fn headings(&self) -> Vec<String> {
        self.0.iter().map(|(heading, _)| heading.clone()).collect()
    }

    /// An object's cells.
    pub fn cells(&self, object: &Value) -> Vec<String> {
        let cell = |(_, path): &(String, Path)| {
            let found: Vec<String> = path.find(object).into_iter().map(plain).collect();
            if found.is_empty() { NONE.to_owned() } else { found.join(",") }
        };
        self.0.iter().map(cell).collect()
    }
}

/// A value as text: strings without quotes, the rest as JSON.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn push(open: &mut [(Option<Path>, Vec<Node>)], node: Node) {
    if let Some((_, nodes)) = open.last_mut() {
        nodes.push(node);
    }
}

fn node(action: &str) -> Result<Node, String> {
    match action.chars().next() {
        Some('"') => {
            let text = serde_json::from_str(action).map_err(|e| format!("{action} is no text: {e}"))?;
            Ok(Node::Text(text))
        }
        Some('\'') => Ok(Node::Text(action.trim_matches('\'').replace("\\n", "\n").replace("\\t", "\t"))),
        _ => Path::parse(action).map(Node::Path),
    }
}

fn render(nodes: &[Node], root: &Value, object: &Value, out: &mut String) {
    let from = |path: &Path| path.find(if path.absolute { root } else { object });
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(path) => out.push_str(&from(path).into_iter().map(plain).collect::<Vec<_>>().join(" ")),
            Node::Range(path, nodes) => from(path).into_iter().for_each(|item| render(nodes, root, item, out)),
        }
    }
}

/// Where the bracket closes that was opened just before `text`; brackets in quotes count for nothing.
fn closing(text: &str, close: char) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c == close => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// A path of kubectl's dialect in that of the standard.
fn rfc9535(path: &str) -> String {
    let mut out = String::from("$");
    let mut rest = path.trim_start_matches(['$', '@']);
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            let end = closing(rest, ']').map_or(rest.len(), |at| at + 1);
            let (subscript, behind) = rest.split_at(end);
            out.push_str(subscript);
            rest = behind;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(deeper) = rest.strip_prefix('.') {
            out.push_str("..");
            rest = deeper;
        }
        let (name, behind) = name(rest);
        match name.as_str() {
            "" => {}
            "*" => out.push_str("[*]"),
            name => out.push_str(&format!("[{}]", Value::from(name))),
        }
        if behind.len() == rest.len() && name.is_empty() && !rest.starts_with('[') && !rest.starts_with('.') {
            break;
        }
        rest = behind;
    }
    out
}

/// A bare name, in which `\.` is a dot, and what follows it.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' | '[' if !escaped => return (name, text.get(at..).unwrap_or_default()),
            c => {
                escaped = false;
                name.push(c);
            }
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> Value {
        let item = |name: &str, ready: &str| {
            json!({"metadata": {"name": name, "labels": {"a.b/c-d": "x"}},
                "status": {"conditions": [{"type": "Ready", "status": ready}], "n": 2}})
        };
        json!({"kind": "List", "items": [item("one", "True"), item("two", "False")]})
    }

    #[test]
    fn templates_render_as_kubectls_do() {
        let cases = [
            ("{.items[*].metadata.name}", "one two"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.status.n}{\"\\n\"}{end}", "one\t2\ntwo\t2\n"),
            ("{.items[0].metadata.labels.a\\.b/c-d}", "x"),
            ("{.items[0].metadata.labels['a.b/c-d']}", "x"),
            ("{.items[-1:].metadata.name}", "two"),
            ("{.items[?(@.metadata.name==\"two\")].status.n}", "2"),
            ("{.items[*].status.conditions[?(@.type=='Ready')].status}", "True False"),
            ("{..name}", "one two"),
            ("{range .items[*]}{$.kind}{end}", "ListList"),
            ("names: {.items[0].metadata}", "names: {\"labels\":{\"a.b/c-d\":\"x\"},\"name\":\"one\"}"),
            ("{.missing}", ""),
            ("{\"{}\"}", "{}"),
        ];
        for (template, expected) in cases {
            assert_eq!(Template::parse(template).unwrap().render(&list()), expected, "{template}");
        }
    }

    #[test]
    fn wrong_templates_are_told() {
        for (template, part) in [
            ("{.a", "no '}'"),
            ("{end}", "without {range"),
            ("{range .a}", "without {end}"),
            ("{.a[}", "no path"),
            ("{\"a}", "no '}'"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    #[test]
    fn columns_have_headings_and_gaps() {
        let columns = Columns::parse("NAME:.metadata.name,N:status.n,X:{.x}").unwrap();
        assert_eq!(columns.headings(), ["NAME", "N", "X"]);
        assert_eq!(columns.cells(&list()["items"][0]), ["one", "2", "<none>"]);
        assert!(Columns::parse("NAME").is_err());
    }
}
