//! Metrics: one meter for the process, read as Prometheus text.

use std::sync::{LazyLock, OnceLock};

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _, UpDownCounter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::TextEncoder;

use crate::semconv;

static PROVIDER: OnceLock<SdkMeterProvider> = OnceLock::new();

fn provider(resource: Resource) -> SdkMeterProvider {
    let builder = SdkMeterProvider::builder().with_resource(resource);
    // Without a registry the exporter would make one that nobody can read.
    let exporter = opentelemetry_prometheus::exporter().with_registry(prometheus::default_registry().clone());
    match exporter.scope_info_enabled(false).build() {
        Ok(exporter) => builder.with_reader(exporter).build(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no metrics");
            builder.build()
        }
    }
}

/// Names the process in its metrics; nothing happens if an instrument was made before.
pub(crate) fn init(resource: Resource) {
    PROVIDER.get_or_init(|| provider(resource));
}

/// The meter for instruments of other crates; names and units come from [`semconv`].
pub fn meter() -> Meter {
    let scope = InstrumentationScope::builder("mall").with_schema_url(semconv::SCHEMA_URL).build();
    PROVIDER.get_or_init(|| provider(Resource::builder().build())).meter_with_scope(scope)
}

/// All metrics of the process as Prometheus text (version 0.0.4).
pub fn metrics_text() -> String {
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "encode metrics");
        String::new()
    })
}

/// A duration and the calls in flight: what every layer measures.
pub(crate) struct Calls {
    pub(crate) duration: Histogram<f64>,
    pub(crate) active: UpDownCounter<i64>,
}

impl Calls {
    fn new(duration: &'static str, active: &'static str, unit: &'static str) -> Self {
        let meter = meter();
        Self {
            duration: meter
                .f64_histogram(duration)
                .with_unit("s")
                .with_boundaries(semconv::DURATION_BUCKETS.to_vec())
                .build(),
            active: meter.i64_up_down_counter(active).with_unit(unit).build(),
        }
    }
}

pub(crate) static RPC_SERVER: LazyLock<Calls> =
    LazyLock::new(|| Calls::new(semconv::RPC_SERVER_CALL_DURATION, semconv::RPC_SERVER_ACTIVE_CALLS, "{call}"));
pub(crate) static RPC_CLIENT: LazyLock<Calls> =
    LazyLock::new(|| Calls::new(semconv::RPC_CLIENT_CALL_DURATION, semconv::RPC_CLIENT_ACTIVE_CALLS, "{call}"));
pub(crate) static HTTP_SERVER: LazyLock<Calls> = LazyLock::new(|| {
    Calls::new(semconv::HTTP_SERVER_REQUEST_DURATION, semconv::HTTP_SERVER_ACTIVE_REQUESTS, "{request}")
});
