//! The table of messages, parsed once from `fields.txt`.
//!
//! Its form: a line `module.Message` opens a message; each line under it is a field: number, JSON name, kind. Kinds are
//! `string int bool bytes`, the special `quantity intorstring time microtime raw`, or the name of
//! another message (of the same module where it has no dot); `list KIND` and `map KIND` (keys are strings) hold many.
//! A kind that ends in `?` is a pointer or a required field in Go: it is kept where it is zero or empty. Any other is
//! always written by Go, so its zero means that nobody set it. The JSON name `-` stands for a message whose fields
//! belong to the enclosing object.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The name of a field whose message is spread into the enclosing object.
pub(super) const SPREAD: &str = "-";

const TEXT: &str = include_str!("fields.txt");

/// How a field's bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Int,
    Bool,
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON inside a message with one field of bytes.
    Raw,
    /// Another message, by its index in the table.
    Message(usize),
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value.
    One {
        /// Whether a zero or empty value says something.
        keep: bool,
    },
    List,
    Map,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub number: u64,
    /// The name in JSON; `-` for a message that is spread into the enclosing object.
    pub name: &'static str,
    pub shape: Shape,
    pub kind: Kind,
}

/// A message: one Go type of the API.
#[derive(Debug)]
pub(crate) struct Message {
    /// The type's name without its module, `PodSpec`.
    pub name: &'static str,
    /// Sorted by number.
    pub(super) fields: Vec<Field>,
}

impl Message {
    /// The message type of a field by its JSON name, fields of spread messages included; `None` for what is no
    /// message, and for maps.
    pub fn child(&self, name: &str) -> Option<&'static Self> {
        if let Some(field) = self.fields.iter().find(|field| field.name == name) {
            return if field.shape == Shape::Map { None } else { field.message() };
        }
        let spread = self.fields.iter().filter(|field| field.name == SPREAD);
        spread.filter_map(|field| field.message()).find_map(|inner| inner.child(name))
    }
}

impl Field {
    fn message(&self) -> Option<&'static Message> {
        if let Kind::Message(index) = self.kind { message(index) } else { None }
    }
}

struct Schema {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, usize>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::parse);

/// The message of a kind that may be the body of a request.
pub(crate) fn root(api_version: &str, kind: &str) -> Option<&'static Message> {
    let module = match api_version {
        _ if kind == "DeleteOptions" => "meta",
        "v1" => "core",
        "apps/v1" => "apps",
        "networking.k8s.io/v1" => "networking",
        "discovery.k8s.io/v1" => "discovery",
        "coordination.k8s.io/v1" => "coordination",
        "certificates.k8s.io/v1" => "certificates",
        "node.k8s.io/v1" => "node",
        "policy/v1" => "policy",
        "autoscaling/v1" => "autoscaling",
        "authorization.k8s.io/v1" => "authorization",
        "authentication.k8s.io/v1" => "authentication",
        _ => return None,
    };
    SCHEMA.by_name.get(format!("{module}.{kind}").as_str()).and_then(|index| message(*index))
}

/// A message by its index.
pub(super) fn message(index: usize) -> Option<&'static Message> {
    SCHEMA.messages.get(index)
}

impl Schema {
    fn parse() -> Self {
        let names = TEXT.lines().filter(|line| !line.starts_with(' '));
        let by_name: HashMap<_, _> = names.enumerate().map(|(index, name)| (name, index)).collect();
        let mut messages: Vec<Message> = Vec::with_capacity(by_name.len());
        let mut module = "";
        for line in TEXT.lines() {
            if line.starts_with(' ') {
                let field = field(line, module, &by_name);
                messages.last_mut().into_iter().for_each(|message| message.fields.extend(field));
            } else {
                let name;
                (module, name) = line.split_once('.').unwrap_or_default();
                messages.push(Message { name, fields: Vec::new() });
            }
        }
        Self { messages, by_name }
    }
}

fn field(line: &'static str, module: &str, by_name: &HashMap<&str, usize>) -> Option<Field> {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let (number, name, shape, kind) = match words.as_slice() {
        [number, name, "list", kind] => (number, *name, Shape::List, *kind),
        [number, name, "map", kind] => (number, *name, Shape::Map, *kind),
        [number, name, kind] => {
            let keep = kind.ends_with('?');
            (number, *name, Shape::One { keep }, kind.trim_end_matches('?'))
        }
        _ => return None,
    };
    Some(Field { number: number.parse().ok()?, name, shape, kind: self::kind(kind, module, by_name)? })
}

fn kind(word: &str, module: &str, by_name: &HashMap<&str, usize>) -> Option<Kind> {
    Some(match word {
        "string" => Kind::String,
        "int" => Kind::Int,
        "bool" => Kind::Bool,
        "bytes" => Kind::Bytes,
        "quantity" => Kind::Quantity,
        "intorstring" => Kind::IntOrString,
        "time" => Kind::Time,
        "microtime" => Kind::MicroTime,
        "raw" => Kind::Raw,
        qualified if qualified.contains('.') => Kind::Message(*by_name.get(qualified)?),
        plain => Kind::Message(*by_name.get(format!("{module}.{plain}").as_str())?),
    })
}

#[cfg(test)]
mod tests {
    use super::{SCHEMA, TEXT};

    #[test]
    fn every_line_is_read() {
        let fields: usize = SCHEMA.messages.iter().map(|message| message.fields.len()).sum();
        assert_eq!(fields, TEXT.lines().filter(|line| line.starts_with(' ')).count());
        assert_eq!(SCHEMA.by_name.len(), SCHEMA.messages.len());
    }
}
