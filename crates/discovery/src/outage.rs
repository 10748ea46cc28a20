//! Waiting between tries, and saying that they fail without saying it every time.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is said after it was said that tries fail.
const SILENCE: Duration = Duration::from_secs(60);

/// Tries that fail, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    failing: bool,
    told: Option<Instant>,
}

impl Outage {
    /// Another try failed: whether that is to be told.
    pub(crate) fn is_told(&mut self) -> bool {
        self.failing = true;
        let is_told = self.told.is_none_or(|told| told.elapsed() >= SILENCE);
        if is_told {
            self.told = Some(Instant::now());
        }
        is_told
    }

    /// A try did not fail: whether others did before.
    pub(crate) fn is_over(&mut self) -> bool {
        std::mem::take(self).failing
    }
}

/// How long to wait between tries: each time twice as long, and half of it by chance, so that not all try at one time.
#[derive(Debug)]
pub(crate) struct Waits {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Waits {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.most);
        wait
    }

    /// Begins with the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_first_and_then_once_a_minute() {
        let mut outage = Outage::default();
        assert!(!outage.is_over());
        assert!(outage.is_told());
        assert!(!outage.is_told());
        outage.told = Instant::now().checked_sub(SILENCE);
        assert!(outage.is_told());
        assert!(outage.is_over() && !outage.is_over());
        assert!(outage.is_told(), "a new one");
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let mut waits = Waits::new(Duration::from_millis(100), Duration::from_secs(5));
        for most in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let most = Duration::from_millis(most);
            assert!((most / 2..=most).contains(&waits.wait()));
        }
        waits.reset();
        assert!(waits.wait() <= Duration::from_millis(100));
    }
}
