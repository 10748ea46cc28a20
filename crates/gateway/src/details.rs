//! The details of a refusal as the JSON of the `google.rpc` messages that they are.

use std::time::Duration;

use serde_json::{Value, json};
use tonic_types::ErrorDetail;

/// The whole seconds after which the caller may try again, if the service says so.
pub(crate) fn retry_after(details: &[ErrorDetail]) -> Option<u64> {
    let delay = details.iter().find_map(|detail| match detail {
        ErrorDetail::RetryInfo(retry) => retry.retry_delay,
        _ => None,
    })?;
    Some(delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
}

/// A detail as `google.protobuf.Any` in JSON; `None` for what is not for clients.
pub(crate) fn to_json(detail: ErrorDetail) -> Option<Value> {
    let (name, mut value) = match detail {
        ErrorDetail::RetryInfo(it) => ("RetryInfo", json!({ "retryDelay": it.retry_delay.map(seconds) })),
        ErrorDetail::ErrorInfo(it) => {
            ("ErrorInfo", json!({ "reason": it.reason, "domain": it.domain, "metadata": it.metadata }))
        }
        ErrorDetail::PreconditionFailure(it) => {
            let violations = it.violations.into_iter();
            let violations =
                violations.map(|it| json!({ "type": it.r#type, "subject": it.subject, "description": it.description }));
            ("PreconditionFailure", json!({ "violations": violations.collect::<Value>() }))
        }
        ErrorDetail::BadRequest(it) => {
            let violations = it.field_violations.into_iter();
            let violations = violations.map(|it| json!({ "field": it.field, "description": it.description }));
            ("BadRequest", json!({ "fieldViolations": violations.collect::<Value>() }))
        }
        // No service sends others, and DebugInfo has stack traces.
        _ => return None,
    };
    value["@type"] = format!("type.googleapis.com/google.rpc.{name}").into();
    Some(value)
}

/// A duration in the JSON of `google.protobuf.Duration`: `1.500s`.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_name_their_type_and_their_fields_in_camel_case() {
        let violation = tonic_types::FieldViolation::new("mobile", "5 to 15 digits");
        let detail = ErrorDetail::BadRequest(tonic_types::BadRequest::new([violation]));
        let expected = json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": "mobile", "description": "5 to 15 digits" }],
        });
        assert_eq!(to_json(detail), Some(expected));
    }

    #[test]
    fn retries_are_in_whole_seconds_rounded_up() {
        let detail = ErrorDetail::RetryInfo(tonic_types::RetryInfo::new(Some(Duration::from_millis(1500))));
        assert_eq!(retry_after(std::slice::from_ref(&detail)), Some(2));
        assert_eq!(to_json(detail).unwrap()["retryDelay"], "1.500s");
        assert_eq!(retry_after(&[]), None);
    }

    #[test]
    fn what_is_for_developers_of_the_service_stays_inside() {
        let debug = tonic_types::DebugInfo::new(["main.rs:1".to_owned()], "panic");
        assert_eq!(to_json(ErrorDetail::DebugInfo(debug)), None);
    }
}
