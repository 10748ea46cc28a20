//! Reads an `ExportTraceServiceRequest` from OTLP/JSON, one span at a time.

use std::fmt;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Batch, Invalid, MAX_ORIGIN, MAX_SPAN, span};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_spans: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope_spans: Option<&'a RawValue>,
    #[serde(default)]
    schema_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default)]
    spans: Option<&'a RawValue>,
    #[serde(default)]
    schema_url: String,
}

/// Adds the spans of `request` to `batch`.
pub(super) fn read(request: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    let request: &RawValue = serde_json::from_slice(request).map_err(|error| Invalid(error.to_string()))?;
    let request: Request<'_> = parse(request)?;
    each("resourceSpans", request.resource_spans, |resource_spans| resource(resource_spans, batch))
}

fn resource(resource_spans: &RawValue, batch: &mut Batch) -> Result<(), Invalid> {
    let resource_spans: ResourceSpans<'_> = parse(resource_spans)?;
    let resource: Resource = origin(resource_spans.resource).map_err(|error| within(".resource", error))?;
    batch.resource(resource, resource_spans.schema_url)?;
    each(".scopeSpans", resource_spans.scope_spans, |scope_spans| scope(scope_spans, batch))
}

fn scope(scope_spans: &RawValue, batch: &mut Batch) -> Result<(), Invalid> {
    let scope_spans: ScopeSpans<'_> = parse(scope_spans)?;
    let scope: InstrumentationScope = origin(scope_spans.scope).map_err(|error| within(".scope", error))?;
    batch.scope(&scope, scope_spans.schema_url)?;
    each(".spans", scope_spans.spans, |span| {
        if span.get().len() > MAX_SPAN {
            batch.refused += 1;
            return Ok(());
        }
        parse(span).and_then(|span: Span| span::read(&span.encode_to_vec(), batch))
    })
}

/// Reads the elements of an array, none of which is kept: a list of them could take eight times the message.
fn each(
    name: &str,
    array: Option<&RawValue>,
    read: impl FnMut(&RawValue) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    struct Elements<F> {
        read: F,
        failed: Option<(usize, Invalid)>,
    }

    impl<'de, F: FnMut(&RawValue) -> Result<(), Invalid>> Visitor<'de> for &mut Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
            let mut index = 0;
            while let Some(element) = array.next_element::<&RawValue>()? {
                if let Err(error) = (self.read)(element) {
                    self.failed = Some((index, error));
                    return Err(A::Error::custom("told in `failed`"));
                }
                index += 1;
            }
            Ok(())
        }
    }

    let Some(array) = array else { return Ok(()) };
    let mut elements = Elements { read, failed: None };
    let done = serde_json::Deserializer::from_str(array.get()).deserialize_seq(&mut elements);
    match (elements.failed, done) {
        (Some((index, error)), _) => Err(within(&format!("{name}[{index}]"), error)),
        (None, Err(error)) => Err(within(name, Invalid(error.to_string()))),
        (None, Ok(())) => Ok(()),
    }
}

fn origin<T: DeserializeOwned + Default>(value: Option<&RawValue>) -> Result<T, Invalid> {
    match value {
        Some(value) if value.get().len() > MAX_ORIGIN => Err(Invalid(format!("larger than {MAX_ORIGIN} bytes"))),
        Some(value) => parse(value),
        None => Ok(T::default()),
    }
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T, Invalid> {
    // serde would take an array for a struct, too.
    if !value.get().starts_with('{') {
        return Err(Invalid("expected an object".to_owned()));
    }
    serde_json::from_str(value.get()).map_err(|error| Invalid(error.to_string()))
}

/// Says in which element of the message the error is.
fn within(element: &str, Invalid(error): Invalid) -> Invalid {
    let joint = if error.starts_with('.') { "" } else { ": " };
    Invalid(format!("{element}{joint}{error}"))
}
