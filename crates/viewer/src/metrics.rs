//! What the viewer says about itself at `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers about a store.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Bytes that the store takes.
    pub(crate) bytes: AtomicU64,
    /// Bytes that it may take.
    pub(crate) limit: AtomicU64,
    /// Traces that it has.
    pub(crate) traces: AtomicU64,
    /// Spans that it ever stored.
    pub(crate) stored: AtomicU64,
    /// Spans that it did not store because their trace was too large.
    pub(crate) cut: AtomicU64,
    /// Spans that were too large themselves.
    pub(crate) refused: AtomicU64,
    /// Traces that it dropped to make room.
    pub(crate) evicted: AtomicU64,
}

/// A name, a unit, a description and the number.
type Instrument = (&'static str, &'static str, &'static str, fn(&Stats) -> &AtomicU64);

/// Adds the numbers to the metrics of the process.
pub(crate) fn publish(stats: &Arc<Stats>) {
    let meter = telemetry::meter();
    let gauges: [Instrument; 3] = [
        ("viewer.store.usage", "By", "Memory that traces take", |stats| &stats.bytes),
        ("viewer.store.limit", "By", "Memory that traces may take", |stats| &stats.limit),
        ("viewer.store.traces", "{trace}", "Traces that are kept", |stats| &stats.traces),
    ];
    for (name, unit, description, number) in gauges {
        let stats = stats.clone();
        let gauge = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
        gauge.with_callback(move |observer| observer.observe(number(&stats).load(Relaxed), &[])).build();
    }
    let counters: [Instrument; 4] = [
        ("viewer.spans.stored", "{span}", "Spans that were stored", |stats| &stats.stored),
        ("viewer.spans.cut", "{span}", "Spans of traces that were too large", |stats| &stats.cut),
        ("viewer.spans.refused", "{span}", "Spans that were too large", |stats| &stats.refused),
        ("viewer.traces.evicted", "{trace}", "Traces that were dropped to make room", |stats| &stats.evicted),
    ];
    for (name, unit, description, number) in counters {
        let stats = stats.clone();
        let counter = meter.u64_observable_counter(name).with_unit(unit).with_description(description);
        counter.with_callback(move |observer| observer.observe(number(&stats).load(Relaxed), &[])).build();
    }
}
