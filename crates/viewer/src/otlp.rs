//! Spans on their way in: OTLP of either encoding becomes a [`Batch`] of packed spans, whole or not at all.

pub(crate) mod grpc;
pub(crate) mod http;
mod json;
mod protobuf;
pub(crate) mod span;

use std::ops::Range;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::sync::RwLock;

use crate::model;
use crate::store::Store;

/// The largest span in bytes; larger ones are refused alone.
const MAX_SPAN: usize = 1 << 20;
/// The largest resource or scope in bytes; the message of a larger one is refused.
const MAX_ORIGIN: usize = 64 << 10;

/// What is wrong with a message; it is the client's fault and the text is for its eyes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

/// A span that is ready to be stored.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) trace: model::TraceId,
    pub(crate) id: u64,
    /// 0 when there is none.
    pub(crate) parent: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) kind: i32,
    /// Its part of [`Batch::names`].
    pub(crate) name: Range<usize>,
    /// Where it comes from: the number of a scope of its batch.
    pub(crate) scope: u32,
    /// Its part of [`Batch::bodies`].
    pub(crate) body: Range<usize>,
}

/// Where the spans of one message come from; spans refer to scopes and scopes to resources by number.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) resources: Vec<Arc<model::Resource>>,
    pub(crate) scopes: Vec<Arc<model::Scope>>,
}

/// The spans of one message.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) origins: Origins,
    pub(crate) spans: Vec<Packed>,
    /// The names of all spans, one after the other, so that a span needs no memory of its own.
    pub(crate) names: String,
    /// The spans as protobuf without all that is in [`Packed`].
    pub(crate) bodies: Vec<u8>,
    /// Spans that were too large.
    pub(crate) refused: u64,
}

impl Batch {
    /// Reads an `ExportTraceServiceRequest`.
    pub(crate) fn from_protobuf(message: &[u8]) -> Result<Self, Invalid> {
        let mut batch = Self::default();
        protobuf::read(message, &mut batch)?;
        Ok(batch)
    }

    /// Reads an `ExportTraceServiceRequest` written as OTLP/JSON.
    pub(crate) fn from_json(message: &[u8]) -> Result<Self, Invalid> {
        let mut batch = Self::default();
        json::read(message, &mut batch)?;
        Ok(batch)
    }

    /// Adds a resource; scopes that follow belong to it.
    fn resource(&mut self, mut resource: Resource, schema_url: String) -> Result<(), Invalid> {
        self.forget_unused();
        let service = service_name(&mut resource);
        let encoded = resource.encode_to_vec();
        if encoded.len() + schema_url.len() > MAX_ORIGIN {
            return Err(Invalid(format!("a resource is larger than {MAX_ORIGIN} bytes")));
        }
        self.origins.resources.push(Arc::new(model::Resource { service, schema_url, encoded }));
        Ok(())
    }

    /// Adds a scope of the last resource; spans that follow belong to it.
    fn scope(&mut self, scope: &InstrumentationScope, schema_url: String) -> Result<(), Invalid> {
        let encoded = scope.encode_to_vec();
        if encoded.len() + schema_url.len() > MAX_ORIGIN {
            return Err(Invalid(format!("a scope is larger than {MAX_ORIGIN} bytes")));
        }
        self.forget_unused_scope();
        let resource = self.origins.resources.len().saturating_sub(1) as u32;
        self.origins.scopes.push(Arc::new(model::Scope { resource, schema_url, encoded }));
        Ok(())
    }

    /// Drops the last scope if it has no span: millions of empty ones fit into a message.
    fn forget_unused_scope(&mut self) {
        if self.spans.last().is_none_or(|span| span.scope as usize + 1 < self.origins.scopes.len()) {
            self.origins.scopes.pop();
        }
    }

    fn forget_unused(&mut self) {
        self.forget_unused_scope();
        if self.origins.scopes.last().is_none_or(|scope| scope.resource as usize + 1 < self.origins.resources.len()) {
            self.origins.resources.pop();
        }
    }
}

/// The service that a resource names; one that names none gets the name that Jaeger gives it.
fn service_name(resource: &mut Resource) -> String {
    const KEY: &str = "service.name";
    let found = resource.attributes.iter_mut().find(|attribute| attribute.key == KEY);
    let name = match found.as_ref().map(|attribute| attribute.value.as_ref().and_then(|value| value.value.as_ref())) {
        Some(Some(Value::StringValue(name))) if !name.is_empty() => return name.clone(),
        Some(Some(Value::StringValue(_))) => "empty-service-name",
        Some(_) => "service-name-wrong-type",
        None => "missing-service-name",
    };
    let value = Some(AnyValue { value: Some(Value::StringValue(name.to_owned())) });
    match found {
        Some(attribute) => attribute.value = value,
        None => resource.attributes.push(KeyValue { key: KEY.to_owned(), value, ..Default::default() }),
    }
    name.to_owned()
}

/// Where both receivers put what they read.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) store: Arc<RwLock<Store>>,
    /// The largest message in bytes, after decompression.
    pub(crate) max_message: usize,
}

impl Sink {
    /// Stores the batch; says how many of its spans were not kept, and why.
    pub(crate) async fn put(&self, batch: Batch) -> Option<(u64, String)> {
        let refused = batch.refused;
        let cut = self.store.write().await.insert(&batch);
        let mut reasons = Vec::new();
        if refused > 0 {
            reasons.push(format!("{refused} spans are larger than {MAX_SPAN} bytes"));
        }
        if cut > 0 {
            reasons.push(format!("{cut} spans are too many for their trace"));
        }
        (!reasons.is_empty()).then(|| (refused + cut, reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests;
