//! The metrics: each with its name, unit, kind and attributes, from which its instrument is made.

use opentelemetry::metrics::{AsyncInstrument, Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry_semantic_conventions::metric as standard;

use super::attribute::*;
use crate::metrics::meter;

/// A metric that mall measures.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, such as `rpc.server.call.duration`.
    pub name: &'static str,
    /// Its unit in UCUM: `s`, `By`, `{call}`.
    pub unit: &'static str,
    /// How its values add up.
    pub kind: Kind,
    /// The keys of its attributes; some series lack some of them.
    pub attributes: &'static [&'static str],
    /// What it tells, in a few words.
    pub about: &'static str,
}

/// How the values of a metric add up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// A sum that grows and shrinks.
    UpDownCounter,
    /// A value that has no sum.
    Gauge,
    /// A distribution, counted in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// The conventions' buckets for durations of calls and requests, in seconds.
const CALLS: Kind = Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);
/// The conventions' buckets for durations of database statements, in seconds.
const STATEMENTS: Kind = Kind::Histogram(&[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]);

impl Metric {
    /// A counter of what happens.
    pub fn counter(&self) -> Counter<u64> {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        meter().u64_counter(self.name).with_unit(self.unit).with_description(self.about).build()
    }

    /// A sum of what comes and goes.
    pub fn up_down_counter(&self) -> UpDownCounter<i64> {
        debug_assert_eq!(self.kind, Kind::UpDownCounter, "{}", self.name);
        meter().i64_up_down_counter(self.name).with_unit(self.unit).with_description(self.about).build()
    }

    /// A value as it was last measured.
    pub fn gauge(&self) -> Gauge<f64> {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        meter().f64_gauge(self.name).with_unit(self.unit).with_description(self.about).build()
    }

    /// A distribution of values.
    pub fn histogram(&self) -> Histogram<f64> {
        let Kind::Histogram(bounds) = self.kind else { unreachable!("{} is no histogram", self.name) };
        let meter = meter();
        let builder = meter.f64_histogram(self.name).with_unit(self.unit).with_description(self.about);
        builder.with_boundaries(bounds.to_vec()).build()
    }

    /// Measures by `callback` whenever metrics are read: a counter, a sum or a gauge.
    pub fn observe(&self, callback: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static) {
        let Self { name, unit, about, .. } = *self;
        let meter = meter();
        match self.kind {
            Kind::Counter => {
                let builder = meter.f64_observable_counter(name).with_unit(unit).with_description(about);
                builder.with_callback(callback).build();
            }
            Kind::UpDownCounter => {
                let builder = meter.f64_observable_up_down_counter(name).with_unit(unit).with_description(about);
                builder.with_callback(callback).build();
            }
            Kind::Gauge => {
                let builder = meter.f64_observable_gauge(name).with_unit(unit).with_description(about);
                builder.with_callback(callback).build();
            }
            Kind::Histogram(_) => unreachable!("{name} is a histogram"),
        }
    }
}

/// Defines each metric as a constant, and [`ALL`] of them.
macro_rules! metrics {
    ($($constant:ident = $name:expr, $unit:literal, $kind:expr, [$($attribute:ident),*], $about:literal;)+) => {
        $(
            #[doc = $about]
            pub const $constant: Metric = Metric {
                name: $name,
                unit: $unit,
                kind: $kind,
                attributes: &[$($attribute),*],
                about: $about,
            };
        )+

        /// Every metric.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    RPC_SERVER_CALL_DURATION = standard::RPC_SERVER_CALL_DURATION, "s", CALLS,
        [RPC_SYSTEM_NAME, RPC_METHOD, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE],
        "How long calls to this service took";
    RPC_SERVER_ACTIVE_CALLS = "mall.rpc.server.active_calls", "{call}", Kind::UpDownCounter,
        [RPC_SYSTEM_NAME, RPC_METHOD],
        "Calls to this service that are under way";
    RPC_SERVER_REFUSED = "mall.rpc.server.refused", "{call}", Kind::Counter,
        [REASON],
        "Calls that were refused because too many were there: `overload`";
    RPC_SERVER_LIMIT = "mall.rpc.server.limit", "{call}", Kind::Gauge,
        [RPC_METHOD],
        "Calls of a method that may run at one time, as the service has learned it";
    RPC_CLIENT_CALL_DURATION = standard::RPC_CLIENT_CALL_DURATION, "s", CALLS,
        [RPC_SYSTEM_NAME, RPC_METHOD, SERVER_ADDRESS, SERVER_PORT, RPC_RESPONSE_STATUS_CODE, ERROR_TYPE],
        "How long calls to peers took";
    RPC_CLIENT_ACTIVE_CALLS = "mall.rpc.client.active_calls", "{call}", Kind::UpDownCounter,
        [RPC_SYSTEM_NAME, RPC_METHOD, SERVER_ADDRESS, SERVER_PORT],
        "Calls to peers that are under way";
    RPC_CLIENT_RESENDS = "mall.rpc.client.resends", "{call}", Kind::Counter,
        [SERVER_ADDRESS, SERVER_PORT, REASON],
        "Calls to peers that were sent again: the first endpoint did not look at it, `unprocessed`, broke before it \
         answered, `broken`, or said that it cannot now, `unavailable`";
    RPC_CLIENT_BREAKER_STATE = "mall.rpc.client.breaker.state", "{state}", Kind::Gauge,
        [RPC_METHOD, SERVER_ADDRESS, SERVER_PORT],
        "Whether calls to a peer's method are made, 0, refused because they fail, 2, or tried again, 1";
    DISCOVERY_ENDPOINTS = "mall.discovery.endpoints", "{endpoint}", Kind::Gauge,
        [SERVER_ADDRESS],
        "Endpoints of a peer that are known by DNS or from Kubernetes";
    HTTP_SERVER_REQUEST_DURATION = standard::HTTP_SERVER_REQUEST_DURATION, "s", CALLS,
        [HTTP_REQUEST_METHOD, URL_SCHEME, HTTP_ROUTE, HTTP_RESPONSE_STATUS_CODE, ERROR_TYPE],
        "How long requests to this API took";
    HTTP_SERVER_ACTIVE_REQUESTS = standard::HTTP_SERVER_ACTIVE_REQUESTS, "{request}", Kind::UpDownCounter,
        [HTTP_REQUEST_METHOD, URL_SCHEME],
        "Requests to this API that are under way";
    DB_OPERATION_DURATION = standard::DB_CLIENT_OPERATION_DURATION, "s", STATEMENTS,
        [DB_SYSTEM_NAME, DB_NAMESPACE, DB_OPERATION_NAME, DB_COLLECTION_NAME, ERROR_TYPE],
        "How long statements took";
    DB_CONNECTIONS = standard::DB_CLIENT_CONNECTION_COUNT, "{connection}", Kind::UpDownCounter,
        [DB_CLIENT_CONNECTION_POOL_NAME, DB_CLIENT_CONNECTION_STATE],
        "Connections of the pool";
    DB_CONNECTIONS_MAX = standard::DB_CLIENT_CONNECTION_MAX, "{connection}", Kind::UpDownCounter,
        [DB_CLIENT_CONNECTION_POOL_NAME],
        "Connections that the pool may have";
    DB_PENDING = standard::DB_CLIENT_CONNECTION_PENDING_REQUESTS, "{request}", Kind::UpDownCounter,
        [DB_CLIENT_CONNECTION_POOL_NAME],
        "Callers that wait for a connection";
    DB_TIMEOUTS = standard::DB_CLIENT_CONNECTION_TIMEOUTS, "{timeout}", Kind::Counter,
        [DB_CLIENT_CONNECTION_POOL_NAME],
        "Callers that waited for a connection in vain";
    DB_WAIT_TIME = standard::DB_CLIENT_CONNECTION_WAIT_TIME, "s", STATEMENTS,
        [DB_CLIENT_CONNECTION_POOL_NAME],
        "How long callers waited for a connection";
    LOGINS = "mall.user.logins", "{login}", Kind::Counter,
        [RESULT],
        "Tries to log in: `succeeded`, `refused`, `limited`, or `failed` for reasons of ours";
    PRODUCT_READS = "mall.product.reads", "{read}", Kind::Counter,
        [RESULT],
        "Products and lists of them that somebody looked at: from memory, `hit`, or from the database, `miss`";
    ORDER_STEPS = "mall.order.steps", "{order}", Kind::Counter,
        [ORDER_STATE],
        "Orders that came into a state: `pending`, `placed`, `rejected`, `paid`, `closed`, `cancelling` or `cancelled`";
    PAYMENTS = "mall.pay.payments", "{payment}", Kind::Counter,
        [RESULT],
        "Payments that were settled: `succeeded` or `failed`; and, later, those that succeeded in vain: `refund_due`";
    CALLBACKS_REFUSED = "mall.pay.callbacks.refused", "{callback}", Kind::Counter,
        [REASON],
        "Callbacks of the provider that were refused: `signature`, `invalid`, `mismatch`, `unknown` or `state`";
    RECOVERY_WAITING = "mall.recovery.waiting", "{task}", Kind::Gauge,
        [RECOVERY_KIND],
        "Work that a crash or an absent peer left and that is due; of payments it is the length of the outbox";
    RECOVERY_AGE = "mall.recovery.age", "s", Kind::Gauge,
        [RECOVERY_KIND],
        "For how long the oldest of that work has been due";
    RECOVERY_ATTEMPTS = "mall.recovery.attempts", "{attempt}", Kind::Counter,
        [RECOVERY_KIND, RESULT],
        "Tries to finish such work: `done`, `failed` or `timeout`";
    SPANS_SENT = "mall.telemetry.spans.sent", "{span}", Kind::Counter,
        [],
        "Spans that were handed over to the collector";
    SPANS_DROPPED = "mall.telemetry.spans.dropped", "{span}", Kind::Counter,
        [REASON],
        "Spans that were lost: `queue_full`, `failed`, `timeout`, `rejected` or `shutdown`";
    LOGS_SENT = "mall.telemetry.logs.sent", "{record}", Kind::Counter,
        [],
        "Log records that were handed over to the collector";
    LOGS_DROPPED = "mall.telemetry.logs.dropped", "{record}", Kind::Counter,
        [REASON],
        "Log records that were lost on their way to the collector: `queue_full`, `failed`, `timeout`, `rejected` or `shutdown`";
    LOGS_SUPPRESSED = "mall.telemetry.logs.suppressed", "{record}", Kind::Counter,
        [],
        "Log lines of a burst that were counted and not written";
    PROCESS_CPU_TIME = standard::PROCESS_CPU_TIME, "s", Kind::Counter,
        [CPU_MODE],
        "CPU time that the process took";
    PROCESS_MEMORY_USAGE = standard::PROCESS_MEMORY_USAGE, "By", Kind::UpDownCounter,
        [],
        "Memory that the process has in use";
    PROCESS_FILE_DESCRIPTORS = standard::PROCESS_UNIX_FILE_DESCRIPTOR_COUNT, "{file_descriptor}", Kind::UpDownCounter,
        [],
        "Files and connections that the process has open";
    PROCESS_UPTIME = standard::PROCESS_UPTIME, "s", Kind::Gauge,
        [],
        "How long the process has been running";
    TOKIO_WORKERS = "mall.tokio.workers", "{thread}", Kind::UpDownCounter,
        [],
        "Threads on which tokio runs tasks";
    TOKIO_TASKS = "mall.tokio.tasks", "{task}", Kind::UpDownCounter,
        [],
        "Tasks that have not ended";
    TOKIO_QUEUE = "mall.tokio.queue", "{task}", Kind::Gauge,
        [],
        "Tasks that wait in the queue of all threads";
    TOKIO_BUSY = "mall.tokio.busy", "s", Kind::Counter,
        [],
        "Time that the threads were at work, all together";
    VIEWER_STORE_USAGE = "mall.viewer.store.usage", "By", Kind::Gauge,
        [],
        "Memory that traces take in the viewer";
    VIEWER_STORE_LIMIT = "mall.viewer.store.limit", "By", Kind::Gauge,
        [],
        "Memory that traces may take in the viewer";
    VIEWER_STORE_TRACES = "mall.viewer.store.traces", "{trace}", Kind::Gauge,
        [],
        "Traces that the viewer keeps";
    VIEWER_SPANS_STORED = "mall.viewer.spans.stored", "{span}", Kind::Counter,
        [],
        "Spans that the viewer stored";
    VIEWER_SPANS_CUT = "mall.viewer.spans.cut", "{span}", Kind::Counter,
        [],
        "Spans that the viewer left out of a trace that was too large";
    VIEWER_SPANS_REFUSED = "mall.viewer.spans.refused", "{span}", Kind::Counter,
        [],
        "Spans that were too large for the viewer";
    VIEWER_TRACES_EVICTED = "mall.viewer.traces.evicted", "{trace}", Kind::Counter,
        [],
        "Traces that the viewer dropped to make room";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_attributes_are_known() {
        for (index, metric) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != metric.name), "{} is there twice", metric.name);
            for attribute in metric.attributes {
                let known = super::super::attribute::ALL.iter().any(|(key, _)| key == attribute);
                assert!(known, "{} has {attribute}, which is not explained", metric.name);
            }
        }
    }
}
