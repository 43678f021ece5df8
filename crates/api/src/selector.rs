//! Label and field selectors: parsed from a query string or a `LabelSelector`, matched against maps.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::validate::names;

mod parse;
#[cfg(test)]
mod tests;

/// A parsed label selector; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub Vec<Requirement>);

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub operator: Operator,
}

/// What a requirement asks of a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// There, with one of these values.
    In(Vec<String>),
    /// Not there, or with none of these values.
    NotIn(Vec<String>),
    /// There.
    Exists,
    /// Not there.
    DoesNotExist,
    /// There, a number greater than this (node affinity only).
    GreaterThan(i64),
    /// There, a number less than this (node affinity only).
    LessThan(i64),
}

/// A parsed field selector: paths with the value they must, or must not, have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<FieldRequirement>);

/// One requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The dotted path, such as `spec.nodeName`.
    pub path: String,
    /// The value it is compared with.
    pub value: String,
    /// True for `=`, false for `!=`.
    pub equal: bool,
}

impl Labels {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`; the error names the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::labels(text).map(Self)
    }

    /// The selector of an object's spec; the empty one matches everything. The error names the requirement.
    pub fn from_selector(selector: &LabelSelector) -> Result<Self, String> {
        let labels = selector.match_labels.iter().flatten();
        let equal = labels.map(|(key, value)| Requirement::new(key, Operator::In(vec![value.clone()])));
        let expressions = selector.match_expressions.iter().flatten().map(Requirement::from_expression);
        equal.chain(expressions).collect::<Result<_, _>>().map(Self)
    }

    /// A selector that asks for these very labels (`Service.spec.selector`).
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let one = |(k, v): (&String, &String)| Requirement { key: k.clone(), operator: Operator::In(vec![v.clone()]) };
        Self(labels.iter().map(one).collect())
    }

    /// Whether `labels` fulfil every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// Whether the labels that `value` looks up fulfil every requirement.
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| r.operator.accepts(value(&r.key)))
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    /// A requirement whose key and values are labels'; the error tells what is not.
    fn new(key: &str, operator: Operator) -> Result<Self, String> {
        if let Some(fault) = names::qualified_name(key).into_iter().next() {
            return Err(format!("key: Invalid value: \"{key}\": {fault}"));
        }
        let operator = match operator {
            Operator::In(values) => Operator::In(checked(key, values)?),
            Operator::NotIn(values) => Operator::NotIn(checked(key, values)?),
            other => other,
        };
        Ok(Self { key: key.to_owned(), operator })
    }

    fn from_expression(expression: &LabelSelectorRequirement) -> Result<Self, String> {
        let values = expression.values.clone().unwrap_or_default();
        let operator = match expression.operator.as_str() {
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            "Exists" if values.is_empty() => Operator::Exists,
            "DoesNotExist" if values.is_empty() => Operator::DoesNotExist,
            "Exists" | "DoesNotExist" => {
                return Err("values: values set must be empty for exists and does not exist".into());
            }
            other => return Err(format!("\"{other}\" is not a valid label selector operator")),
        };
        Self::new(&expression.key, operator)
    }
}

/// The values of `in` and `notin`: sorted, once each, some.
fn checked(key: &str, mut values: Vec<String>) -> Result<Vec<String>, String> {
    if values.is_empty() {
        return Err("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".into());
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(fault) = names::label_value(value).into_iter().next() {
            return Err(format!("values[{index}][{key}]: Invalid value: \"{value}\": {fault}"));
        }
    }
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) => match values.as_slice() {
                [one] => write!(f, "{key}={one}"),
                more => write!(f, "{key} in ({})", more.join(",")),
            },
            Operator::NotIn(values) => match values.as_slice() {
                [one] => write!(f, "{key}!={one}"),
                more => write!(f, "{key} notin ({})", more.join(",")),
            },
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan(bound) => write!(f, "{key}>{bound}"),
            Operator::LessThan(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

impl Operator {
    /// Whether a label with this value (`None`: no such label) is accepted.
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let number = |v: Option<&str>| v.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(values) => value.is_none_or(|v| values.iter().all(|w| w != v)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::GreaterThan(bound) => number(value).is_some_and(|v| v > *bound),
            Self::LessThan(bound) => number(value).is_some_and(|v| v < *bound),
        }
    }
}

impl Fields {
    /// Parses `a.b=c,d!=e`; the error names the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::fields(text).map(Self)
    }

    /// Whether the fields that `value` looks up (missing ones are empty) fulfil every requirement.
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| (value(&r.path).unwrap_or_default() == r.value) == r.equal)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
