//! A page of `Key: value` rows, indented below their titles, values in one column.

use std::fmt;

use serde_json::Value;

use crate::template::plain;

const STEP: usize = 2;

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    rows: Vec<Row>,
    indent: usize,
}

#[derive(Clone, Debug)]
struct Row {
    indent: usize,
    key: String,
    value: String,
}

impl Page {
    /// `Key: value`.
    pub fn row(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        let value = if value.is_empty() { "<none>".to_owned() } else { value };
        self.rows.push(Row { indent: self.indent, key: format!("{key}:"), value });
    }

    /// `Key: value`, where there is a value.
    pub fn row_if(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.row(key, value);
        }
    }

    /// A line on its own, such as a command's word.
    pub fn line(&mut self, line: impl Into<String>) {
        self.rows.push(Row { indent: self.indent, key: line.into(), value: String::new() });
    }

    /// A title for what comes `inside`.
    pub fn title(&mut self, title: &str) {
        self.line(format!("{title}:"));
    }

    /// What `write` writes, further to the right.
    pub fn inside(&mut self, write: impl FnOnce(&mut Self)) {
        self.indent += STEP;
        write(self);
        self.indent -= STEP;
    }

    /// What another page says, at this depth.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows.into_iter().map(|row| Row { indent: row.indent + self.indent, ..row }));
    }

    /// A text of several lines.
    pub fn block(&mut self, key: &str, text: &str) {
        self.title(key);
        self.inside(|page| text.lines().for_each(|line| page.line(line)));
    }

    /// `Key: a=b`, the further pairs below it.
    pub fn pairs(&mut self, key: &str, map: Option<&Value>, without: &[&str]) {
        let map = map.and_then(Value::as_object);
        let shown = map.into_iter().flatten().filter(|(key, _)| !without.contains(&key.as_str()));
        let pairs: Vec<String> = shown.map(|(key, value)| format!("{key}={}", plain(value))).collect();
        self.list(key, &pairs);
    }

    /// `Key: value`, the further values below it.
    pub fn list(&mut self, key: &str, values: &[String]) {
        let mut values = values.iter();
        self.row(key, values.next().cloned().unwrap_or_default());
        for value in values {
            self.rows.push(Row { indent: self.indent, key: String::new(), value: value.clone() });
        }
    }

    /// All fields of an object, but for some, as titles and rows.
    pub fn fields(&mut self, object: &Value, without: &[&str]) {
        for (key, value) in object.as_object().into_iter().flatten() {
            if !without.contains(&key.as_str()) {
                self.field(&words(key), value);
            }
        }
    }

    fn field(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(map) if map.is_empty() => self.row(key, ""),
            Value::Object(_) => {
                self.title(key);
                self.inside(|page| page.fields(value, &[]));
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                self.title(key);
                self.inside(|page| items.iter().for_each(|item| page.item(item)));
            }
            Value::Array(items) => self.list(key, &items.iter().map(plain).collect::<Vec<_>>()),
            value => self.row(key, plain(value)),
        }
    }

    /// An item of a list: a dash before its first row.
    fn item(&mut self, item: &Value) {
        let first = self.rows.len();
        self.inside(|page| page.fields(item, &[]));
        if let Some(row) = self.rows.get_mut(first) {
            row.indent -= STEP;
            row.key = format!("- {}", row.key);
        }
    }
}

/// `clusterIP` as `Cluster IP`; keys that are no such names stay.
fn words(key: &str) -> String {
    if !key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return key.to_owned();
    }
    let mut out = String::new();
    let mut small = true;
    for (at, c) in key.chars().enumerate() {
        if c.is_uppercase() && small && at > 0 {
            out.push(' ');
        }
        small = !c.is_uppercase();
        out.push(if at == 0 { c.to_ascii_uppercase() } else { c });
    }
    out
}

impl fmt::Display for Page {
    /// Values stand in one column as long as rows follow one another at one depth.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.rows.chunk_by(|a, b| a.indent == b.indent);
        for group in groups {
            let widest = group.iter().filter(|row| !row.value.is_empty()).map(|row| row.key.chars().count()).max();
            let width = widest.unwrap_or_default();
            for Row { indent, key, value } in group {
                writeln!(f, "{}", format!("{:indent$}{key:<width$}  {value}", "").trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_object_becomes_a_page() {
        let object = json!({"spec": {"clusterIPs": ["1", "2"], "a": {}, "ports": [{"port": 80, "x": 1}, {"port": 81}]},
            "uid": "hidden", "n": 5});
        let mut page = Page::default();
        page.fields(&object, &["uid"]);
        let expected = "N:  5\nSpec:\n  A:            <none>\n  Cluster IPs:  1\n                2\n  Ports:\n    - Port:  80\n      X:     1\n    - Port:  81\n";
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect()).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&page.to_string()), sorted(expected), "{page}");
        assert_eq!(words("clusterIPs"), "Cluster IPs");
        assert_eq!(words("a.b/c"), "a.b/c");
    }
}
