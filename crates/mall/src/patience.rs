//! Trying again for a while what fails because something is not up yet.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Error;

/// The wait after the first failure; it doubles with each that follows.
const WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
    pub(crate) async fn attempt<T>(
        &self,
        passing: impl Fn(&Error) -> bool,
        mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let mut wait = WAIT;
        loop {
            let error = match attempt().await {
                Err(error) if passing(&error) && start.elapsed() + wait <= self.wait => error,
                done => return done,
            };
            let left = self.wait.saturating_sub(start.elapsed());
            let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
            let _ = writeln!(std::io::stderr(), "{error:#}; trying again, for {left} more at most");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_success_or_with_what_does_not_pass_or_with_its_time() {
        let patient = Patience { wait: Duration::from_secs(60) };
        let mut tries = 0;
        let third = async || {
            tries += 1;
            if tries < 3 { bail!("not yet") } else { Ok(tries) }
        };
        assert_eq!(patient.attempt(|_| true, third).await.unwrap(), 3);
        let wrong =
            patient.attempt(|error| error.to_string() != "wrong", async || -> anyhow::Result<()> { bail!("wrong") });
        assert_eq!(wrong.await.unwrap_err().to_string(), "wrong");
        let hasty = Patience { wait: Duration::ZERO };
        let never = hasty.attempt(|_| true, async || -> anyhow::Result<()> { bail!("never") });
        assert_eq!(never.await.unwrap_err().to_string(), "never");
    }
}
