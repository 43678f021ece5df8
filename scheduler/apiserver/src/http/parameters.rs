//! Query parameters that the API knows; others are left alone, as Kubernetes does.

use wherry_api::resource::FieldValidation;
use wherry_api::{Error, Reason};
use wherry_client::{ListOptions, WatchOptions};

use super::path::unescape;

/// The parameters of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(&key.replace('+', " ")), unescape(&value.replace('+', " ")))
        };
        Self(pairs.map(pair).collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1")
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Error::new(
                    Reason::BadRequest,
                    format!("{key}: Invalid value: \"{text}\": must be a whole number, 0 or more"),
                )
            }),
        }
    }

    pub(super) fn list(&self) -> Result<ListOptions, Error> {
        let limit = self.number("limit")?.unwrap_or(0);
        Ok(ListOptions {
            labels: self.get("labelSelector").to_owned(),
            fields: self.get("fieldSelector").to_owned(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            continue_token: self.get("continue").to_owned(),
        })
    }

    pub(super) fn watch(&self) -> WatchOptions {
        WatchOptions {
            labels: self.get("labelSelector").to_owned(),
            fields: self.get("fieldSelector").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            bookmarks: self.is_true("allowWatchBookmarks"),
        }
    }

    pub(super) fn dry_run(&self) -> Result<bool, Error> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Error::new(
                Reason::BadRequest,
                format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\""),
            )),
        }
    }

    pub(super) fn field_validation(&self) -> Result<FieldValidation, Error> {
        match self.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let message = format!(
                    "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Warn\", \"Strict\""
                );
                Err(Error::new(Reason::BadRequest, message))
            }
        }
    }
}
