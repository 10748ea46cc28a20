//! A counter of what happens, by how it ended.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::semconv::Metric;

/// A counter whose attributes' values are words of a bounded set; made when it first counts.
///
/// ```
/// use telemetry::{Tally, metric};
/// static LOGINS: Tally = Tally::new(metric::LOGINS);
/// LOGINS.count(["succeeded"]);
/// ```
#[derive(Debug)]
pub struct Tally {
    metric: Metric,
    counter: OnceLock<Counter<u64>>,
}

impl Tally {
    /// A tally of `metric`, which is a counter.
    pub const fn new(metric: Metric) -> Self {
        Self { metric, counter: OnceLock::new() }
    }

    /// Counts one more, of which these are the values of the metric's attributes, in their order.
    pub fn count<const N: usize>(&self, values: [&'static str; N]) {
        debug_assert_eq!(N, self.metric.attributes.len(), "{}", self.metric.name);
        let mut keys = self.metric.attributes.iter();
        let labels = values.map(|value| KeyValue::new(keys.next().copied().unwrap_or_default(), value));
        self.counter.get_or_init(|| self.metric.counter()).add(1, &labels);
    }
}
