//! What is searched for, and whether a stored span is that.

use std::ops::RangeInclusive;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};
use prost::Message as _;

use super::segment::{Entry, Operation, Record, Segment};
use crate::model::{Resource, Scope, kind_name, text};
use crate::wire::{field, fields};

/// The most tags of a query: each is one bit of a mask.
pub(crate) const MAX_TAGS: usize = u64::BITS as usize;

// The numbers of fields in OTLP's messages.
const RESOURCE_ATTRIBUTES: u32 = 1;
const SCOPE_NAME: u32 = 1;
const SCOPE_VERSION: u32 = 2;
const SCOPE_ATTRIBUTES: u32 = 3;
const SPAN_ATTRIBUTES: u32 = 9;
const SPAN_EVENTS: u32 = 11;
const SPAN_STATUS: u32 = 15;
const EVENT_NAME: u32 = 2;
const EVENT_ATTRIBUTES: u32 = 3;

/// A search; a trace is found if one of its spans has everything that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The name of the span's service.
    pub(crate) service: Option<String>,
    /// The span's name.
    pub(crate) operation: Option<String>,
    /// At most [`MAX_TAGS`].
    pub(crate) tags: Vec<Tag>,
    /// When the span started, in nanoseconds since 1970.
    pub(crate) start: RangeInclusive<u64>,
    /// How long it took, in nanoseconds.
    pub(crate) duration: RangeInclusive<u64>,
    /// The most traces to find.
    pub(crate) limit: usize,
}

/// An attribute of the span, of one of its events, or of its resource or scope; or what Jaeger shows as if it were one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) key: String,
    /// As text, whatever its type.
    pub(crate) value: String,
}

impl Query {
    /// For each operation of the segment `None` if its spans cannot match, or else the tags that all its spans have,
    /// a bit each.
    pub(super) fn candidates(&self, segment: &Segment) -> Vec<Option<u64>> {
        let origins: Vec<Option<u64>> = segment
            .scopes
            .iter()
            .map(|scope| {
                let resource = &segment.resources[scope.resource as usize];
                let wanted = self.service.as_ref().is_none_or(|service| *service == resource.service);
                wanted.then(|| self.mask(|tag| tag.is_of_origin(resource, scope)))
            })
            .collect();
        let candidate = |operation: &Operation| {
            let origin = origins[operation.scope as usize]?;
            let wanted = self.operation.as_deref().is_none_or(|name| name == &*operation.name);
            wanted.then(|| origin | self.mask(|tag| tag.is("span.kind", kind_name(operation.kind))))
        };
        segment.operations.iter().map(candidate).collect()
    }

    fn mask(&self, is_set: impl Fn(&Tag) -> bool) -> u64 {
        let set = self.tags.iter().take(MAX_TAGS).enumerate().filter(|(_, tag)| is_set(tag));
        set.fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// Whether a trace can have a span that starts when it should.
    pub(super) fn overlaps(&self, entry: &Entry) -> bool {
        entry.start <= *self.start.end() && entry.latest >= *self.start.start()
    }

    /// Whether a span of a candidate matches; tags whose bit is set in `satisfied` need no look.
    pub(super) fn matches(&self, span: &Record<'_>, satisfied: u64) -> bool {
        self.start.contains(&span.start)
            && self.duration.contains(&span.end.saturating_sub(span.start))
            && self.tags.iter().enumerate().all(|(bit, tag)| satisfied & 1 << bit != 0 || tag.is_of_span(span.body))
    }
}

impl Tag {
    fn is(&self, key: &str, value: &str) -> bool {
        self.key == key && self.value == value
    }

    fn is_of_origin(&self, resource: &Resource, scope: &Scope) -> bool {
        let is_field = |key: &str, number| {
            self.key == key && field(&scope.encoded, number).is_some_and(|value| value == self.value.as_bytes())
        };
        self.is_among(&resource.encoded, RESOURCE_ATTRIBUTES)
            || self.is_among(&scope.encoded, SCOPE_ATTRIBUTES)
            || is_field("otel.scope.name", SCOPE_NAME)
            || is_field("otel.scope.version", SCOPE_VERSION)
    }

    fn is_of_span(&self, span: &[u8]) -> bool {
        self.is_among(span, SPAN_ATTRIBUTES) || self.is_status(span) || self.is_of_event(span)
    }

    fn is_of_event(&self, span: &[u8]) -> bool {
        fields(span).flatten().filter(|(number, _)| *number == SPAN_EVENTS).any(|(_, event)| {
            let is_name = || field(event, EVENT_NAME).is_some_and(|name| name == self.value.as_bytes());
            self.is_among(event, EVENT_ATTRIBUTES) || self.key == "event" && is_name()
        })
    }

    fn is_status(&self, span: &[u8]) -> bool {
        if !matches!(self.key.as_str(), "error" | "otel.status_code" | "otel.status_description") {
            return false;
        }
        let status = Status::decode(field(span, SPAN_STATUS).unwrap_or_default()).unwrap_or_default();
        let code = match status.code() {
            StatusCode::Unset => "",
            StatusCode::Ok => "OK",
            StatusCode::Error => "ERROR",
        };
        self.is("error", if code == "ERROR" { "true" } else { "false" })
            || self.is("otel.status_code", code)
            || !status.message.is_empty() && self.is("otel.status_description", &status.message)
    }

    /// Whether one of the attributes in field `number` of `message` is this tag.
    fn is_among(&self, message: &[u8], number: u32) -> bool {
        fields(message).flatten().any(|(found, attribute)| found == number && self.is_attribute(attribute))
    }

    fn is_attribute(&self, attribute: &[u8]) -> bool {
        const KEY: u32 = 1;
        const VALUE: u32 = 2;
        const STRING: u32 = 1;
        if field(attribute, KEY) != Some(self.key.as_bytes()) {
            return false;
        }
        let value = field(attribute, VALUE).unwrap_or_default();
        match field(value, STRING) {
            Some(value) => value == self.value.as_bytes(),
            None => AnyValue::decode(value).is_ok_and(|value| text(&value) == self.value),
        }
    }
}
