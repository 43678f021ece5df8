//! Configmaps and secrets, and the files that they are made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use wherry_api::well_known::TLS_SECRET;

use super::{object, with};
use crate::args::DataArgs;

type Entries = BTreeMap<String, Vec<u8>>;

/// What literals and files say.
pub fn entries(args: &DataArgs) -> anyhow::Result<Entries> {
    let mut entries = Entries::new();
    let mut add = |key: String, value: Vec<u8>| match entries.insert(key.clone(), value) {
        Some(_) => bail!("cannot add key {key}, another key by that name already exists"),
        None => Ok(()),
    };
    for (key, value) in &args.literals {
        add(key.clone(), value.clone().into_bytes())?;
    }
    for source in &args.files {
        match source.split_once('=') {
            Some((key, path)) => add(key.to_owned(), read(Path::new(path))?)?,
            None if Path::new(source).is_dir() => {
                for file in fs::read_dir(source).with_context(|| format!("cannot read {source}"))? {
                    let path = file?.path();
                    if path.is_file() {
                        add(file_name(&path)?, read(&path)?)?;
                    }
                }
            }
            None => add(file_name(Path::new(source))?, read(Path::new(source))?)?,
        }
    }
    Ok(entries)
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} gives no key; write KEY={0}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What is no text goes to `binaryData`.
pub fn config_map(name: &str, entries: Entries) -> Value {
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, value) in entries {
        match String::from_utf8(value) {
            Ok(text) => data.insert(key, text.into()),
            Err(error) => binary.insert(key, BASE64_STANDARD.encode(error.as_bytes()).into()),
        };
    }
    let fields = [("data", data), ("binaryData", binary)].into_iter().filter(|(_, entries)| !entries.is_empty());
    fields.fold(object("v1", "ConfigMap", name), |object, (field, entries)| with(object, field, entries.into()))
}

/// A secret, Opaque where there is no type.
pub fn secret(name: &str, kind: Option<&str>, entries: Entries) -> Value {
    let encode = |(key, value): (String, Vec<u8>)| (key, Value::from(BASE64_STANDARD.encode(value)));
    let data: Map<String, Value> = entries.into_iter().map(encode).collect();
    let object = with(object("v1", "Secret", name), "type", kind.unwrap_or("Opaque").into());
    if data.is_empty() { object } else { with(object, "data", data.into()) }
}

/// A certificate and its key.
pub fn tls_secret(name: &str, certificate: &Path, key: &Path) -> anyhow::Result<Value> {
    let entries = [("tls.crt".to_owned(), read(certificate)?), ("tls.key".to_owned(), read(key)?)];
    Ok(secret(name, Some(TLS_SECRET), entries.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let entries = Entries::from([("a".to_owned(), b"text".to_vec()), ("b".to_owned(), vec![0xff])]);
        let made = config_map("m", entries.clone());
        assert_eq!((&made["data"], &made["binaryData"]), (&json!({"a": "text"}), &json!({"b": "/w=="})));
        assert_eq!(secret("s", None, entries)["data"], json!({"a": "dGV4dA==", "b": "/w=="}));
    }
}
