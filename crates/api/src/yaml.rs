//! YAML as kubectl reads it (YAML 1.1 numbers and booleans, several documents), and writes it.
//!
//! Bombs and bottomless nesting are refused by the parser's budget; duplicate keys are errors.

use serde_json::Value;

/// Why a text is no YAML: what is wrong and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// The documents of a text, empty ones left out.
pub fn parse(text: &str) -> Result<Vec<Value>, YamlError> {
    let documents: Vec<Value> =
        serde_yaml::from_multiple_with_options(text, kubectl_dialect()).map_err(|e| YamlError(e.to_string()))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// One object as YAML.
pub fn print(value: &Value) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|e| YamlError(e.to_string()))
}

fn kubectl_dialect() -> serde_yaml::Options {
    serde_yaml::options! { legacy_octal_numbers: true, strict_booleans: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_kubectls_dialect() {
        let text = "a: 0644\nb: yes\nc: \"yes\"\nd: 1_000\n---\n---\nx: [1, 2]\n";
        assert_eq!(parse(text).unwrap(), [json!({"a": 420, "b": true, "c": "yes", "d": 1000}), json!({"x": [1, 2]})]);
    }

    #[test]
    fn refuses_what_is_no_yaml() {
        let bomb = (0..12).fold("a0: &a0 [x]\n".to_owned(), |text, i| {
            let row = vec![format!("*a{i}"); 12].join(", ");
            text + &format!("a{}: &a{} [{row}]\n", i + 1, i + 1)
        });
        for text in ["a: [", "a: 1\na: 2", "{{ template }}: x: y", &"[".repeat(100_000), &bomb] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
