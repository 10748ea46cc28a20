//! What the pools tell of themselves: connections in use and idle, callers that wait, and how long.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use deadpool::managed::{Manager, Pool};
use opentelemetry::metrics::{BoundHistogram, Counter, Histogram};
use telemetry::{KeyValue, metric, semconv};

/// How long statements took.
pub(crate) static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| metric::DB_OPERATION_DURATION.histogram());

static WAIT_TIME: LazyLock<Histogram<f64>> = LazyLock::new(|| metric::DB_WAIT_TIME.histogram());

static TIMEOUTS: LazyLock<Counter<u64>> = LazyLock::new(|| metric::DB_TIMEOUTS.counter());

/// How long callers waited for a connection of one pool.
pub(crate) struct Waits {
    /// The pool's name.
    label: KeyValue,
    /// Bound when it first measures: before that it would tell of a shortest and a longest wait that nobody had.
    time: OnceLock<BoundHistogram<f64>>,
}

impl Waits {
    pub(crate) fn new(label: KeyValue) -> Self {
        Self { label, time: OnceLock::new() }
    }

    pub(crate) fn label(&self) -> &KeyValue {
        &self.label
    }

    /// Somebody waited so long.
    pub(crate) fn record(&self, took: Duration) {
        let time = self.time.get_or_init(|| WAIT_TIME.bind(std::slice::from_ref(&self.label)));
        time.record(took.as_secs_f64());
    }

    /// Somebody waited in vain.
    pub(crate) fn count_timeout(&self) {
        TIMEOUTS.add(1, std::slice::from_ref(&self.label));
    }
}

/// Measures `pool` whenever metrics are read, until it is dropped.
#[expect(clippy::cast_precision_loss, reason = "a pool has far less than 2^52 connections")]
pub(crate) fn observe<M: Manager + 'static>(pool: &Pool<M>, label: &KeyValue) {
    let state = |state| [label.clone(), KeyValue::new(semconv::DB_CLIENT_CONNECTION_STATE, state)];
    let (used, idle, plain) = (state("used"), state("idle"), [label.clone()]);
    TIMEOUTS.add(0, &plain);
    let weak = pool.weak();
    metric::DB_CONNECTIONS.observe(move |value| {
        if let Some(status) = weak.upgrade().map(|pool| pool.status()) {
            value.observe(status.size.saturating_sub(status.available) as f64, &used);
            value.observe(status.available as f64, &idle);
        }
    });
    let (weak, labels) = (pool.weak(), plain.clone());
    metric::DB_CONNECTIONS_MAX.observe(move |value| {
        if let Some(pool) = weak.upgrade() {
            value.observe(pool.status().max_size as f64, &labels);
        }
    });
    let weak = pool.weak();
    metric::DB_PENDING.observe(move |value| {
        if let Some(pool) = weak.upgrade() {
            value.observe(pool.status().waiting as f64, &plain);
        }
    });
}
