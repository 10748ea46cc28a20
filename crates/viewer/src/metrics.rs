//! What the viewer says about itself at `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use telemetry::metric::{self, Metric};

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

/// Which of them a metric is.
type Number = fn(&Stats) -> &AtomicU64;

/// Adds the numbers to the metrics of the process.
#[expect(clippy::cast_precision_loss, reason = "bytes of memory, and spans that one process takes, are far below 2^52")]
pub(crate) fn publish(stats: &Arc<Stats>) {
    let numbers: [(Metric, Number); 7] = [
        (metric::VIEWER_STORE_USAGE, |stats| &stats.bytes),
        (metric::VIEWER_STORE_LIMIT, |stats| &stats.limit),
        (metric::VIEWER_STORE_TRACES, |stats| &stats.traces),
        (metric::VIEWER_SPANS_STORED, |stats| &stats.stored),
        (metric::VIEWER_SPANS_CUT, |stats| &stats.cut),
        (metric::VIEWER_SPANS_REFUSED, |stats| &stats.refused),
        (metric::VIEWER_TRACES_EVICTED, |stats| &stats.evicted),
    ];
    for (metric, number) in numbers {
        let stats = stats.clone();
        metric.observe(move |value| value.observe(number(&stats).load(Relaxed) as f64, &[]));
    }
}
