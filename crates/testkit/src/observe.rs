//! Collector, Jaeger and Prometheus, wired together as they are shipped: the collector sends traces to Jaeger and is read
//! by Prometheus, which Jaeger asks for its Monitor tab.

use std::path::Path;

use crate::collector::{self, Collector};
use crate::jaeger::{self, Jaeger};
use crate::ports;
use crate::prometheus::{self, Prometheus};

/// The three, running; they go when this is dropped.
#[derive(Debug)]
pub struct Observe {
    /// Takes all that the services send, at `otlp_grpc` or `otlp_http`.
    pub collector: Collector,
    /// Has the traces.
    pub jaeger: Jaeger,
    /// Has the metrics.
    pub prometheus: Prometheus,
}

/// How to start them.
#[derive(Debug)]
pub struct Builder {
    collector: collector::Builder,
    max_traces: u32,
}

/// All traces are kept, and decided on after a second, unless a test says otherwise.
pub fn builder() -> Builder {
    Builder { collector: collector::builder(), max_traces: 100_000 }
}

impl Builder {
    /// One environment variable more of the collector; k8s/collector/config.yaml says which there are.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.collector = self.collector.variable(name, value);
        self
    }

    /// Keeps the collector's queue in this directory.
    pub fn storage(mut self, dir: &Path) -> Self {
        self.collector = self.collector.storage(dir);
        self
    }

    /// How many traces Jaeger keeps.
    pub fn max_traces(mut self, count: u32) -> Self {
        self.max_traces = count;
        self
    }

    /// Starts all three; `None`, said aloud, where one is missing and not required.
    ///
    /// # Panics
    ///
    /// Panics if one is required but missing, or does not start.
    pub async fn start(self) -> Option<Observe> {
        let address = ports::free().to_string();
        let max_traces = self.max_traces.to_string();
        let url = format!("http://{address}");
        let jaeger = jaeger::start_with(&[("JAEGER_PROMETHEUS", &url), ("JAEGER_MAX_TRACES", &max_traces)]).await?;
        let collector = self.collector.jaeger(&jaeger.otlp_grpc).start().await?;
        let targets = [("mall", host(&collector.metrics)), ("otelcol", host(&collector.own_metrics))];
        let prometheus = prometheus::start_at(&address, &targets).await?;
        Some(Observe { collector, jaeger, prometheus })
    }
}

/// HOST:PORT of a URL of metrics.
fn host(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches("/metrics")
}
