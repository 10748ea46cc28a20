//! What another call to an endpoint would cost: its latency times the calls that it has.
//!
//! This is the peak EWMA of Finagle and Linkerd: an estimate that follows a rise at once and a fall slowly. tower has it
//! too, but without a memory of failures, so that an endpoint which fails fast seems the best of all.

use std::time::Duration;

use tokio::time::Instant;

/// How fast what was measured is forgotten. Shorter than elsewhere: whoever was slow once is soon tried again.
const LATENCY_DECAY: Duration = Duration::from_millis(500);
/// How fast a failure is forgotten: with the penalty below, within nine seconds all but for a thousandth of a second.
const PENALTY_DECAY: Duration = Duration::from_secs(1);
/// The latency, in seconds, that a failure counts as.
const PENALTY: f64 = 5.0;
/// No latency counts as less: among fast endpoints only the calls that they have make a difference.
const LEAST: f64 = 0.001;
/// What counts until a first answer has come: one call is tried, others go elsewhere.
const UNKNOWN: f64 = 1.0;

/// The load of one endpoint.
#[derive(Debug)]
pub(super) struct Cost {
    latency: Option<Decaying>,
    penalty: Decaying,
    in_flight: u32,
}

impl Cost {
    pub(super) fn new(now: Instant) -> Self {
        Self { latency: None, penalty: Decaying { value: 0.0, at: now, by: PENALTY_DECAY }, in_flight: 0 }
    }

    /// What one more call would cost now.
    pub(super) fn value(&self, now: Instant) -> f64 {
        let penalty = self.penalty.value(now);
        let latency = match self.latency {
            Some(latency) => latency.value(now).max(LEAST),
            None if self.in_flight == 0 => LEAST,
            None => UNKNOWN,
        };
        latency.max(penalty) * f64::from(self.in_flight.saturating_add(1))
    }

    /// Whether it failed a short while ago.
    pub(super) fn is_punished(&self, now: Instant) -> bool {
        self.penalty.value(now) > LEAST
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A call ended, however it did.
    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A call was answered after so long.
    pub(super) fn answered(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        match &mut self.latency {
            Some(latency) => latency.peak(took, now),
            None => self.latency = Some(Decaying { value: took, at: now, by: LATENCY_DECAY }),
        }
    }

    /// A call was given up after so long, which tells something only if others took less.
    pub(super) fn given_up(&mut self, took: Duration, now: Instant) {
        if self.latency.is_none_or(|latency| took.as_secs_f64() > latency.value(now)) {
            self.answered(took, now);
        }
    }

    /// A call failed through the endpoint's fault.
    pub(super) fn failed(&mut self, now: Instant) {
        self.penalty.peak(PENALTY, now);
    }

    /// The endpoint may be another process now: its latency is unknown, and its failures are not forgotten.
    pub(super) fn reconnected(&mut self) {
        self.latency = None;
    }
}

/// A value that halves and halves again while nothing renews it.
#[derive(Clone, Copy, Debug)]
struct Decaying {
    value: f64,
    at: Instant,
    by: Duration,
}

impl Decaying {
    fn weight(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / self.by.as_secs_f64()).exp()
    }

    fn value(&self, now: Instant) -> f64 {
        self.value * self.weight(now)
    }

    /// Takes over a rise at once, and a fall the more the longer ago the last sample was.
    fn peak(&mut self, sample: f64, now: Instant) {
        let weight = self.weight(now);
        let decayed = self.value * weight;
        self.value = if sample >= decayed { sample } else { decayed + sample * (1.0 - weight) };
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_new_endpoint_is_tried_with_one_call_before_it_takes_more() {
        let now = Instant::now();
        let (mut new, mut old) = (Cost::new(now), Cost::new(now));
        old.answered(ms(10), now);
        assert!(new.value(now) < old.value(now));
        new.begin();
        assert!(new.value(now) > old.value(now));
        new.end();
        new.answered(ms(5), now);
        assert!(new.value(now) < old.value(now));
    }

    #[test]
    fn calls_in_flight_count() {
        let now = Instant::now();
        let mut cost = Cost::new(now);
        cost.answered(ms(10), now);
        let idle = cost.value(now);
        cost.begin();
        cost.begin();
        assert!((cost.value(now) / idle - 3.0).abs() < 1e-9);
        cost.end();
        cost.end();
        cost.end();
        assert_eq!(cost.value(now), idle);
    }

    #[test]
    fn a_rise_counts_at_once_and_a_fall_after_a_while() {
        let start = Instant::now();
        let mut cost = Cost::new(start);
        cost.answered(ms(10), start);
        cost.answered(ms(200), start + ms(1));
        assert!(cost.value(start + ms(1)) >= 0.2);
        cost.answered(ms(10), start + ms(2));
        assert!(cost.value(start + ms(2)) > 0.19, "one good answer is not enough");
        let later = start + ms(2) + 4 * LATENCY_DECAY;
        assert!(cost.value(later) < 0.01, "nothing is held against it for long");
        cost.answered(ms(10), later);
        assert!(cost.value(later) < 0.015);
    }

    #[test]
    fn a_call_that_is_given_up_early_says_nothing_good() {
        let now = Instant::now();
        let mut cost = Cost::new(now);
        cost.answered(ms(50), now);
        cost.given_up(ms(1), now);
        assert!(cost.value(now) >= 0.05);
        cost.given_up(ms(2000), now);
        assert!(cost.value(now) >= 2.0);
    }

    #[test]
    fn fast_failures_make_no_endpoint_look_idle_and_are_forgotten() {
        let now = Instant::now();
        let (mut failing, mut busy) = (Cost::new(now), Cost::new(now));
        busy.answered(ms(100), now);
        (0..10).for_each(|_| busy.begin());
        failing.failed(now);
        failing.answered(ms(0), now);
        assert!(failing.is_punished(now) && failing.value(now) > busy.value(now));
        failing.reconnected();
        assert!(failing.is_punished(now + ms(4000)), "a new connection excuses nothing");
        assert!(!failing.is_punished(now + ms(9000)));
        assert_eq!(failing.value(now + ms(9000)), LEAST);
    }

    #[test]
    fn fast_endpoints_are_equal() {
        let now = Instant::now();
        let (mut one, mut other) = (Cost::new(now), Cost::new(now));
        one.answered(Duration::from_micros(50), now);
        other.answered(Duration::from_micros(900), now);
        assert_eq!(one.value(now), other.value(now));
    }
}
