//! How a deletion is asked for: `DeleteOptions` in the body, or in the query where there is no body. Follows
//! `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.

use serde_json::Value;
use wherry_api::{Error, Reason};
use wherry_client::{DeleteOptions, Precondition, Propagation};

use super::body;
use super::parameters::{Parameters, invalid};

const KIND: &str = "DeleteOptions";

/// What is asked, and whether nothing is to change.
pub(super) fn options(
    parameters: &Parameters,
    content_type: &str,
    body: &[u8],
) -> Result<(DeleteOptions, bool), Error> {
    let body = if body.is_empty() { Value::Null } else { body::object(content_type, body)?.value };
    check(&body)?;
    let seconds = match body.get("gracePeriodSeconds") {
        None | Some(Value::Null) => parameters.seconds("gracePeriodSeconds")?,
        Some(value) => Some(value.as_i64().ok_or_else(|| bad("gracePeriodSeconds must be a whole number"))?),
    };
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let precondition =
        Precondition { uid: text("/preconditions/uid"), resource_version: text("/preconditions/resourceVersion") };
    let options =
        DeleteOptions { grace_period_seconds: seconds, propagation: propagation(parameters, &body)?, precondition };
    Ok((options, dry_run(&body)? || parameters.dry_run()?))
}

fn check(body: &Value) -> Result<(), Error> {
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_options = matches!(text("kind"), "" | KIND);
    if !(body.is_null() || body.is_object()) || !is_options {
        return Err(bad("the body of a deletion must be DeleteOptions"));
    }
    Ok(())
}

fn dry_run(body: &Value) -> Result<bool, Error> {
    match body.get("dryRun") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Array(values)) => match values.iter().find(|value| value.as_str() != Some("All")) {
            None => Ok(!values.is_empty()),
            Some(other) => Err(unsupported("dryRun", other, "\"All\"")),
        },
        Some(_) => Err(bad("dryRun must be a list")),
    }
}

fn propagation(parameters: &Parameters, body: &Value) -> Result<Propagation, Error> {
    let policy = body.get("propagationPolicy").and_then(Value::as_str).filter(|policy| !policy.is_empty());
    let policy = policy.unwrap_or_else(|| parameters.get("propagationPolicy"));
    let orphan = match body.get("orphanDependents").and_then(Value::as_bool) {
        None if parameters.get("orphanDependents").is_empty() => None,
        None => Some(parameters.is_true("orphanDependents")),
        given => given,
    };
    match (policy, orphan) {
        ("", Some(true)) | ("Orphan", None) => Ok(Propagation::Orphan),
        ("", _) | ("Background", None) => Ok(Propagation::Background),
        ("Foreground", None) => Ok(Propagation::Foreground),
        ("Orphan" | "Background" | "Foreground", Some(_)) => {
            let why = "Invalid value: \"".to_owned()
                + policy
                + "\": orphanDependents and deletionPropagation cannot be both set";
            Err(invalid(KIND, "FieldValueInvalid", "propagationPolicy", why))
        }
        (other, _) => {
            Err(unsupported("propagationPolicy", &other.into(), "\"Foreground\", \"Background\", \"Orphan\""))
        }
    }
}

fn bad(sentence: &str) -> Error {
    Error::new(Reason::BadRequest, sentence)
}

fn unsupported(field: &str, value: &Value, supported: &str) -> Error {
    let message = format!("Unsupported value: {value}: supported values: {supported}");
    invalid(KIND, "FieldValueNotSupported", field, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, body: &str, expected: Result<(Option<i64>, Propagation, bool), Reason>) {
        let found = options(&Parameters::parse(query), "application/json", body.as_bytes());
        let found = found.map(|(options, dry)| (options.grace_period_seconds, options.propagation, dry));
        assert_eq!(found.map_err(|error| error.reason), expected, "{query:?} {body}");
    }

    #[test]
    fn options_come_from_body_or_query() {
        use Propagation::{Background, Foreground, Orphan};
        check("", "", Ok((None, Background, false)));
        check("gracePeriodSeconds=3&dryRun=All", "", Ok((Some(3), Background, true)));
        check("gracePeriodSeconds=3", r#"{"gracePeriodSeconds": 0}"#, Ok((Some(0), Background, false)));
        check("", r#"{"dryRun": ["All"], "propagationPolicy": "Foreground"}"#, Ok((None, Foreground, true)));
        check("propagationPolicy=Orphan", "{}", Ok((None, Orphan, false)));
        check("", r#"{"orphanDependents": true}"#, Ok((None, Orphan, false)));
        check("", r#"{"orphanDependents": false}"#, Ok((None, Background, false)));
        check("", r#"{"kind": "Pod"}"#, Err(Reason::BadRequest));
        check("", "[]", Err(Reason::BadRequest));
        check("", r#"{"gracePeriodSeconds": "x"}"#, Err(Reason::BadRequest));
        check("", r#"{"dryRun": ["Some"]}"#, Err(Reason::Invalid));
        check("", r#"{"propagationPolicy": "Frob"}"#, Err(Reason::Invalid));
        check("", r#"{"propagationPolicy": "Orphan", "orphanDependents": true}"#, Err(Reason::Invalid));
    }
}
