//! Work that a service began and that a crash, or a peer that was away, left unfinished: it is in the database, and this
//! worker takes it up again.

use std::num::NonZeroU8;
use std::sync::LazyLock;
use std::time::Duration;

use futures::StreamExt as _;
use opentelemetry::metrics::Gauge;
use rpc::{Lifecycle, deadline};
use serde::{Deserialize, Serialize};
use telemetry::{KeyValue, Span, SpanKind, Tally, metric, semconv};
use tokio::time::Instant;
use tonic::Status;

use crate::{millis, now};

/// How unfinished work is looked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often to look; not more often than every 10 ms.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How much is taken up at one time.
    pub batch: NonZeroU8,
    /// How long a call has for what it began before this worker takes it up. More than a call usually takes: what both do is
    /// done twice, without effect.
    #[serde(with = "humantime_serde")]
    pub head_start: Duration,
    /// How long a process has what it took up for itself; then another one may take it.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The wait after the first failure. Each wait is as long as the work has been waiting, so that they double.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// The longest such wait.
    #[serde(with = "humantime_serde")]
    pub longest_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            batch: const { NonZeroU8::new(64).unwrap() },
            head_start: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// When this worker may take up what begins now, in milliseconds since 1970.
    pub fn due(&self) -> i64 {
        now().saturating_add(millis(self.head_start))
    }
}

/// How much of a batch is worked on at one time.
const CONCURRENT: usize = 8;

/// The shortest interval.
const MOMENT: Duration = Duration::from_millis(10);

/// Something unfinished that this process has taken up.
#[derive(Clone, Debug)]
pub struct Task<T> {
    /// Its key in the database.
    pub id: i64,
    /// Since when it has been waiting, in milliseconds since 1970.
    pub since: i64,
    /// The span that began it, as a W3C `traceparent`.
    pub traceparent: Option<String>,
    /// What it is about.
    pub work: T,
}

/// What is due, and what was taken up before and is still not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How much.
    pub count: i64,
    /// Since when the oldest has been waiting, in milliseconds since 1970.
    pub since: Option<i64>,
}

impl Waiting {
    /// Both together: each a number of pieces, and since when the oldest of them has been waiting.
    pub fn of(due: (i64, Option<i64>), taken: (i64, Option<i64>)) -> Self {
        Self { count: due.0 + taken.0, since: due.1.into_iter().chain(taken.1).min() }
    }
}

/// A kind of work that is kept in the database until it is done; times are milliseconds since 1970.
pub trait Unfinished: Clone + Send + Sync + 'static {
    /// What one piece of it is about.
    type Work: Send;

    /// What goes wrong with it.
    type Error: std::error::Error + Into<Status> + Send + 'static;

    /// The name of its spans, and its label in metrics.
    const NAME: &'static str;

    /// What was due by `now`, and what was taken up before.
    fn waiting(&self, now: i64) -> impl Future<Output = Result<Waiting, Self::Error>> + Send;

    /// Takes up at most `limit` pieces that were due by `now`: nobody else does before `until`.
    fn take(
        &self,
        now: i64,
        until: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Task<Self::Work>>, Self::Error>> + Send;

    /// Does one piece, whatever of it is done already.
    fn finish(&self, work: Self::Work) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Leaves for later what was taken up until `until`: it is due again at `due`. What somebody else has changed or taken up
    /// since then is left alone.
    fn postpone(&self, id: i64, until: i64, due: i64) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Finishes what is unfinished, again and again, until the process is told to stop.
pub async fn run<U: Unfinished>(unfinished: U, config: Config, lifecycle: Lifecycle) {
    ATTEMPTS.show(["done", "failed", "timeout"].map(|result| [U::NAME, result]));
    loop {
        let full = round(&unfinished, &config).await;
        // A process that stops has its calls to finish.
        let pause = if full { Duration::ZERO } else { config.interval.max(MOMENT) };
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes up one batch; tells whether there may be more.
async fn round<U: Unfinished>(unfinished: &U, config: &Config) -> bool {
    let lease = Lease::new(config);
    let tasks = match telemetry::untraced(look(unfinished, config, lease)).await {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "{}: look for what is unfinished", U::NAME);
            return false;
        }
    };
    let full = tasks.len() == usize::from(config.batch.get());
    let attempts = futures::stream::iter(tasks);
    attempts.for_each_concurrent(CONCURRENT, |task| attempt(unfinished, task, config, lease)).await;
    full
}

/// The time for which a batch is this process's own.
#[derive(Clone, Copy)]
struct Lease {
    /// When it was taken up, and until when: milliseconds since 1970.
    now: i64,
    until: i64,
    /// When this process is done with it: well before, for who takes it up next must not meet this one.
    deadline: Instant,
}

impl Lease {
    fn new(config: &Config) -> Self {
        let now = now();
        Self { now, until: now.saturating_add(millis(config.lease)), deadline: Instant::now() + config.lease / 2 }
    }
}

/// Measures what is waiting, and takes up some of it.
async fn look<U: Unfinished>(unfinished: &U, config: &Config, lease: Lease) -> Result<Vec<Task<U::Work>>, U::Error> {
    let waiting = unfinished.waiting(lease.now).await?;
    record::<U>(waiting, lease.now);
    if waiting.count == 0 {
        return Ok(Vec::new());
    }
    unfinished.take(lease.now, lease.until, config.batch.get().into()).await
}

/// Works on one piece, in a trace of its own that is linked to the one which began it.
async fn attempt<U: Unfinished>(unfinished: &U, task: Task<U::Work>, config: &Config, lease: Lease) {
    let Task { id, since, traceparent, work } = task;
    if Instant::now() >= lease.deadline {
        return;
    }
    let span = Span::start_linked(SpanKind::Internal, U::NAME, traceparent.as_deref());
    let working = async {
        let finishing = deadline::scope(lease.deadline, unfinished.finish(work));
        let error = match tokio::time::timeout_at(lease.deadline, finishing).await {
            Ok(Ok(())) => return count::<U>("done"),
            Ok(Err(error)) => error,
            // It is due when the lease ends.
            Err(_) => {
                count::<U>("timeout");
                return span.fail("timeout");
            }
        };
        count::<U>("failed");
        span.fail("unfinished");
        let wait = wait(config, now() - since);
        tracing::warn!(id, ?wait, error = &error as &dyn std::error::Error, "{} failed and is tried again", U::NAME);
        if let Err(error) = unfinished.postpone(id, lease.until, now().saturating_add(millis(wait))).await {
            tracing::warn!(id, error = &error as &dyn std::error::Error, "{}: leave it for later", U::NAME);
        }
    };
    span.run(working).await;
}

/// As long as it has been waiting, in milliseconds.
fn wait(config: &Config, waited: i64) -> Duration {
    let waited = Duration::from_millis(u64::try_from(waited).unwrap_or_default());
    waited.min(config.longest_wait).max(config.wait)
}

/// Tries to finish a piece.
static ATTEMPTS: Tally = Tally::new(metric::RECOVERY_ATTEMPTS);

fn count<U: Unfinished>(result: &'static str) {
    ATTEMPTS.count([U::NAME, result]);
}

fn record<U: Unfinished>(waiting: Waiting, now: i64) {
    static COUNT: LazyLock<Gauge<f64>> = LazyLock::new(|| metric::RECOVERY_WAITING.gauge());
    static AGE: LazyLock<Gauge<f64>> = LazyLock::new(|| metric::RECOVERY_AGE.gauge());
    let labels = [KeyValue::new(semconv::RECOVERY_KIND, U::NAME)];
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 pieces of work")]
    COUNT.record(waiting.count as f64, &labels);
    let age = waiting.since.map_or(0, |since| now.saturating_sub(since));
    AGE.record(Duration::from_millis(age.unsigned_abs()).as_secs_f64(), &labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_as_long_as_the_wait_so_far_within_bounds() {
        let config = Config::default();
        let waits = [-5, 0, 1_500, 200_000, 400_000, i64::MAX].map(|waited| wait(&config, waited).as_millis());
        assert_eq!(waits, [1_000, 1_000, 1_500, 200_000, 300_000, 300_000]);
    }

    #[test]
    fn the_oldest_of_both_counts() {
        assert_eq!(Waiting::of((2, Some(7)), (3, Some(5))), Waiting { count: 5, since: Some(5) });
        assert_eq!(Waiting::of((0, None), (0, None)), Waiting::default());
    }
}
