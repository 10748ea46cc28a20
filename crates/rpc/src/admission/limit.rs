//! How many calls of one method may run: as many as make them little slower than they are alone.
//!
//! The limit grows by a twentieth while it is reached and calls stay fast, and is four fifths of what was in use when on average
//! they are slow: additive increase with multiplicative decrease, as TCP has it, on latency in place of loss. What is fast is learned
//! from calls that are nearly alone; under a load that lasts, when there are none, a few are let in alone from time to time,
//! as BBR does. Netflix's gradient compares with what was usual lately, so that its limit creeps up under such a load.

use std::time::Duration;

use tokio::time::Instant;

use crate::criticality::Criticality;

/// No limit is less, and there it starts: where some dozens of calls are slow, something else is, and fewer of them would be no
/// faster.
const LEAST: f64 = 64.0;
/// A call beside fewer than this is as good as alone.
const ALONE: usize = 4;
/// How often it may change, and after how many calls at least.
const WINDOW: Duration = Duration::from_millis(100);
const FEWEST: u32 = 8;
/// How long what was learned is good for while the limit is reached, of how many calls it is learned anew, and for how long
/// at most.
const KNOWN: Duration = Duration::from_secs(10);
const PROBES: u32 = 16;
const PROBING: Duration = Duration::from_secs(1);
/// What of it changes.
const GROWTH: f64 = 1.05;
const DECLINE: f64 = 0.8;
/// Calls that take this many times as long as those that are alone, and [`SLACK`] more, are slow.
const TOLERANCE: u32 = 2;
/// What nobody minds; less would refuse the calls of some dozens of callers who wait for each other. Critical calls bear more,
/// so that others make room for them.
const SLACK: Duration = Duration::from_millis(100);
const CRITICAL_SLACK: Duration = Duration::from_millis(400);
/// How long calls may take until it is known how long they take.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How much of a call that is alone is learned, and of one that was let in alone for that.
const LEARNING: f64 = 0.1;
const PROBED: f64 = 0.3;
/// No call counts for more than so many slow ones: a single one says little.
const MOST: u32 = 4;

/// A limit on the calls of one method that run at one time.
#[derive(Debug)]
pub(super) struct Limit {
    value: f64,
    most: f64,
    slack: Duration,
    /// How long calls take that are alone, in seconds and on average.
    alone: Option<f64>,
    /// When one was seen last that was.
    seen: Option<Instant>,
    /// How many calls are still let in nearly alone, to see it.
    probes: u32,
    window: Window,
}

/// A call that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The most calls beside it that it was seen with, when it began and when it ended.
    pub(super) company: usize,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// It was done, in so much time.
    Done(Duration),
    /// It was answered with an error.
    Failed,
    /// Whoever called went away, or its deadline came, after so much time.
    GivenUp(Duration),
}

/// What was seen since the last change.
#[derive(Debug)]
struct Window {
    began: Instant,
    calls: u32,
    seconds: f64,
    /// The most calls that ran at one time.
    peak: usize,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, calls: 0, seconds: 0.0, peak: 0 }
    }
}

impl Limit {
    /// One that is never more than `most`, and at least 1.
    pub(super) fn new(most: usize, criticality: Criticality, now: Instant) -> Self {
        let most = most.max(1) as f64;
        let slack = if criticality == Criticality::Critical { CRITICAL_SLACK } else { SLACK };
        Self { value: LEAST.min(most), most, slack, alone: None, seen: None, probes: 0, window: Window::new(now) }
    }

    /// The calls that may run now.
    pub(super) fn current(&mut self, now: Instant) -> usize {
        if self.probes > 0 && now.saturating_duration_since(self.window.began) > PROBING {
            // They hang, or are none: there is nothing to learn.
            (self.probes, self.seen, self.window) = (0, Some(now), Window::new(now));
        }
        (if self.probes > 0 { self.value.min(ALONE as f64) } else { self.value }) as usize
    }

    /// How long calls may take that are not slow.
    pub(super) fn patience(&self) -> Duration {
        self.alone.map_or(UNKNOWN, |alone| Duration::from_secs_f64(alone) * TOLERANCE + self.slack)
    }

    /// A call began, as one of so many that run now.
    pub(super) fn began(&mut self, running: usize) {
        self.window.peak = self.window.peak.max(running);
    }

    /// A call ended.
    pub(super) fn ended(&mut self, call: &Ended, now: Instant) {
        let known = self.alone.map_or(Duration::ZERO, Duration::from_secs_f64);
        let took = match call.outcome {
            Outcome::Done(took) => took,
            // Whoever gave up late says that it takes longer still; early, nothing.
            Outcome::GivenUp(took) if self.alone.is_some() && took > known => took,
            // What is refused or fails takes the time that that takes.
            Outcome::GivenUp(_) | Outcome::Failed => return,
        };
        let patience = self.patience();
        let took = took.min(patience * MOST).as_secs_f64();
        if matches!(call.outcome, Outcome::Done(_)) && call.company < ALONE {
            self.learn(took, now);
        }
        self.window.calls += 1;
        self.window.seconds += took;
        let Window { began, calls, seconds, peak } = self.window;
        if self.probes > 0 || calls < FEWEST || now.saturating_duration_since(began) < WINDOW {
            return;
        }
        let average = seconds / f64::from(calls);
        let peak = peak as f64;
        let is_reached = peak >= self.value.floor();
        let is_known = self.seen.is_some_and(|seen| now.saturating_duration_since(seen) <= KNOWN);
        if is_reached && !is_known {
            self.probes = PROBES;
        } else if average > patience.as_secs_f64() {
            self.value = (self.value.min(peak) * DECLINE).max(LEAST.min(self.most));
        } else if is_reached {
            self.value = (self.value * GROWTH).max(self.value + 1.0).min(self.most);
        }
        // Those that have company are no faster than those that have none.
        self.alone = Some(self.alone.map_or(average, |alone| alone.min(average)));
        self.window = Window::new(now);
    }

    /// A call that was alone took so many seconds.
    fn learn(&mut self, took: f64, now: Instant) {
        let alone = self.alone.get_or_insert(took);
        *alone += (took - *alone) * if self.probes > 0 { PROBED } else { LEARNING };
        self.seen = Some(now);
        // What ends during the probes says nothing of the limit.
        if self.probes == 1 {
            self.window = Window::new(now);
        }
        self.probes = self.probes.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limit after `rounds` rounds of 100 ms in which as many calls as it allows, and no more than `wanted`, take `latency`
    /// of how many they are.
    fn settle(limit: &mut Limit, rounds: u32, wanted: usize, latency: impl Fn(usize) -> Duration) {
        let mut now = limit.window.began;
        for _ in 0..rounds {
            let running = limit.current(now).min(wanted);
            limit.began(running);
            now += WINDOW;
            let call = Ended { outcome: Outcome::Done(latency(running)), company: running - 1 };
            for _ in 0..FEWEST.max(running as u32) {
                limit.ended(&call, now);
            }
        }
    }

    /// A service that does four calls at a time, each in 5 ms.
    fn four_at_a_time(running: usize) -> Duration {
        Duration::from_millis(5) * running.div_ceil(4) as u32
    }

    fn new() -> Limit {
        let mut limit = Limit::new(1024, Criticality::Normal, Instant::now());
        settle(&mut limit, 20, 2, four_at_a_time);
        limit
    }

    #[test]
    fn it_comes_down_to_what_a_service_can_do_and_stays_there() {
        let mut limit = new();
        settle(&mut limit, 50, 1000, four_at_a_time);
        for _ in 0..1000 {
            settle(&mut limit, 1, 1000, four_at_a_time);
            assert!((64.0..=120.0).contains(&limit.value), "{limit:?}");
        }
    }

    #[test]
    fn it_grows_while_more_calls_are_no_slower() {
        let mut limit = new();
        settle(&mut limit, 100, 1000, |_| Duration::from_millis(5));
        assert_eq!(limit.value as usize, 1024);
        // Nobody needs it now, and it is still there.
        settle(&mut limit, 100, 10, |_| Duration::from_millis(5));
        assert_eq!(limit.value as usize, 1024);
    }

    #[test]
    fn a_service_that_became_slower_for_good_is_known_for_it() {
        let mut limit = new();
        settle(&mut limit, 100, 1000, |running| four_at_a_time(running) * 10);
        assert_eq!(limit.value, LEAST);
        settle(&mut limit, 200, 3, |_| Duration::from_millis(50));
        assert!(limit.patience() > Duration::from_millis(190), "{limit:?}");
    }

    #[test]
    fn a_service_that_is_never_at_rest_is_looked_at_alone_now_and_then() {
        let mut limit = Limit::new(1024, Criticality::Normal, Instant::now());
        // All that it knows is the wrong thing.
        settle(&mut limit, 1, 64, |_| Duration::from_millis(500));
        settle(&mut limit, 50, 1000, four_at_a_time);
        assert!(limit.value <= 120.0, "{limit:?}");
    }

    #[test]
    fn who_gives_up_early_and_what_fails_says_nothing() {
        let mut limit = new();
        let before = format!("{limit:?}");
        for outcome in [Outcome::GivenUp(Duration::from_millis(1)), Outcome::Failed] {
            limit.ended(&Ended { outcome, company: 0 }, Instant::now());
        }
        assert_eq!(format!("{limit:?}"), before);
    }

    #[test]
    fn the_last_of_a_burst_are_not_alone() {
        let mut limit = new();
        let mut now = limit.window.began;
        for _ in 0..200 {
            now += Duration::from_secs(1);
            let burst = limit.current(now).min(1000);
            limit.began(burst);
            for ended in 1..=burst {
                let outcome = Outcome::Done(four_at_a_time(ended));
                limit.ended(&Ended { outcome, company: burst - 1 }, now + four_at_a_time(ended));
            }
        }
        assert!(limit.alone.is_some_and(|alone| alone < 0.006) && limit.value <= 130.0, "{limit:?}");
    }

    #[test]
    fn a_service_that_hangs_is_not_looked_at_for_long() {
        let mut limit = new();
        settle(&mut limit, 150, 1000, four_at_a_time);
        let mut now = limit.window.began;
        limit.seen = Some(now - 2 * KNOWN);
        settle(&mut limit, 1, 1000, four_at_a_time);
        now += WINDOW;
        assert_eq!(limit.current(now), ALONE);
        assert!(limit.current(now + 2 * PROBING) >= 50, "{limit:?}");
    }

    #[test]
    fn it_is_never_nothing() {
        let mut limit = Limit::new(0, Criticality::Normal, Instant::now());
        settle(&mut limit, 50, 10, |_| Duration::from_secs(1));
        assert_eq!(limit.value as usize, 1);
    }
}
