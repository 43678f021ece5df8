//! Query parameters that the API knows; others are left alone, as Kubernetes does. What of them goes together follows
//! `k8s.io/apimachinery/pkg/apis/meta/internalversion/validation`.

use wherry_api::resource::FieldValidation;
use wherry_api::{Cause, Error, Reason, Revision};
use wherry_client::{ListOptions, WatchOptions};

use super::path::unescape;
use crate::registry::revision;

const NOT_OLDER: &str = "NotOlderThan";
const EXACT: &str = "Exact";

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

    /// Yes, no, or no word about it.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.has(key).then(|| self.is_true(key))
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(own, _)| own == key)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| bad(&format!("{key}: Invalid value: \"{text}\": must be a whole number, 0 or more"))),
        }
    }

    /// The revision that an answer must not be older than: 0 for any, none for the newest.
    pub(super) fn revision(&self) -> Result<Option<Revision>, Error> {
        revision(self.get("resourceVersion"))
    }

    /// A time that may be negative.
    pub(super) fn seconds(&self, key: &str) -> Result<Option<i64>, Error> {
        match self.get(key) {
            "" => Ok(None),
            text => {
                let fault = || bad(&format!("{key}: Invalid value: \"{text}\": must be a whole number"));
                text.parse().map(Some).map_err(|_| fault())
            }
        }
    }

    /// Which objects, and how many, are listed; and the revision that the answer must not be older than.
    pub(super) fn list(&self) -> Result<(ListOptions, Option<Revision>), Error> {
        let limit = self.number("limit")?.unwrap_or(0);
        let continue_token = self.get("continue").to_owned();
        let asked = self.revision()?;
        let wanted = asked.unwrap_or_default();
        let matching = self.get("resourceVersionMatch");
        check_list(self, wanted, matching)?;
        if !continue_token.is_empty() && wanted.0 > 0 {
            return Err(bad("specifying resource version is not allowed when using continue"));
        }
        // Without a word about it, a page is of the very revision, a whole list not older than it.
        let is_exact = matching == "Exact" || (matching.is_empty() && limit > 0);
        let options = ListOptions {
            labels: self.get("labelSelector").to_owned(),
            fields: self.get("fieldSelector").to_owned(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            continue_token,
            exactly: Some(wanted).filter(|wanted| is_exact && wanted.0 > 0),
        };
        Ok((options, asked))
    }

    /// What is watched; and the revision that must have been reached.
    pub(super) fn watch(&self) -> Result<(WatchOptions, Option<Revision>), Error> {
        check_watch(self)?;
        let options = WatchOptions {
            labels: self.get("labelSelector").to_owned(),
            fields: self.get("fieldSelector").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            bookmarks: self.is_true("allowWatchBookmarks"),
        };
        let wanted = revision(&options.resource_version)?;
        Ok((options, wanted))
    }

    pub(super) fn dry_run(&self) -> Result<bool, Error> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(bad(&format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\""))),
        }
    }

    pub(super) fn field_validation(&self) -> Result<FieldValidation, Error> {
        match self.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let supported = "supported values: \"Ignore\", \"Warn\", \"Strict\"";
                Err(bad(&format!("fieldValidation: Unsupported value: \"{other}\": {supported}")))
            }
        }
    }
}

fn check_list(parameters: &Parameters, wanted: Revision, matching: &str) -> Result<(), Error> {
    let (given, is_any) = (!parameters.get("resourceVersion").is_empty(), wanted.0 == 0);
    if parameters.has("sendInitialEvents") {
        return Err(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    match matching {
        "" => Ok(()),
        _ if !given => Err(forbidden(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided")),
        _ if !parameters.get("continue").is_empty() => {
            Err(forbidden(MATCH, "resourceVersionMatch is forbidden for continue"))
        }
        EXACT if is_any => {
            Err(forbidden(MATCH, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
        }
        EXACT | NOT_OLDER => Ok(()),
        other => Err(unsupported(MATCH, other, "\"\", \"Exact\", \"NotOlderThan\"")),
    }
}

fn check_watch(parameters: &Parameters) -> Result<(), Error> {
    let initial = parameters.has("sendInitialEvents");
    match parameters.get(MATCH) {
        "" if initial => {
            Err(forbidden(MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
        }
        "" => Ok(()),
        _ if !initial => {
            Err(forbidden(MATCH, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        }
        NOT_OLDER => Ok(()),
        other => Err(unsupported(MATCH, other, "\"NotOlderThan\"")),
    }
}

const MATCH: &str = "resourceVersionMatch";

fn bad(sentence: &str) -> Error {
    Error::new(Reason::BadRequest, sentence)
}

fn forbidden(field: &'static str, why: &str) -> Error {
    invalid("ListOptions", "FieldValueForbidden", field, format!("Forbidden: {why}"))
}

fn unsupported(field: &'static str, value: &str, supported: &str) -> Error {
    let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
    invalid("ListOptions", "FieldValueNotSupported", field, message)
}

/// The 422 of options that are not valid.
pub(super) fn invalid(kind: &str, reason: &'static str, field: &str, message: String) -> Error {
    let sentence = format!("{kind}.meta.k8s.io \"\" is invalid: {field}: {message}");
    let mut error = Error::new(Reason::Invalid, sentence).about("meta.k8s.io", kind, "");
    error.causes = vec![Cause { reason, field: field.to_owned(), message }];
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (query, expected) in [
            ("", None),
            ("resourceVersion=0", None),
            ("resourceVersion=7&resourceVersionMatch=Exact", None),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan&limit=3", None),
            ("continue=x&resourceVersion=0", None),
            ("resourceVersionMatch=Exact", Some(Reason::Invalid)),
            ("resourceVersion=0&resourceVersionMatch=Exact", Some(Reason::Invalid)),
            ("resourceVersion=7&resourceVersionMatch=Frob", Some(Reason::Invalid)),
            ("sendInitialEvents=true", Some(Reason::Invalid)),
            ("continue=x&resourceVersion=7", Some(Reason::BadRequest)),
            ("resourceVersion=x", Some(Reason::BadRequest)),
            ("limit=-1", Some(Reason::BadRequest)),
            ("limit=99999999999999999999", Some(Reason::BadRequest)),
        ] {
            let found = Parameters::parse(query).list().err().map(|error| error.reason);
            assert_eq!(found, expected, "list {query}");
        }
        for (query, expected) in [
            ("resourceVersion=7", None),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", None),
            ("sendInitialEvents=true", Some(Reason::Invalid)),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", Some(Reason::Invalid)),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", Some(Reason::Invalid)),
        ] {
            let found = Parameters::parse(query).watch().err().map(|error| error.reason);
            assert_eq!(found, expected, "watch {query}");
        }
    }

    #[test]
    fn a_page_is_of_the_very_revision() {
        for (query, expected) in [
            ("resourceVersion=7", None),
            ("resourceVersion=7&limit=2", Some(Revision(7))),
            ("resourceVersion=7&limit=2&resourceVersionMatch=NotOlderThan", None),
            ("resourceVersion=7&resourceVersionMatch=Exact", Some(Revision(7))),
            ("resourceVersion=0&limit=2", None),
        ] {
            assert_eq!(Parameters::parse(query).list().unwrap().0.exactly, expected, "{query}");
        }
    }
}
