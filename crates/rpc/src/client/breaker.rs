//! Circuit breakers: calls to a method that fails all the time are refused here, without being made.
//!
//! failsafe keeps the states. What it is told is ours: it weighs calls by the time between them, so that of many at one moment
//! one decides; here, calls are counted.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use failsafe::{FailurePolicy, Instrument, StateMachine};
use opentelemetry::metrics::Gauge;
use telemetry::{KeyValue, metric, semconv};
use tokio::time::Instant;

use super::method::Method;

/// It opens when half of the calls of this time fail; where there are fewer calls than this, it stays closed.
const WINDOW: Duration = Duration::from_secs(5);
const FEWEST: u32 = 20;
/// The time is counted in so many slices, of which the oldest falls out when a new one begins.
const SLICES: usize = 5;
/// How long it is open the first time, and at most; up to half of it more by chance.
const OPEN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];
/// While it is seen whether it may close, one call in so long.
const PROBES: Duration = Duration::from_millis(100);

const CLOSED: u8 = 0;
const TRIED: u8 = 1;
const OPENED: u8 = 2;

static STATE: LazyLock<Gauge<f64>> = LazyLock::new(|| metric::RPC_CLIENT_BREAKER_STATE.gauge());

/// The breakers of one peer, each made when its method is called first.
#[derive(Debug)]
pub(super) struct Breakers {
    peer: Arc<[KeyValue]>,
    methods: Box<[OnceLock<Breaker>]>,
}

impl Breakers {
    /// `peer` is how its metrics are labelled.
    pub(super) fn new(peer: &[KeyValue]) -> Self {
        Self { peer: peer.into(), methods: (0..Method::count()).map(|_| OnceLock::new()).collect() }
    }

    /// The one of `method`.
    pub(super) fn of(&self, method: &'static Method) -> Option<&Breaker> {
        Some(self.methods.get(method.index)?.get_or_init(|| Breaker::new(method, &self.peer)))
    }
}

/// The breaker of one method of a peer.
#[derive(Debug)]
pub(super) struct Breaker {
    machine: StateMachine<Counted, Shown>,
    state: Arc<AtomicU8>,
    /// When a call was let through last to see whether it works again, in milliseconds since `made`.
    probed: AtomicU64,
    made: Instant,
}

impl Breaker {
    fn new(method: &'static Method, peer: &[KeyValue]) -> Self {
        let (shown, made) = (Shown::new(method, peer), Instant::now());
        let state = Arc::clone(&shown.state);
        Self { machine: StateMachine::new(Counted::new(made), shown), state, probed: AtomicU64::new(0), made }
    }

    /// Whether a call may be made.
    pub(super) fn permits(&self) -> bool {
        if !self.machine.is_call_permitted() {
            return false;
        }
        if self.state.load(Ordering::Relaxed) != TRIED {
            return true;
        }
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.probed.load(Ordering::Relaxed);
        u128::from(now - last.min(now)) >= PROBES.as_millis()
            && self.probed.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A call was answered, well or in a way that says nothing against the peer.
    pub(super) fn succeeded(&self) {
        self.machine.on_success();
    }

    /// A call failed because the peer could not do it.
    pub(super) fn failed(&self) {
        self.machine.on_error();
    }
}

/// Calls and failures of the last while, in slices.
#[derive(Debug)]
struct Counted {
    slices: [Slice; SLICES],
    newest: usize,
    began: Instant,
    /// How often it has opened without a success in between.
    opened: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u32,
    failures: u32,
}

impl Counted {
    fn new(began: Instant) -> Self {
        Self { slices: [Slice::default(); SLICES], newest: 0, began, opened: 0 }
    }

    /// The slice of this moment; older ones fall out.
    fn now(&mut self) -> &mut Slice {
        let slice = WINDOW / SLICES as u32;
        let mut behind = self.began.elapsed().as_millis() / slice.as_millis();
        if behind >= 2 * SLICES as u128 {
            let opened = self.opened;
            *self = Self { opened, ..Self::new(Instant::now()) };
            behind = 0;
        }
        for _ in 0..behind {
            self.newest = (self.newest + 1) % SLICES;
            self.slices[self.newest] = Slice::default();
            self.began += slice;
        }
        &mut self.slices[self.newest]
    }
}

impl FailurePolicy for Counted {
    fn record_success(&mut self) {
        self.now().calls += 1;
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let slice = self.now();
        slice.calls += 1;
        slice.failures += 1;
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(of).sum::<u32>();
        let (calls, failures) = (sum(|slice| slice.calls), sum(|slice| slice.failures));
        if calls < FEWEST && self.opened == 0 || failures * 2 < calls {
            return None;
        }
        let time = OPEN[0].saturating_mul(1 << self.opened.min(8)).min(OPEN[1]);
        self.opened += 1;
        Some(time.mul_f64(1.0 + fastrand::f64() / 2.0))
    }

    fn revived(&mut self) {
        *self = Self::new(Instant::now());
    }
}

/// Shows a breaker's state as a metric and in the log.
#[derive(Debug)]
struct Shown {
    method: &'static str,
    labels: Vec<KeyValue>,
    state: Arc<AtomicU8>,
}

impl Shown {
    fn new(method: &'static Method, peer: &[KeyValue]) -> Self {
        let labels = [peer, &[KeyValue::new(semconv::RPC_METHOD, method.name.as_str())]].concat();
        Self { method: &method.name, labels, state: Arc::default() }
    }

    fn show(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        STATE.record(f64::from(state), &self.labels);
    }
}

impl Instrument for Shown {
    // The call's own span and metric say it.
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.show(OPENED);
        tracing::warn!(method = self.method, "calls fail, and are refused for a while");
    }

    fn on_half_open(&self) {
        self.show(TRIED);
    }

    fn on_closed(&self) {
        self.show(CLOSED);
        tracing::debug!(method = self.method, "calls are made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(outcomes: impl IntoIterator<Item = bool>) -> Option<Duration> {
        let mut counted = Counted::new(Instant::now());
        outcomes.into_iter().fold(None, |opened, is_good| {
            if is_good {
                counted.record_success();
                return opened;
            }
            opened.or(counted.mark_dead_on_failure())
        })
    }

    #[tokio::test]
    async fn it_opens_when_half_of_the_calls_fail_and_there_are_some() {
        assert!(counted((0..100).map(|call| call % 3 != 0)).is_none(), "a third fails");
        let time = counted((0..100).map(|call| call % 3 == 0)).expect("two thirds fail");
        assert!((OPEN[0]..=OPEN[0].mul_f64(1.5)).contains(&time), "{time:?}");
        assert!(counted([false; FEWEST as usize - 1]).is_none(), "there are too few");
        // One failure at a moment of many successes is one of many.
        assert!(counted((0..30).map(|call| call != 0)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_long_ago_is_forgotten_and_each_failure_to_close_takes_longer() {
        let mut counted = Counted::new(Instant::now());
        for _ in 0..FEWEST - 1 {
            assert_eq!(counted.mark_dead_on_failure(), None);
        }
        tokio::time::advance(WINDOW + WINDOW / SLICES as u32).await;
        assert_eq!(counted.mark_dead_on_failure(), None, "the others are forgotten");
        let opened: Vec<_> = (0..40).filter_map(|_| counted.mark_dead_on_failure()).collect();
        assert!(opened.windows(2).take(3).all(|pair| pair[1] > pair[0].mul_f64(0.9)), "{opened:?}");
        assert!(opened.iter().all(|time| *time <= OPEN[1].mul_f64(1.5)));
        counted.revived();
        assert_eq!(counted.mark_dead_on_failure(), None);
    }
}
