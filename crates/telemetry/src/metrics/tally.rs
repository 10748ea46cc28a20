//! A counter of what happens, by how it ended.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::BoundCounter;

use crate::Memo;
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
    /// By the values.
    counters: LazyLock<Memo<Vec<&'static str>, BoundCounter<u64>>>,
}

impl Tally {
    /// A tally of `metric`, which is a counter.
    pub const fn new(metric: Metric) -> Self {
        Self { metric, counters: LazyLock::new(Memo::default) }
    }

    /// Shows these as 0 until they are counted: of a series that begins with 1, nobody sees that it grew.
    pub fn show<const N: usize>(&self, all: impl IntoIterator<Item = [&'static str; N]>) {
        for values in all {
            self.add(0, values);
        }
    }

    /// Counts one more, of which these are the values of the metric's attributes, in their order.
    pub fn count<const N: usize>(&self, values: [&'static str; N]) {
        self.add(1, values);
    }

    fn add<const N: usize>(&self, count: u64, values: [&'static str; N]) {
        debug_assert_eq!(N, self.metric.attributes.len(), "{}", self.metric.name);
        let counter = self.counters.get(values.as_slice(), || {
            let keys = self.metric.attributes.iter();
            let labels: Vec<_> = keys.zip(values).map(|(key, value)| KeyValue::new(*key, value)).collect();
            self.metric.counter().bind(&labels)
        });
        counter.add(count);
    }
}
