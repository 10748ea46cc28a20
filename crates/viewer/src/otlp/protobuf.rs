//! Reads an `ExportTraceServiceRequest` from protobuf, one span at a time.

use prost::{DecodeError, Message};

use super::{Batch, Invalid, MAX_ORIGIN, MAX_SPAN, span};
use crate::wire::{Malformed, field, fields};

impl From<Malformed> for Invalid {
    fn from(error: Malformed) -> Self {
        Self(error.to_string())
    }
}

impl From<DecodeError> for Invalid {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

/// Adds the spans of `request` to `batch`. A field may come before or after those it belongs to.
pub(super) fn read(request: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    const RESOURCE_SPANS: u32 = 1;
    for element in fields(request) {
        let (RESOURCE_SPANS, resource_spans) = element? else { continue };
        batch.resource(origin(resource_spans)?, schema_url(resource_spans)?)?;
        scopes(resource_spans, batch)?;
    }
    Ok(())
}

fn scopes(resource_spans: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    const SCOPE_SPANS: u32 = 2;
    const SPANS: u32 = 2;
    for element in fields(resource_spans) {
        let (SCOPE_SPANS, scope_spans) = element? else { continue };
        batch.scope(&origin(scope_spans)?, schema_url(scope_spans)?)?;
        for element in fields(scope_spans) {
            match element? {
                (SPANS, span) if span.len() > MAX_SPAN => batch.refused += 1,
                (SPANS, span) => span::read(span, batch)?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// The resource of a `ResourceSpans` or the scope of a `ScopeSpans`: field 1 of both.
fn origin<M: Message + Default>(message: &[u8]) -> Result<M, Invalid> {
    let encoded = field(message, 1).unwrap_or_default();
    if encoded.len() > MAX_ORIGIN {
        return Err(Invalid(format!("a resource or scope is larger than {MAX_ORIGIN} bytes")));
    }
    Ok(M::decode(encoded)?)
}

/// Field 3 of both.
fn schema_url(message: &[u8]) -> Result<String, Invalid> {
    let encoded = field(message, 3).unwrap_or_default();
    String::from_utf8(encoded.to_vec()).map_err(|_| Invalid("a schema URL is no UTF-8".to_owned()))
}
