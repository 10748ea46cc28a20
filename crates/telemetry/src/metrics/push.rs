//! Metrics over OTLP: all of them, every so often, by a task that no request waits for.

use std::time::Duration;

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Reader;
use crate::queue::REPORT_EVERY;

/// The task that pushes.
#[derive(Debug)]
pub(crate) struct Push {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Push {
    /// Pushes every `interval`, and each time gives up after `timeout`: the next time says it all again.
    pub(crate) fn start(reader: Reader, exporter: MetricExporter, interval: Duration, timeout: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { task: tokio::spawn(run(reader, exporter, interval, timeout, stopped)), stop }
    }

    /// Pushes a last time, within `limit`.
    pub(crate) async fn shutdown(mut self, limit: Duration) {
        // A task that has ended has nothing to push.
        let _ = self.stop.send(());
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn run(
    reader: Reader,
    exporter: MetricExporter,
    interval: Duration,
    timeout: Duration,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut reported: Option<Instant> = None;
    let mut is_last = false;
    while !is_last {
        is_last = tokio::time::timeout(interval, &mut stopped).await.is_ok();
        let mut metrics = ResourceMetrics::default();
        let error = match reader.collect(&mut metrics) {
            Ok(()) => match tokio::time::timeout(timeout, exporter.export(&metrics)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {timeout:?}"),
            },
            Err(error) => error.to_string(),
        };
        if reported.is_none_or(|last| last.elapsed() >= REPORT_EVERY) {
            reported = Some(Instant::now());
            tracing::warn!(error, "metrics are not pushed: the collector fails");
        }
    }
}
