//! What the pools tell of themselves: connections in use and idle, callers that wait, and how long.

use std::sync::LazyLock;

use deadpool::managed::{Manager, Pool};
use opentelemetry::metrics::{Counter, Histogram};
use telemetry::{KeyValue, semconv};

/// How long statements took.
pub(crate) static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| seconds(semconv::DB_CLIENT_OPERATION_DURATION));

/// How long callers waited for a connection.
pub(crate) static WAIT_TIME: LazyLock<Histogram<f64>> =
    LazyLock::new(|| seconds(semconv::DB_CLIENT_CONNECTION_WAIT_TIME));

fn seconds(name: &'static str) -> Histogram<f64> {
    let buckets = semconv::DB_DURATION_BUCKETS.to_vec();
    telemetry::meter().f64_histogram(name).with_unit("s").with_boundaries(buckets).build()
}

/// Callers that waited in vain.
pub(crate) static TIMEOUTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    telemetry::meter().u64_counter(semconv::DB_CLIENT_CONNECTION_TIMEOUTS).with_unit("{timeout}").build()
});

/// Measures `pool` whenever metrics are read, until it is dropped.
pub(crate) fn observe<M: Manager + 'static>(pool: &Pool<M>, label: &KeyValue) {
    let meter = telemetry::meter();
    let state = |state| [label.clone(), KeyValue::new(semconv::DB_CLIENT_CONNECTION_STATE, state)];
    let (used, idle, plain) = (state("used"), state("idle"), [label.clone()]);
    let weak = pool.weak();
    meter
        .i64_observable_up_down_counter(semconv::DB_CLIENT_CONNECTION_COUNT)
        .with_unit("{connection}")
        .with_callback(move |observer| {
            if let Some(status) = weak.upgrade().map(|pool| pool.status()) {
                observer.observe(count(status.size.saturating_sub(status.available)), &used);
                observer.observe(count(status.available), &idle);
            }
        })
        .build();
    let weak = pool.weak();
    meter
        .i64_observable_up_down_counter(semconv::DB_CLIENT_CONNECTION_PENDING_REQUESTS)
        .with_unit("{request}")
        .with_callback(move |observer| {
            if let Some(pool) = weak.upgrade() {
                observer.observe(count(pool.status().waiting), &plain);
            }
        })
        .build();
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
