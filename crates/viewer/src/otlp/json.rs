//! Reads an `ExportTraceServiceRequest` from OTLP/JSON, one span at a time.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Batch, Invalid, MAX_ORIGIN, MAX_SPAN};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_spans: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope_spans: Vec<&'a RawValue>,
    #[serde(default)]
    schema_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default)]
    spans: Vec<&'a RawValue>,
    #[serde(default)]
    schema_url: String,
}

/// Adds the spans of `request` to `batch`.
pub(super) fn read(request: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    let request: &RawValue = serde_json::from_slice(request).map_err(|error| Invalid(error.to_string()))?;
    let request: Request<'_> = parse(request)?;
    for (r, resource_spans) in request.resource_spans.into_iter().enumerate() {
        resource(resource_spans, batch).map_err(|error| within(&format!("resourceSpans[{r}]"), error))?;
    }
    Ok(())
}

fn resource(resource_spans: &RawValue, batch: &mut Batch) -> Result<(), Invalid> {
    let resource_spans: ResourceSpans<'_> = parse(resource_spans)?;
    let resource: Resource = origin(resource_spans.resource).map_err(|error| within(".resource", error))?;
    batch.resource(resource, resource_spans.schema_url)?;
    for (s, scope_spans) in resource_spans.scope_spans.into_iter().enumerate() {
        scope(scope_spans, batch).map_err(|error| within(&format!(".scopeSpans[{s}]"), error))?;
    }
    Ok(())
}

fn scope(scope_spans: &RawValue, batch: &mut Batch) -> Result<(), Invalid> {
    let scope_spans: ScopeSpans<'_> = parse(scope_spans)?;
    let scope: InstrumentationScope = origin(scope_spans.scope).map_err(|error| within(".scope", error))?;
    batch.scope(&scope, scope_spans.schema_url)?;
    for (i, span) in scope_spans.spans.into_iter().enumerate() {
        if span.get().len() > MAX_SPAN {
            batch.refused += 1;
        } else {
            parse(span).and_then(|span| batch.span(span)).map_err(|error| within(&format!(".spans[{i}]"), error))?;
        }
    }
    Ok(())
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
