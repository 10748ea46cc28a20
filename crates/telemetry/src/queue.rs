//! The bounded queue between the requests and the collector, for spans and for log records.
//!
//! The SDK's batch processors tell nobody how many they lost, and their threads cannot leave a collector that hangs;
//! here everything is counted, sent or dropped with the reason, and an export ends when its time is over.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Queue;
use crate::semconv::{self, Metric};

/// Losses, and failures to send, are logged at most this often.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A way out for what a queue holds.
pub(crate) trait Export: fmt::Debug + Send + Sync + 'static {
    /// One of what is sent.
    type Item: fmt::Debug + Send + 'static;

    /// What many of them are called: `spans`.
    const ITEMS: &'static str;
    /// How many were sent.
    const SENT: Metric;
    /// How many were lost, by reason.
    const DROPPED: Metric;

    /// Where they go, for people.
    fn endpoint(&self) -> &str;

    /// Sends one batch; tells how many of it the collector rejected. The error is for the log.
    fn export(&self, batch: Vec<Self::Item>) -> impl Future<Output = Result<u64, String>> + Send;
}

/// Why something was lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    /// The collector was slower than the service.
    QueueFull,
    /// The collector refused the batch, or is not there.
    Failed,
    /// The collector did not answer in time.
    Timeout,
    /// The collector took the batch, but not this one of it.
    Rejected,
    /// The process ended before it was sent.
    Shutdown,
}

const REASONS: [(Reason, &str); 5] = [
    (Reason::QueueFull, "queue_full"),
    (Reason::Failed, "failed"),
    (Reason::Timeout, "timeout"),
    (Reason::Rejected, "rejected"),
    (Reason::Shutdown, "shutdown"),
];

/// What became of everything that was put into a queue.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    dropped: [AtomicU64; REASONS.len()],
}

impl Counts {
    fn lose(&self, reason: Reason, items: u64) {
        self.dropped[reason as usize].fetch_add(items, Ordering::Relaxed);
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
    #[expect(clippy::cast_precision_loss, reason = "a process never makes 2^52 spans")]
    fn publish(self: &Arc<Self>, sent: &Metric, dropped: &Metric) {
        let counts = self.clone();
        sent.observe(move |value| value.observe(counts.sent() as f64, &[]));
        let counts = self.clone();
        dropped.observe(move |value| {
            for (reason, name) in REASONS {
                value.observe(counts.dropped(reason) as f64, &[KeyValue::new(semconv::REASON, name)]);
            }
        });
    }
}

/// The queue's end on the requests' side.
#[derive(Debug)]
pub(crate) struct Processor<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    wake: Notify,
    config: Queue,
    counts: Arc<Counts>,
    /// Items that were taken out of the queue and are neither sent nor lost yet.
    under_way: AtomicU64,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Shared<T> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The items under way, to be counted by whoever gets them: the worker, or the shutdown that gave it up.
    fn settle(&self) -> u64 {
        self.under_way.swap(0, Ordering::AcqRel)
    }
}

impl<T: Send + 'static> Processor<T> {
    /// A queue whose worker runs on this runtime and whose counts are among the metrics.
    pub(crate) fn start<E: Export<Item = T>>(config: Queue, exporter: E) -> (Self, Worker<E>) {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), closed: false }),
            wake: Notify::new(),
            config,
            counts: Arc::default(),
            under_way: AtomicU64::new(0),
        });
        shared.counts.publish(&E::SENT, &E::DROPPED);
        let task = tokio::spawn(work(shared.clone(), exporter));
        (Self { shared: shared.clone() }, Worker { shared, task })
    }

    #[cfg(test)]
    fn counts(&self) -> Arc<Counts> {
        self.shared.counts.clone()
    }

    /// Puts an item into the queue, or drops it; waits for nobody.
    fn put(&self, item: T) {
        let Shared { wake, config, counts, .. } = &*self.shared;
        let mut waiting = self.shared.waiting();
        if waiting.closed {
            counts.lose(Reason::Shutdown, 1);
        } else if waiting.items.len() >= config.size {
            counts.lose(Reason::QueueFull, 1);
        } else {
            waiting.items.push_back(item);
            let length = waiting.items.len();
            drop(waiting);
            if length == 1 || length == config.batch {
                wake.notify_one();
            }
        }
    }
}

impl SpanProcessor for Processor<SpanData> {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.put(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}

/// A log record, and the crate it came from.
pub(crate) type Logged = (SdkLogRecord, InstrumentationScope);

impl LogProcessor for Processor<Logged> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.put((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The queue's end on the collector's side.
#[derive(Debug)]
pub(crate) struct Worker<E: Export> {
    shared: Arc<Shared<E::Item>>,
    task: JoinHandle<()>,
}

impl<E: Export> Worker<E> {
    /// Sends what waits, within `limit`; what is not sent by then is lost and counted.
    pub(crate) async fn shutdown(mut self, limit: Duration) {
        self.shared.waiting().closed = true;
        self.shared.wake.notify_one();
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
            // It may be in the middle of counting.
            let _ = (&mut self.task).await;
        }
        let counts = &self.shared.counts;
        let left = std::mem::take(&mut self.shared.waiting().items).len() as u64;
        counts.lose(Reason::Shutdown, left + self.shared.settle());
        let dropped = counts.all_dropped();
        if dropped > 0 {
            tracing::warn!(dropped, sent = counts.sent(), "some {} of this process were lost", E::ITEMS);
        }
    }
}

async fn work<E: Export>(shared: Arc<Shared<E::Item>>, exporter: E) {
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
        let items = shared.settle();
        let error = match export {
            Ok(Ok(rejected)) => {
                let rejected = rejected.min(items);
                shared.counts.sent.fetch_add(items - rejected, Ordering::Relaxed);
                shared.counts.lose(Reason::Rejected, rejected);
                (rejected > 0).then(|| "it rejects some of them".to_owned())
            }
            Ok(Err(error)) => {
                shared.counts.lose(Reason::Failed, items);
                Some(error)
            }
            Err(_) => {
                shared.counts.lose(Reason::Timeout, items);
                Some(format!("no answer within {:?}", shared.config.timeout))
            }
        };
        report.after(shared.counts.all_dropped(), error, &exporter);
    }
}

fn is_ready<T>(shared: &Shared<T>, items: usize) -> bool {
    let waiting = shared.waiting();
    waiting.closed || waiting.items.len() >= items
}

/// The next batch; none when the queue is closed and empty.
fn take<T>(shared: &Shared<T>) -> Option<Vec<T>> {
    let mut waiting = shared.waiting();
    let count = waiting.items.len().min(shared.config.batch);
    let batch: Vec<_> = waiting.items.drain(..count).collect();
    // Under the lock, so that at no time is an item in neither place.
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
    fn after<E: Export>(&mut self, dropped: u64, error: Option<String>, exporter: &E) {
        self.error = error.or(self.error.take());
        if let Some(lost) = self.due(dropped, Instant::now()) {
            let error = self.error.take().unwrap_or_else(|| "it is too slow".to_owned());
            tracing::warn!(
                lost,
                error,
                endpoint = exporter.endpoint(),
                "{} are dropped: the collector fails",
                E::ITEMS
            );
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
