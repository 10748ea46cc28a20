//! The newest traces, in bounded memory.
//!
//! Spans are written one after the other into segments; a trace is a chain of spans, each of which knows where the one
//! before it is. A trace belongs to the segment of its first span, so no span is older than the segment of its trace.
//! When memory is full, the oldest segment is dropped with all traces that began in it: whole traces go, in the order
//! in which they began to arrive, and a segment's memory is used again as it is, so that nothing is fragmented.

pub(crate) mod query;
mod segment;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::mem::size_of;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use query::{Query, Tag};
use segment::{Entry, HEADER, Known, Position, Record, Segment};

use crate::metrics::Stats;
use crate::model::{Stored, Trace, TraceId};
use crate::otlp::{Batch, Packed};

/// The smallest memory that a store works with.
pub(crate) const SMALLEST: usize = 1 << 20;

/// Where a trace is: the number of its segment and its number there.
#[derive(Clone, Copy, Debug)]
struct Slot {
    segment: u32,
    entry: u32,
}

/// The newest traces.
#[derive(Debug)]
pub(crate) struct Store {
    limit: usize,
    /// Bytes of a segment's log.
    segment_size: usize,
    /// The most bytes that one trace may have.
    share: usize,
    segments: VecDeque<Segment>,
    /// The number of the oldest segment.
    first: u32,
    /// The bytes of all segments.
    held: usize,
    index: HashMap<TraceId, Slot>,
    stats: Arc<Stats>,
}

impl Store {
    /// An empty store of at most `limit` bytes, one eighth of which a single trace may take.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.max(SMALLEST);
        let share = (limit / 8).min(u32::MAX as usize);
        let segment_size = (limit / 64).min(1 << 20);
        let (segments, index) = Default::default();
        let stats = Arc::new(Stats { limit: AtomicU64::new(limit as u64), ..Stats::default() });
        Self { limit, segment_size, share, segments, first: 0, held: 0, index, stats }
    }

    /// Bytes in use: what was allocated, not only what was filled.
    pub(crate) fn bytes(&self) -> usize {
        // A hash table has up to 8 places for every 7 it can fill, and one byte more for each.
        let places = self.index.capacity() * 8 / 7;
        self.held + places * (size_of::<(TraceId, Slot)>() + 1)
    }

    /// Numbers about it that can be read at any time.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Stores the batch's spans; answers how many were cut off because their trace has its share of the memory already.
    pub(crate) fn insert(&mut self, batch: &Batch) -> u64 {
        let mut cut = 0;
        let count = batch.spans.len() as u64;
        self.stats.refused.fetch_add(batch.refused, Relaxed);
        let mut known = Known::default();
        for span in &batch.spans {
            let size = HEADER + span.body.len() + span.name.len();
            let taken = self.entry_mut(span.trace).map_or(0, |entry| entry.bytes as usize);
            if taken + size > self.share {
                cut += 1;
                if let Some(entry) = self.entry_mut(span.trace) {
                    entry.cut = entry.cut.saturating_add(1);
                }
                continue;
            }
            if !self.segments.back().is_some_and(|segment| segment.has_room(span)) {
                self.rotate(HEADER + span.body.len());
                known = Known::default();
            }
            self.write(span, size, batch, &mut known);
        }
        // Dictionaries and the index grow between rotations.
        while self.bytes() > self.limit && self.segments.len() > 1 {
            self.evict();
        }
        self.stats.stored.fetch_add(count - cut, Relaxed);
        self.stats.cut.fetch_add(cut, Relaxed);
        self.stats.bytes.store(self.bytes() as u64, Relaxed);
        self.stats.traces.store(self.index.len() as u64, Relaxed);
        cut
    }

    fn entry_mut(&mut self, id: TraceId) -> Option<&mut Entry> {
        let slot = *self.index.get(&id)?;
        Some(&mut self.segments[slot.segment.wrapping_sub(self.first) as usize].entries[slot.entry as usize])
    }

    fn write(&mut self, span: &Packed, size: usize, batch: &Batch, known: &mut Known) {
        let newest = self.segments.len() - 1;
        let number = self.first.wrapping_add(newest as u32);
        let before = self.segments[newest].bytes();
        let (id, start) = (span.trace, span.start);
        let slot = *self.index.entry(id).or_insert_with(|| {
            let entries = &mut self.segments[newest].entries;
            entries.push(Entry { id, last: None, start, latest: start, bytes: 0, cut: 0 });
            Slot { segment: number, entry: entries.len() as u32 - 1 }
        });
        let home = slot.segment.wrapping_sub(self.first) as usize;
        let previous = self.segments[home].entries[slot.entry as usize].last;
        let offset = self.segments[newest].write(span, batch, known, previous);
        let entry = &mut self.segments[home].entries[slot.entry as usize];
        entry.last = Some(Position { segment: number, offset });
        entry.start = entry.start.min(start);
        entry.latest = entry.latest.max(start);
        entry.bytes += size as u32;
        self.held += self.segments[newest].bytes() - before;
    }

    /// Begins a new segment with room for `size` bytes, in the memory of an old one if one must go.
    fn rotate(&mut self, size: usize) {
        let size = size.max(self.segment_size);
        let mut log = Vec::new();
        while self.bytes() + size > self.limit && !self.segments.is_empty() {
            log = self.evict();
        }
        if log.capacity() != size {
            log = Vec::with_capacity(size);
        }
        let segment = Segment::new(log);
        self.held += segment.bytes();
        self.segments.push_back(segment);
    }

    /// Drops the oldest segment and the traces that began in it.
    fn evict(&mut self) -> Vec<u8> {
        let Some(segment) = self.segments.pop_front() else { return Vec::new() };
        self.first = self.first.wrapping_add(1);
        self.held -= segment.bytes();
        for entry in &segment.entries {
            self.index.remove(&entry.id);
        }
        self.stats.evicted.fetch_add(segment.entries.len() as u64, Relaxed);
        segment.into_log()
    }

    /// The trace with this id.
    pub(crate) fn trace(&self, id: TraceId) -> Option<Trace> {
        self.entry(id).map(|entry| self.read(entry))
    }

    fn entry(&self, id: TraceId) -> Option<&Entry> {
        let slot = self.index.get(&id)?;
        Some(&self.segment(slot.segment).entries[slot.entry as usize])
    }

    /// Each of the traces with these ids, or why it is not there: at most as many bytes as one trace may have.
    pub(crate) fn traces(&self, ids: &[TraceId]) -> Vec<Result<Trace, (TraceId, &'static str)>> {
        let mut budget = self.share;
        let mut find = |id| {
            let entry = self.entry(id).ok_or("trace not found")?;
            budget = budget.checked_sub(entry.bytes as usize).ok_or("too large for one answer with those before it")?;
            Ok(self.read(entry))
        };
        ids.iter().map(|id| find(*id).map_err(|reason| (*id, reason))).collect()
    }

    /// The traces that have a span which is as `query` says, newest first: at most as many bytes as one trace may have.
    pub(crate) fn search(&self, query: &Query) -> Vec<Trace> {
        let candidates: Vec<_> = self.segments.iter().map(|segment| query.candidates(segment)).collect();
        if candidates.iter().flatten().all(Option::is_none) {
            return Vec::new();
        }
        let is_match = |(segment, record): (u32, Record<'_>)| {
            let candidates = &candidates[segment.wrapping_sub(self.first) as usize];
            candidates[record.operation as usize].is_some_and(|satisfied| query.matches(&record, satisfied))
        };
        let mut budget = self.share;
        let entries = self.segments.iter().rev().flat_map(|segment| segment.entries.iter().rev());
        let found = entries.filter(|entry| query.overlaps(entry) && self.chain(entry).any(is_match)).take(query.limit);
        found
            .map_while(|entry| {
                budget = budget.checked_sub(entry.bytes as usize)?;
                Some(self.read(entry))
            })
            .collect()
    }

    /// The services that sent spans.
    pub(crate) fn services(&self) -> BTreeSet<String> {
        let resources = self.segments.iter().flat_map(|segment| &segment.resources);
        resources.map(|resource| resource.service.clone()).collect()
    }

    /// The names of a service's spans, each with its kinds.
    pub(crate) fn operations(&self, service: &str) -> BTreeSet<(String, i32)> {
        let operations = self.segments.iter().flat_map(|segment| {
            let origins = (0..segment.operations.len() as u32).map(|operation| segment.origin(operation));
            origins.filter(|(_, _, resource)| resource.service == service)
        });
        operations.map(|(operation, ..)| (operation.name.to_string(), operation.kind)).collect()
    }

    /// How often a service called another one, in traces that began within `start`.
    pub(crate) fn dependencies(&self, start: &RangeInclusive<u64>) -> BTreeMap<(String, String), u64> {
        let mut calls: HashMap<(&str, &str), u64> = HashMap::new();
        let mut services: HashMap<u64, &str> = HashMap::new();
        let mut seen = HashSet::new();
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        for entry in entries.filter(|entry| start.contains(&entry.start)) {
            let service = |(segment, record): (u32, Record<'_>)| {
                self.segment(segment).origin(record.operation).2.service.as_str()
            };
            services.clear();
            services.extend(self.chain(entry).map(|at| (at.1.id, service(at))));
            seen.clear();
            for at in self.chain(entry).filter(|(_, span)| seen.insert(span.identity())) {
                let Some(&caller) = services.get(&at.1.parent) else { continue };
                let callee = service(at);
                if caller != callee {
                    *calls.entry((caller, callee)).or_default() += 1;
                }
            }
        }
        calls.into_iter().map(|((caller, callee), count)| ((caller.to_owned(), callee.to_owned()), count)).collect()
    }

    fn segment(&self, number: u32) -> &Segment {
        &self.segments[number.wrapping_sub(self.first) as usize]
    }

    /// The spans of a trace, newest first, each with the number of its segment.
    fn chain(&self, entry: &Entry) -> impl Iterator<Item = (u32, Record<'_>)> {
        let at = |position: Position| (position.segment, self.segment(position.segment).record(position.offset));
        std::iter::successors(entry.last.map(at), move |(_, record)| record.previous.map(at))
    }

    fn read(&self, entry: &Entry) -> Trace {
        let mut seen = HashSet::new();
        let chain = self.chain(entry).filter(|(_, span)| seen.insert(span.identity()));
        let mut spans: Vec<_> = chain
            .map(|(segment, record)| {
                let (operation, scope, resource) = self.segment(segment).origin(record.operation);
                Stored {
                    resource: resource.clone(),
                    scope: scope.clone(),
                    name: operation.name.to_string(),
                    kind: operation.kind,
                    id: record.id,
                    parent: record.parent,
                    start: record.start,
                    end: record.end,
                    body: record.body.to_vec(),
                }
            })
            .collect();
        spans.reverse();
        Trace { id: entry.id, spans, cut: entry.cut }
    }
}

#[cfg(test)]
mod tests;
