//! Trying again for a while what fails because something is not up yet.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Error;
use backon::{ExponentialBuilder, Retryable as _};

/// The waits between two tries; chance makes each of them longer, up to twice.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_max_delay(Duration::from_secs(3))
    .with_jitter()
    .without_max_times();

/// How long to wait for others.
#[derive(clap::Args, Debug)]
pub(crate) struct Patience {
    /// For how long to try again while what this needs is not up yet
    #[arg(long, env = "MALL_WAIT", value_name = "D", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

impl Patience {
    /// Tries until it succeeds, or fails in a way that is not `passing`, or the time is over; says on standard error why it
    /// tries again.
    pub(crate) async fn attempt<T, F: Future<Output = anyhow::Result<T>>>(
        &self,
        passing: impl Fn(&Error) -> bool,
        attempt: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let left = || self.wait.saturating_sub(start.elapsed());
        let tell = |error: &Error, _| {
            let left = humantime::format_duration(Duration::from_secs(left().as_secs()));
            let _ = writeln!(std::io::stderr(), "{error:#}; trying again, for {left} more at most");
        };
        let in_time = |_: &Error, wait: Option<Duration>| wait.filter(|wait| *wait <= left());
        attempt.retry(WAITS).when(passing).adjust(in_time).notify(tell).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_success_or_with_what_does_not_pass_or_with_its_time() {
        let patient = Patience { wait: Duration::from_secs(60) };
        let tries = AtomicU32::new(0);
        let third = async || match tries.fetch_add(1, Ordering::Relaxed) {
            2 => Ok(3),
            _ => bail!("not yet"),
        };
        assert_eq!(patient.attempt(|_| true, third).await.unwrap(), 3);
        let wrong =
            patient.attempt(|error| error.to_string() != "wrong", async || -> anyhow::Result<()> { bail!("wrong") });
        assert_eq!(wrong.await.unwrap_err().to_string(), "wrong");
        // The next try would begin after its time.
        let hasty = Patience { wait: Duration::from_millis(100) };
        let tries = AtomicU32::new(0);
        let never = hasty.attempt(
            |_| true,
            async || -> anyhow::Result<()> {
                tries.fetch_add(1, Ordering::Relaxed);
                bail!("never")
            },
        );
        assert_eq!(never.await.unwrap_err().to_string(), "never");
        assert_eq!(tries.into_inner(), 1);
    }
}
