//! Circuit breakers: calls to a method that fails all the time are refused here, without being made.
//!
//! failsafe counts and decides; a breaker opens when half of the calls of a while fail, and lets calls through again after a
//! second or a few, to see.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use failsafe::backoff::{EqualJittered, equal_jittered};
use failsafe::failure_policy::{SuccessRateOverTimeWindow, success_rate_over_time_window};
use failsafe::{Instrument, StateMachine};
use opentelemetry::metrics::Gauge;
use telemetry::{KeyValue, metric, semconv};

use super::method::Method;

/// It opens when less than this share of the calls succeeds.
const SUCCEEDING: f64 = 0.5;
/// The time over which they are counted, of which nearly three quarters pass with nothing but failures before it opens.
const WINDOW: Duration = Duration::from_secs(5);
/// It stays closed where there are fewer calls than this in that time.
const FEWEST: u32 = 20;
/// How long it is open for the first time, and at most; half of it is chance.
const OPEN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

static STATE: LazyLock<Gauge<f64>> = LazyLock::new(|| metric::RPC_CLIENT_BREAKER_STATE.gauge());

/// The breaker of one method of a peer.
pub(super) type Breaker = StateMachine<SuccessRateOverTimeWindow<EqualJittered>, Shown>;

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
        let make = || {
            let policy = success_rate_over_time_window(SUCCEEDING, FEWEST, WINDOW, equal_jittered(OPEN[0], OPEN[1]));
            StateMachine::new(policy, Shown::new(method, &self.peer))
        };
        Some(self.methods.get(method.index)?.get_or_init(make))
    }
}

/// Shows a breaker's state as a metric and in the log.
#[derive(Debug)]
pub(super) struct Shown {
    method: &'static str,
    labels: Vec<KeyValue>,
}

impl Shown {
    fn new(method: &'static Method, peer: &[KeyValue]) -> Self {
        let labels = [peer, &[KeyValue::new(semconv::RPC_METHOD, method.name.as_str())]].concat();
        Self { method: &method.name, labels }
    }
}

impl Instrument for Shown {
    // The call's own span and metric say it.
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        STATE.record(2.0, &self.labels);
        tracing::warn!(method = self.method, "calls fail, and are refused for a while");
    }

    fn on_half_open(&self) {
        STATE.record(1.0, &self.labels);
    }

    fn on_closed(&self) {
        STATE.record(0.0, &self.labels);
        tracing::debug!(method = self.method, "calls are made");
    }
}
