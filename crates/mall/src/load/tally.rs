//! What was measured: for each operation, and each step of a checkout, its times and errors.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use super::mix::Operation;

/// An operation begun this long after it was due is the client's fault, not the mall's.
pub(super) const LATE: Duration = Duration::from_millis(10);

/// A line of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Row {
    Browse,
    Order,
    Pay,
    PayOrder,
    PayPayment,
    PayCallback,
}

impl Row {
    const ALL: [Self; 6] = [Self::Browse, Self::Order, Self::Pay, Self::PayOrder, Self::PayPayment, Self::PayCallback];

    pub(super) fn of(operation: Operation) -> Self {
        match operation {
            Operation::Browse => Self::Browse,
            Operation::Order => Self::Order,
            Operation::Pay => Self::Pay,
        }
    }

    /// Whether it is a part of an operation.
    pub(super) fn is_step(self) -> bool {
        matches!(self, Self::PayOrder | Self::PayPayment | Self::PayCallback)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Browse => Operation::Browse.name(),
            Self::Order => Operation::Order.name(),
            Self::Pay => Operation::Pay.name(),
            Self::PayOrder => "  order",
            Self::PayPayment => "  payment",
            Self::PayCallback => "  callback",
        }
    }
}

/// One measured operation or step.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) row: Row,
    pub(super) took: Duration,
    /// What went wrong, if something did.
    pub(super) failure: Option<String>,
    /// The id of its trace, if it has one.
    pub(super) trace: Option<String>,
}

/// All samples of one row; times are in microseconds.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) times: Histogram<u64>,
    pub(super) errors: BTreeMap<String, u64>,
    /// The trace of the slowest one.
    pub(super) slowest: Option<String>,
}

impl Figures {
    fn new() -> Result<Self, CreationError> {
        // Up to an hour, three digits exact.
        let times = Histogram::new_with_bounds(1, 3_600_000_000, 3)?;
        Ok(Self { times, errors: BTreeMap::new(), slowest: None })
    }

    fn add(&mut self, Sample { took, failure, trace, .. }: Sample) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if micros > self.times.max() {
            self.slowest = trace;
        }
        self.times.saturating_record(micros);
        if let Some(failure) = failure {
            *self.errors.entry(failure).or_default() += 1;
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Ways to fail, and how many each way.
pub(super) fn counts(errors: &BTreeMap<String, u64>) -> String {
    let counts: Vec<_> = errors.iter().map(|(code, count)| format!("{count} x {code}")).collect();
    counts.join(", ")
}

#[derive(Debug)]
pub(super) struct Tally {
    rows: BTreeMap<Row, Figures>,
    /// How many operations were begun late, and the most by which one was.
    pub(super) late: u64,
    pub(super) latest: Duration,
}

impl Tally {
    pub(super) fn new() -> Result<Self, CreationError> {
        let rows = Row::ALL.into_iter().map(|row| Ok((row, Figures::new()?)));
        Ok(Self { rows: rows.collect::<Result<_, _>>()?, late: 0, latest: Duration::ZERO })
    }

    /// Adds an operation and its steps, begun so long after it was due.
    pub(super) fn add(&mut self, behind: Duration, samples: Vec<Sample>) {
        self.late += u64::from(behind > LATE);
        self.latest = self.latest.max(behind);
        for sample in samples {
            if let Some(figures) = self.rows.get_mut(&sample.row) {
                figures.add(sample);
            }
        }
    }

    /// The rows that something was measured for.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Row, &Figures)> {
        self.rows.iter().filter(|(_, figures)| !figures.times.is_empty()).map(|(row, figures)| (*row, figures))
    }

    pub(super) fn operations(&self) -> u64 {
        self.whole().map(|figures| figures.times.len()).sum()
    }

    /// The operations that failed.
    pub(super) fn errors(&self) -> u64 {
        self.whole().map(Figures::failed).sum()
    }

    /// How operations failed, and how many each way.
    pub(super) fn codes(&self) -> String {
        let mut codes = BTreeMap::new();
        for (code, count) in self.whole().flat_map(|figures| &figures.errors) {
            *codes.entry(code.clone()).or_default() += count;
        }
        counts(&codes)
    }

    fn whole(&self) -> impl Iterator<Item = &Figures> {
        self.rows().filter(|(row, _)| !row.is_step()).map(|(_, figures)| figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_measured_and_only_operations_counted() {
        let sample = |row, millis, failure: Option<&str>| Sample {
            row,
            took: Duration::from_millis(millis),
            failure: failure.map(ToOwned::to_owned),
            trace: Some(millis.to_string()),
        };
        let mut tally = Tally::new().unwrap();
        tally.add(Duration::from_millis(1), vec![sample(Row::Browse, 7, None)]);
        let failed = Some("429 RESOURCE_EXHAUSTED");
        tally.add(Duration::from_millis(30), vec![sample(Row::Pay, 40, failed), sample(Row::PayOrder, 10, failed)]);
        tally.add(Duration::ZERO, vec![sample(Row::Pay, 20, None), sample(Row::PayOrder, 5, None)]);

        assert_eq!((tally.operations(), tally.errors()), (3, 1));
        assert_eq!((tally.late, tally.latest), (1, Duration::from_millis(30)));
        let rows: Vec<_> = tally.rows().collect();
        assert_eq!(rows.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [Row::Browse, Row::Pay, Row::PayOrder]);
        let pay = rows[1].1;
        assert_eq!((pay.times.len(), pay.slowest.as_deref()), (2, Some("40")));
        assert_eq!(pay.errors["429 RESOURCE_EXHAUSTED"], 1);
    }
}
