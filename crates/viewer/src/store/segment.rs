//! A piece of the store that is filled once and dropped whole: a log of spans and the dictionaries they share.

use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;

use bytes::Buf;
use indexmap::{Equivalent, IndexSet};

use crate::model::{Resource, Scope, TraceId};
use crate::otlp::{Batch, Origins, Packed};

/// Bytes of a span in the log beside its body.
pub(super) const HEADER: usize = 5 * 8 + 2 * 4;

/// Where a span is: the number of its segment and its offset there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// What spans are called and where they come from.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Operation {
    pub(super) scope: u32,
    pub(super) kind: i32,
    pub(super) name: Box<str>,
}

/// An [`Operation`] to look for, with the same hash.
#[derive(Hash)]
struct Called<'a> {
    scope: u32,
    kind: i32,
    name: &'a str,
}

impl Equivalent<Operation> for Called<'_> {
    fn equivalent(&self, other: &Operation) -> bool {
        (self.scope, self.kind, self.name) == (other.scope, other.kind, &*other.name)
    }
}

/// A trace whose first span is in this segment.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TraceId,
    /// Its newest span.
    pub(super) last: Option<Position>,
    /// The earliest start of its spans.
    pub(super) start: u64,
    /// The latest start of its spans.
    pub(super) latest: u64,
    pub(super) bytes: u32,
    pub(super) cut: u32,
}

/// A span in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// The span of the same trace that came before it.
    pub(super) previous: Option<Position>,
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) operation: u32,
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The same for a span that came twice: an exporter that gets no answer sends again.
    pub(super) fn identity(&self) -> (u64, u64, u64, &'a [u8]) {
        (self.id, self.start, self.end, self.body)
    }
}

/// The resources and so on of one batch that this segment has already, by their number in the origins.
#[derive(Default)]
pub(super) struct Known {
    resources: Vec<Option<u32>>,
    scopes: Vec<Option<u32>>,
}

#[derive(Debug)]
pub(super) struct Segment {
    log: Vec<u8>,
    pub(super) resources: IndexSet<Arc<Resource>>,
    pub(super) scopes: IndexSet<Arc<Scope>>,
    pub(super) operations: IndexSet<Operation>,
    pub(super) entries: Vec<Entry>,
    /// Bytes that the elements of the dictionaries point to.
    text: usize,
}

impl Segment {
    /// An empty segment that writes into `log`, which never grows.
    pub(super) fn new(mut log: Vec<u8>) -> Self {
        log.clear();
        let (resources, scopes, operations) = Default::default();
        Self { log, resources, scopes, operations, entries: Vec::new(), text: 0 }
    }

    /// The log, to be used again.
    pub(super) fn into_log(self) -> Vec<u8> {
        self.log
    }

    /// The bytes it takes, however full it is.
    pub(super) fn bytes(&self) -> usize {
        self.log.capacity() + self.dictionaries() + self.entries.capacity() * size_of::<Entry>()
    }

    fn dictionaries(&self) -> usize {
        self.text + set_bytes(&self.resources) + set_bytes(&self.scopes) + set_bytes(&self.operations)
    }

    /// Whether `span` still fits; dictionaries may be as large as the log.
    pub(super) fn has_room(&self, span: &Packed) -> bool {
        self.log.capacity() - self.log.len() >= HEADER + span.body.len()
            && self.dictionaries() + self.entries.len() * size_of::<Entry>() <= self.log.capacity()
    }

    /// Writes a span; the caller made sure that it fits.
    pub(super) fn write(&mut self, span: &Packed, batch: &Batch, known: &mut Known, previous: Option<Position>) -> u32 {
        let offset = self.log.len() as u32;
        let operation = self.operation(span, batch, known);
        let previous = previous.map_or(u64::MAX, |at| u64::from(at.segment) << 32 | u64::from(at.offset));
        for number in [previous, span.id, span.parent, span.start, span.end] {
            self.log.extend_from_slice(&number.to_le_bytes());
        }
        for number in [operation, span.body.len() as u32] {
            self.log.extend_from_slice(&number.to_le_bytes());
        }
        self.log.extend_from_slice(&batch.bodies[span.body.clone()]);
        offset
    }

    /// The span at `offset`.
    pub(super) fn record(&self, offset: u32) -> Record<'_> {
        let mut at = &self.log[offset as usize..];
        let previous = at.get_u64_le();
        let previous =
            (previous != u64::MAX).then_some(Position { segment: (previous >> 32) as u32, offset: previous as u32 });
        let [id, parent, start, end] = [0; 4].map(|_| at.get_u64_le());
        let (operation, length) = (at.get_u32_le(), at.get_u32_le());
        Record { previous, id, parent, start, end, operation, body: &at[..length as usize] }
    }

    /// What a span is called and comes from.
    pub(super) fn origin(&self, operation: u32) -> (&Operation, &Arc<Scope>, &Arc<Resource>) {
        let operation = &self.operations[operation as usize];
        let scope = &self.scopes[operation.scope as usize];
        (operation, scope, &self.resources[scope.resource as usize])
    }

    fn operation(&mut self, span: &Packed, batch: &Batch, known: &mut Known) -> u32 {
        let scope = self.scope(span.scope, &batch.origins, known);
        let (kind, name) = (span.kind, &batch.names[span.name.clone()]);
        if let Some(number) = self.operations.get_index_of(&Called { scope, kind, name }) {
            return number as u32;
        }
        self.text += name.len();
        self.operations.insert_full(Operation { scope, kind, name: name.into() }).0 as u32
    }

    fn scope(&mut self, number: u32, origins: &Origins, known: &mut Known) -> u32 {
        if let Some(number) = remembered(&mut known.scopes, number) {
            return *number;
        }
        let scope = &origins.scopes[number as usize];
        let resource = self.resource(scope.resource, origins, known);
        let (schema_url, encoded) = (scope.schema_url.clone(), scope.encoded.clone());
        let text = ARC + size_of::<Scope>() + schema_url.len() + encoded.len();
        let (found, new) = self.scopes.insert_full(Arc::new(Scope { resource, schema_url, encoded }));
        self.text += if new { text } else { 0 };
        known.scopes[number as usize] = Some(found as u32);
        found as u32
    }

    fn resource(&mut self, number: u32, origins: &Origins, known: &mut Known) -> u32 {
        if let Some(number) = remembered(&mut known.resources, number) {
            return *number;
        }
        let resource = &origins.resources[number as usize];
        let text =
            ARC + size_of::<Resource>() + resource.service.len() + resource.schema_url.len() + resource.encoded.len();
        let (found, new) = self.resources.insert_full(resource.clone());
        self.text += if new { text } else { 0 };
        known.resources[number as usize] = Some(found as u32);
        found as u32
    }
}

/// The two counters of an `Arc`.
const ARC: usize = 16;

fn remembered(known: &mut Vec<Option<u32>>, number: u32) -> Option<&u32> {
    if known.len() <= number as usize {
        known.resize(number as usize + 1, None);
    }
    known[number as usize].as_ref()
}

/// The bytes of a set without what its elements point to: its entries with their hashes, and a table of their numbers.
fn set_bytes<T: Hash + Eq>(set: &IndexSet<T>) -> usize {
    set.capacity() * (size_of::<T>() + 2 * size_of::<usize>() + size_of::<usize>() / 4)
}
