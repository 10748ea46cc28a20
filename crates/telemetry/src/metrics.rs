//! Metrics: one meter for the process, read as Prometheus text, and pushed over OTLP where that is asked for.

use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _, UpDownCounter};
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, Pipeline, SdkMeterProvider, Temporality};
use prometheus::TextEncoder;

use crate::semconv::{self, Metric, metric};

mod process;
mod push;
mod tally;

pub(crate) use self::push::Push;
pub use self::tally::Tally;

/// What measures, and how it is read.
struct Metrics {
    provider: SdkMeterProvider,
    reader: Option<Reader>,
}

static METRICS: OnceLock<Metrics> = OnceLock::new();

/// The one reader of all metrics. Prometheus text and OTLP are two forms of what it reads: with a reader each, every
/// measurement would be added up twice.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<PrometheusExporter>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut opentelemetry_sdk::metrics::data::ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

impl Metrics {
    /// Without a reader, instruments measure nothing.
    fn disabled() -> Self {
        Self { provider: SdkMeterProvider::builder().build(), reader: None }
    }

    fn new(resource: Resource) -> Self {
        let builder = SdkMeterProvider::builder().with_resource(resource);
        // Without a registry the exporter would make one that nobody can read.
        let exporter = opentelemetry_prometheus::exporter().with_registry(prometheus::default_registry().clone());
        match exporter.scope_info_enabled(false).build() {
            Ok(exporter) => {
                let reader = Reader(Arc::new(exporter));
                Self { provider: builder.with_reader(reader.clone()).build(), reader: Some(reader) }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no metrics");
                Self { provider: builder.build(), reader: None }
            }
        }
    }
}

/// Names the process in its metrics, if no instrument was made before, and measures the process itself; or has nothing
/// measured at all.
pub(crate) fn init(resource: Resource, disabled: bool) {
    METRICS.get_or_init(|| if disabled { Metrics::disabled() } else { Metrics::new(resource) });
    process::observe();
}

/// The reader of all metrics, for whoever pushes them.
pub(crate) fn reader() -> Option<Reader> {
    METRICS.get()?.reader.clone()
}

/// The meter of all instruments, which the metrics of [`semconv`] make.
pub(crate) fn meter() -> Meter {
    let scope = InstrumentationScope::builder("mall").with_schema_url(semconv::SCHEMA_URL).build();
    METRICS.get_or_init(|| Metrics::new(Resource::builder().build())).provider.meter_with_scope(scope)
}

/// All metrics of the process as Prometheus text (version 0.0.4).
pub fn metrics_text() -> String {
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "encode metrics");
        String::new()
    })
}

/// A duration and the calls in flight: what every layer measures.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) duration: Histogram<f64>,
    pub(crate) active: UpDownCounter<i64>,
}

impl Calls {
    fn new(duration: &Metric, active: &Metric) -> Self {
        Self { duration: duration.histogram(), active: active.up_down_counter() }
    }
}

pub(crate) static RPC_SERVER: LazyLock<Calls> =
    LazyLock::new(|| Calls::new(&metric::RPC_SERVER_CALL_DURATION, &metric::RPC_SERVER_ACTIVE_CALLS));
pub(crate) static RPC_CLIENT: LazyLock<Calls> =
    LazyLock::new(|| Calls::new(&metric::RPC_CLIENT_CALL_DURATION, &metric::RPC_CLIENT_ACTIVE_CALLS));
pub(crate) static HTTP_SERVER: LazyLock<Calls> =
    LazyLock::new(|| Calls::new(&metric::HTTP_SERVER_REQUEST_DURATION, &metric::HTTP_SERVER_ACTIVE_REQUESTS));
