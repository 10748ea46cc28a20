//! The bounded queue between the requests and the collector.
//!
//! The SDK's batch processor tells nobody how many spans it lost, and its thread cannot leave a collector that hangs;
//! here every span is counted, sent or dropped with the reason, and an export ends when its time is over. Sent are also
//! those that a collector takes and then rejects (`partial_success`): the exporter hides their number and logs a warning.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Queue;
use crate::export::Exporter;
use crate::{metrics, semconv};

/// Losses are logged at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Why a span was lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    /// The collector was slower than the service.
    QueueFull,
    /// The collector refused the batch, or is not there.
    Failed,
    /// The collector did not answer in time.
    Timeout,
    /// The process ended before the span was sent.
    Shutdown,
}

const REASONS: [(Reason, &str); 4] = [
    (Reason::QueueFull, "queue_full"),
    (Reason::Failed, "failed"),
    (Reason::Timeout, "timeout"),
    (Reason::Shutdown, "shutdown"),
];

/// What became of the finished spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    dropped: [AtomicU64; REASONS.len()],
}

impl Counts {
    fn lose(&self, reason: Reason, spans: u64) {
        self.dropped[reason as usize].fetch_add(spans, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    fn all_dropped(&self) -> u64 {
        REASONS.iter().map(|(reason, _)| self.dropped(*reason)).sum()
    }

    /// Shows the counts among the metrics.
    pub(crate) fn publish(self: &Arc<Self>) {
        let meter = metrics::meter();
        let counts = self.clone();
        meter
            .u64_observable_counter(semconv::SPANS_SENT)
            .with_unit("{span}")
            .with_callback(move |observer| observer.observe(counts.sent(), &[]))
            .build();
        let counts = self.clone();
        meter
            .u64_observable_counter(semconv::SPANS_DROPPED)
            .with_unit("{span}")
            .with_callback(move |observer| {
                for (reason, name) in REASONS {
                    observer.observe(counts.dropped(reason), &[KeyValue::new(semconv::DROP_REASON, name)]);
                }
            })
            .build();
    }
}

/// The queue's end on the requests' side.
#[derive(Clone, Debug)]
pub(crate) struct Processor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Notify,
    config: Queue,
    counts: Arc<Counts>,
    /// Spans that were taken out of the queue and are neither sent nor lost yet.
    under_way: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<SpanData>,
    closed: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spans under way, to be counted by whoever gets them: the worker, or the shutdown that gave it up.
    fn settle(&self) -> u64 {
        self.under_way.swap(0, Ordering::AcqRel)
    }
}

impl Processor {
    /// A queue whose worker runs on this runtime.
    pub(crate) fn start(config: Queue, exporter: Exporter) -> (Self, Worker) {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            wake: Notify::new(),
            config,
            counts: Arc::default(),
            under_way: AtomicU64::new(0),
        });
        let task = tokio::spawn(work(shared.clone(), exporter));
        (Self { shared: shared.clone() }, Worker { shared, task })
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.shared.counts.clone()
    }
}

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        let Shared { wake, config, counts, .. } = &*self.shared;
        let mut waiting = self.shared.waiting();
        if waiting.closed {
            counts.lose(Reason::Shutdown, 1);
        } else if waiting.spans.len() >= config.size {
            counts.lose(Reason::QueueFull, 1);
        } else {
            waiting.spans.push_back(span);
            let length = waiting.spans.len();
            drop(waiting);
            if length == 1 || length == config.batch {
                wake.notify_one();
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}

/// The queue's end on the collector's side.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Worker {
    /// Sends what waits, within `limit`; what is not sent by then is lost and counted.
    pub(crate) async fn shutdown(mut self, limit: Duration) {
        self.shared.waiting().closed = true;
        self.shared.wake.notify_one();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let counts = &self.shared.counts;
        let left = std::mem::take(&mut self.shared.waiting().spans).len() as u64;
        counts.lose(Reason::Shutdown, left + self.shared.settle());
        let dropped = counts.all_dropped();
        if dropped > 0 {
            tracing::warn!(dropped, sent = counts.sent(), "some spans of this process were lost");
        }
    }
}

async fn work(shared: Arc<Shared>, exporter: Exporter) {
    let mut report = Report::default();
    loop {
        while !is_ready(&shared, 1) {
            shared.wake.notified().await;
        }
        let more = async {
            while !is_ready(&shared, shared.config.batch) {
                shared.wake.notified().await;
            }
        };
        // Out of time is no failure: the batch is then a smaller one.
        let _ = tokio::time::timeout(shared.config.delay, more).await;
        let Some(batch) = take(&shared) else { return };
        let export = tokio::time::timeout(shared.config.timeout, exporter.export(batch)).await;
        let spans = shared.settle();
        let error = match export {
            Ok(Ok(())) => {
                shared.counts.sent.fetch_add(spans, Ordering::Relaxed);
                None
            }
            Ok(Err(error)) => {
                shared.counts.lose(Reason::Failed, spans);
                Some(error)
            }
            Err(_) => {
                shared.counts.lose(Reason::Timeout, spans);
                Some(format!("no answer within {:?}", shared.config.timeout))
            }
        };
        report.after(shared.counts.all_dropped(), error, &exporter);
    }
}

fn is_ready(shared: &Shared, spans: usize) -> bool {
    let waiting = shared.waiting();
    waiting.closed || waiting.spans.len() >= spans
}

/// The next batch; none when the queue is closed and empty.
fn take(shared: &Shared) -> Option<Vec<SpanData>> {
    let mut waiting = shared.waiting();
    let count = waiting.spans.len().min(shared.config.batch);
    let batch: Vec<_> = waiting.spans.drain(..count).collect();
    // Under the lock, so that at no time is a span in neither place.
    shared.under_way.store(count as u64, Ordering::Release);
    (!batch.is_empty()).then_some(batch)
}

/// Logs losses, at most once a minute.
#[derive(Default)]
struct Report {
    dropped: u64,
    error: Option<String>,
    last: Option<Instant>,
}

impl Report {
    fn after(&mut self, dropped: u64, error: Option<String>, exporter: &Exporter) {
        self.error = error.or(self.error.take());
        if let Some(spans) = self.due(dropped, Instant::now()) {
            let error = self.error.take().unwrap_or_else(|| "it is too slow".to_owned());
            tracing::warn!(spans, error, endpoint = exporter.endpoint(), "spans are dropped: the collector fails");
        }
    }

    /// How many losses to tell of now.
    fn due(&mut self, dropped: u64, now: Instant) -> Option<u64> {
        let lost = dropped - self.dropped;
        if lost == 0 || self.last.is_some_and(|last| now.duration_since(last) < REPORT_EVERY) {
            return None;
        }
        (self.dropped, self.last) = (dropped, Some(now));
        Some(lost)
    }
}

#[cfg(test)]
mod tests;
