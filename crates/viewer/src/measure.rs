//! The store without the network, as `benches/store.rs` measures it and `make fuzz` feeds it; nobody else should use this.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::HttpBody as _;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::api;
use crate::model::Stored;
use crate::otlp::{self, Batch};
use crate::store::Store;

/// Whether a span is here what it is to prost.
pub fn is_read_alike(span: &[u8]) -> bool {
    let there = Span::decode(span).ok();
    let mut batch = Batch::default();
    let read = otlp::span::read(span, &mut batch).map(|()| batch.spans.pop());
    let Ok(Some(packed)) = read else {
        // Of what prost reads, ids are refused that are none.
        let is_id = |id: &[u8], bytes| id.len() == bytes && id.iter().any(|byte| *byte != 0);
        let is_parent = |id: &[u8]| matches!(id.len(), 0 | 8);
        return there
            .is_none_or(|it| !is_id(&it.trace_id, 16) || !is_id(&it.span_id, 8) || !is_parent(&it.parent_span_id));
    };
    let here = Stored {
        resource: Arc::default(),
        scope: Arc::default(),
        name: batch.names,
        kind: packed.kind,
        id: packed.id,
        parent: packed.parent,
        start: packed.start,
        end: packed.end,
        body: batch.bodies,
    };
    // A parent that is all zeros is none.
    let there =
        there.map(|it| if it.parent_span_id == [0; 8] { Span { parent_span_id: Vec::new(), ..it } } else { it });
    // Encoded, for a number that is none is not like itself.
    there.is_some_and(|there| there.encode_to_vec() == here.decode(packed.trace).encode_to_vec())
}

/// A store of traces.
#[derive(Debug)]
pub struct Measured(Store);

impl Measured {
    /// An empty store of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Store::new(limit))
    }

    /// Stores an OTLP message; answers whether it could be read.
    pub fn ingest(&mut self, message: &[u8]) -> bool {
        Batch::from_protobuf(message).map(|batch| self.0.insert(&batch)).is_ok()
    }

    /// The same for one in JSON.
    pub fn ingest_json(&mut self, message: &[u8]) -> bool {
        Batch::from_json(message).map(|batch| self.0.insert(&batch)).is_ok()
    }

    /// Searches as `GET /api/traces` does; answers the bytes of the answer, if the question is right.
    pub fn search(&self, uri: &str) -> Option<u64> {
        api::search_now(&self.0, &uri.parse().ok()?)?.body().size_hint().exact()
    }

    /// How many traces there are.
    pub fn traces(&self) -> usize {
        self.0.stats().traces.load(Relaxed) as usize
    }

    /// How many bytes the store says that it takes.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
