//! Which fields of a request break their rules: collected, so that one answer names them all.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// A rule that a value breaks, in words for whoever sent it: `must be 6 to 128 characters`.
pub type Rule = &'static str;

/// Fields of a request break their rules; as a status it is INVALID_ARGUMENT with a `google.rpc.BadRequest`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.first().map_or_else(String::new, |first| format!("{} {}", first.field, first.description)))]
pub struct Invalid(Vec<FieldViolation>);

impl Invalid {
    /// One field, by its name in JSON, and its rule.
    pub fn field(field: &str, rule: &str) -> Self {
        Self(vec![FieldViolation::new(field, rule)])
    }
}

impl From<Invalid> for Status {
    /// The message names the first field: what a client that shows only the message needs.
    fn from(invalid: Invalid) -> Self {
        let message = invalid.to_string();
        Self::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(invalid.0))
    }
}

/// Collects the broken rules of one request.
///
/// ```
/// # use rpc::{Checks, Invalid, Rule};
/// # struct Range { from: u8, to: u8 }
/// fn range(from: Result<u8, Rule>, to: Result<u8, Rule>) -> Result<Range, Invalid> {
///     let mut checks = Checks::default();
///     let from = checks.field("from", from);
///     let to = checks.field("to", to);
///     checks.done(|| Some(Range { from: from?, to: to? }))
/// }
/// assert_eq!(range(Err("must be a number"), Ok(1)).err().unwrap().to_string(), "from must be a number");
/// ```
#[derive(Debug, Default)]
pub struct Checks {
    broken: Vec<FieldViolation>,
}

impl Checks {
    /// The value, or nothing if it breaks its rule, which is then remembered with the field's name in JSON.
    pub fn field<T>(&mut self, field: &str, checked: Result<T, Rule>) -> Option<T> {
        checked.map_err(|rule| self.broken.push(FieldViolation::new(field, rule))).ok()
    }

    /// What `make` makes of the values, if no rule was broken.
    pub fn done<T>(self, make: impl FnOnce() -> Option<T>) -> Result<T, Invalid> {
        if self.broken.is_empty() { make().ok_or(Invalid(self.broken)) } else { Err(Invalid(self.broken)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_told_and_the_first_one_in_words() {
        let mut checks = Checks::default();
        let name = checks.field("name", Err::<(), _>("must be short"));
        let mobile = checks.field("mobile", Err::<(), _>("must be digits"));
        let status = Status::from(checks.done(|| name.and(mobile)).unwrap_err());
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "name must be short"));
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["name", "mobile"]);
    }
}
