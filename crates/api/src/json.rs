//! JSON as clients send it: of fields that a map has twice the last counts, as in Kubernetes, and the others are told.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// At most these are named; a body of nothing else should not grow the answer.
const DUPLICATES_MAX: usize = 32;

/// A text as a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The value.
    pub value: Value,
    /// The paths of fields that are there more than once.
    pub duplicates: Vec<String>,
}

/// Reads a text; the error says what is wrong and where. Nesting is bounded.
pub fn parse(bytes: &[u8]) -> Result<Parsed, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Place { step: Step::Root, duplicates: &mut duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Parsed { value, duplicates })
}

/// The way to a value; it becomes text only where there is something to tell.
#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Index(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Place<'a> {
    step: Step<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let step = Step::Field(&self.step, &name);
            if fields.contains_key(&name) && self.duplicates.len() < DUPLICATES_MAX {
                self.duplicates.push(step.to_string());
            }
            let value = map.next_value_seed(Place { step, duplicates: self.duplicates })?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let step = Step::Index(&self.step, items.len());
            match list.next_element_seed(Place { step, duplicates: self.duplicates })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_json_is_and_tells_duplicates() {
        let parsed = parse(
            br#" {"a": [1, -2, 3.5, null, true, "x"], "b": {"c": 1, "c": 2}, "d": [{"e": 1, "e": {}}], "a": 7} "#,
        );
        let parsed = parsed.unwrap();
        assert_eq!(parsed.value, json!({"a": 7, "b": {"c": 2}, "d": [{"e": {}}]}));
        assert_eq!(parsed.duplicates, ["b.c", "d[0].e", "a"]);
        let text = r#"{"a": [1, -2, 3.5, null, true, "\u00e9"], "b": {}, "c": []}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_what_is_none_and_what_has_no_bottom() {
        let deep = "[".repeat(100_000);
        let objects = "{\"a\":".repeat(100_000);
        for text in ["", "{", "{} {}", "{a: 1}", "\"\\x\"", &deep, &objects] {
            assert!(parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(20)]);
        }
        assert!(parse(b"{\"a\": \"\xff\"}").is_err());
        let many = format!("{{{}}}", vec!["\"a\":1"; 1000].join(","));
        assert_eq!(parse(many.as_bytes()).unwrap().duplicates.len(), DUPLICATES_MAX);
    }
}
