//! Saying that tries fail, without saying it every time.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

/// How long nothing is said after it was said that tries fail.
const SILENCE: Duration = Duration::from_secs(60);

/// Tries that may fail, one after the other, and what to say of them.
#[derive(Debug)]
pub(crate) struct Outage<'a> {
    peer: &'a str,
    begins: &'static str,
    ends: &'static str,
    failing: bool,
    told: Option<Instant>,
}

impl<'a> Outage<'a> {
    /// None yet: for when they begin to fail to find `peer`, and for when they end to fail.
    pub(crate) fn new(peer: &'a str, begins: &'static str, ends: &'static str) -> Self {
        Self { peer, begins, ends, failing: false, told: None }
    }

    /// Another try failed.
    pub(crate) fn failed(&mut self, error: &(dyn Error + 'static)) {
        if self.is_told() {
            tracing::warn!(peer = self.peer, error, "{}", self.begins);
        }
    }

    /// A try did not fail.
    pub(crate) fn succeeded(&mut self) {
        if self.is_over() {
            tracing::info!(peer = self.peer, "{}", self.ends);
        }
    }

    fn is_told(&mut self) -> bool {
        self.failing = true;
        let is_told = self.told.is_none_or(|told| told.elapsed() >= SILENCE);
        if is_told {
            self.told = Some(Instant::now());
        }
        is_told
    }

    fn is_over(&mut self) -> bool {
        self.told = None;
        std::mem::take(&mut self.failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_first_and_then_once_a_minute() {
        let mut outage = Outage::new("peer", "it fails", "it works");
        assert!(!outage.is_over());
        assert!(outage.is_told());
        assert!(!outage.is_told());
        outage.told = Instant::now().checked_sub(SILENCE);
        assert!(outage.is_told());
        assert!(outage.is_over() && !outage.is_over());
        assert!(outage.is_told(), "a new one");
    }
}
