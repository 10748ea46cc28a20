//! When operations are due: at fixed times, whatever becomes of those before.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// So many operations that they never end.
pub(super) const ENDLESS: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
    duration: Duration,
}

/// Reads a number of operations a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "write a number from 0.001 to 1000000".to_owned())
}

/// Reads a share of a whole.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

/// Reads a duration such as `90s` or `5m`, or `forever`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "forever" {
        return Ok(Duration::MAX);
    }
    let duration = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write it as 90s, 5m or the like, or forever".to_owned())
}

impl Schedule {
    pub(super) fn new(rate: f64, duration: Duration) -> Self {
        Self { rate, duration }
    }

    /// How many operations are due before the end, or [`ENDLESS`]; the first one is due at once.
    pub(super) fn count(self) -> u64 {
        if self.duration == Duration::MAX {
            return ENDLESS;
        }
        // Less a hair, for 0.1 a second and 30 seconds are not quite 3.
        (self.rate * self.duration.as_secs_f64() - 1e-6).ceil().max(1.0) as u64
    }

    /// When the operation of this number is due, counted from the start.
    pub(super) fn due(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Gives out each operation's number when it is due. A thread does it, whose sleep is far finer than the runtime's timer;
    /// it ends with the schedule or with the receiver.
    pub(super) fn start(self, start: Instant) -> std::io::Result<mpsc::UnboundedReceiver<u64>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("schedule".to_owned()).spawn(move || {
            for number in 0..self.count() {
                let due = start + self.due(number);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if sender.send(number).is_err() {
                    return;
                }
            }
        })?;
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_due_at_even_distances_and_before_the_end() {
        for (rate, seconds, count) in [(50.0, 10, 500), (0.1, 30, 3), (0.5, 1, 1), (3.0, 1, 3)] {
            let schedule = Schedule::new(rate, Duration::from_secs(seconds));
            assert_eq!(schedule.count(), count, "{rate}");
            assert!(schedule.due(count - 1) < Duration::from_secs(seconds));
        }
        assert_eq!(Schedule::new(0.001, duration("forever").unwrap()).count(), ENDLESS);
        let schedule = Schedule::new(50.0, Duration::from_secs(10));
        assert_eq!([0, 1, 50].map(|number| schedule.due(number).as_millis()), [0, 20, 1000]);
    }

    #[tokio::test]
    async fn a_late_receiver_still_gets_every_operation() {
        let mut due = Schedule::new(1000.0, Duration::from_millis(20)).start(Instant::now()).unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
        let mut numbers = Vec::new();
        while let Some(number) = due.recv().await {
            numbers.push(number);
        }
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_scheduled_is_refused() {
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(["0", "-1", "NaN", "inf", "many"].iter().all(|text| rate(text).is_err()));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(["0s", "soon", "5"].iter().all(|text| duration(text).is_err()));
    }
}
