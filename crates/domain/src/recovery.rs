//! Work that a service began and that a crash, or a peer that was away, left unfinished: it is in the database, and this
//! worker takes it up again.

use std::sync::LazyLock;
use std::time::Duration;

use futures::StreamExt as _;
use opentelemetry::metrics::Gauge;
use rpc::{Lifecycle, deadline};
use serde::{Deserialize, Serialize};
use telemetry::{KeyValue, Span, SpanKind, semconv};
use tokio::time::Instant;
use tonic::Status;

use crate::{millis, now};

/// How unfinished work is looked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often to look.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How much is taken up at one time.
    pub batch: u16,
    /// How long a call has for what it began before this worker takes it up; more than a call may take.
    #[serde(with = "humantime_serde")]
    pub head_start: Duration,
    /// How long a process has what it took up for itself; then another one may take it.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The wait after the first failure; it doubles with each that follows.
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
            batch: 64,
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

/// Something unfinished that this process has taken up.
#[derive(Clone, Debug)]
pub struct Task<T> {
    /// Its key in the database.
    pub id: i64,
    /// How often it was taken up before.
    pub attempts: i32,
    /// The span that began it, as a W3C `traceparent`.
    pub traceparent: Option<String>,
    /// What it is about.
    pub work: T,
}

/// What is due and was not yet taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How much.
    pub count: i64,
    /// Since when the oldest has been due, in milliseconds since 1970.
    pub since: Option<i64>,
}

/// A kind of work that is kept in the database until it is done; times are milliseconds since 1970.
pub trait Unfinished: Clone + Send + Sync + 'static {
    /// What one piece of it is about.
    type Work: Send;

    /// What goes wrong with it.
    type Error: std::error::Error + Into<Status> + Send + 'static;

    /// The name of its spans, and its label in metrics.
    const NAME: &'static str;

    /// What was due by `now` and was not taken up.
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

    /// Leaves a piece for later: it is due again at `due`.
    fn postpone(&self, id: i64, due: i64) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Finishes what is unfinished, again and again, until the process drains.
pub async fn run(unfinished: impl Unfinished, config: Config, lifecycle: Lifecycle) {
    loop {
        let full = round(&unfinished, &config).await;
        // A process that drains has its calls to finish.
        let pause = if full { Duration::ZERO } else { config.interval };
        tokio::select! {
            () = lifecycle.draining() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes up one batch; tells whether there may be more.
async fn round<U: Unfinished>(unfinished: &U, config: &Config) -> bool {
    let tasks = match telemetry::untraced(look(unfinished, config)).await {
        Ok(tasks) => tasks,
        Err(error) => return failed(U::NAME, &error),
    };
    let full = tasks.len() == usize::from(config.batch);
    futures::stream::iter(tasks).for_each_concurrent(CONCURRENT, |task| attempt(unfinished, task, config)).await;
    full
}

/// Measures what is waiting, and takes up some of it.
async fn look<U: Unfinished>(unfinished: &U, config: &Config) -> Result<Vec<Task<U::Work>>, U::Error> {
    let now = now();
    let waiting = unfinished.waiting(now).await?;
    record::<U>(waiting, now);
    if waiting.count == 0 {
        return Ok(Vec::new());
    }
    unfinished.take(now, now.saturating_add(millis(config.lease)), config.batch.into()).await
}

/// Works on one piece, in a trace of its own that is linked to the one which began it.
async fn attempt<U: Unfinished>(unfinished: &U, task: Task<U::Work>, config: &Config) {
    let Task { id, attempts, traceparent, work } = task;
    let span = Span::start_linked(SpanKind::Internal, U::NAME, traceparent.as_deref());
    let working = async {
        // Less than the lease: who takes it up next must not meet this one.
        let deadline = Instant::now() + config.lease / 2;
        let Err(error) = deadline::scope(deadline, unfinished.finish(work)).await else { return };
        span.fail("unfinished");
        let wait = wait(config, attempts);
        tracing::warn!(id, ?wait, error = &error as &dyn std::error::Error, "{} failed and is tried again", U::NAME);
        if let Err(error) = unfinished.postpone(id, now().saturating_add(millis(wait))).await {
            // Then it is due when the lease ends.
            failed(U::NAME, &error);
        }
    };
    span.run(working).await;
}

/// Twice as long with each attempt.
fn wait(config: &Config, attempts: i32) -> Duration {
    let factor = 1_u32.checked_shl(attempts.unsigned_abs()).unwrap_or(u32::MAX);
    config.wait.saturating_mul(factor).min(config.longest_wait)
}

fn failed(name: &str, error: &(dyn std::error::Error + 'static)) -> bool {
    tracing::warn!(error, "{name}: the database cannot be asked what is unfinished");
    false
}

fn record<U: Unfinished>(waiting: Waiting, now: i64) {
    static COUNT: LazyLock<Gauge<i64>> =
        LazyLock::new(|| telemetry::meter().i64_gauge(semconv::RECOVERY_WAITING).with_unit("{task}").build());
    static AGE: LazyLock<Gauge<f64>> =
        LazyLock::new(|| telemetry::meter().f64_gauge(semconv::RECOVERY_AGE).with_unit("s").build());
    let labels = [KeyValue::new(semconv::RECOVERY_KIND, U::NAME)];
    COUNT.record(waiting.count, &labels);
    let age = waiting.since.map_or(0, |since| now.saturating_sub(since));
    AGE.record(Duration::from_millis(age.unsigned_abs()).as_secs_f64(), &labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound() {
        let config = Config::default();
        let waits = [0, 1, 2, 8, 9, 31, 32, i32::MAX].map(|attempts| wait(&config, attempts).as_secs());
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300, 300]);
    }
}
