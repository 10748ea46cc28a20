//! Whether a call is sent again, and after how long.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use http::Response;
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::failure::Fate;
use super::peer;

/// How often one call is sent at most.
const SENDS: u32 = 4;
/// The waits before a call is sent again; chance makes each of them longer, up to twice.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(10))
    .with_max_delay(Duration::from_millis(500))
    .with_jitter()
    .without_max_times();
/// Of calls that may be sent again although they may have been begun: a tenth, and one a second for those who call rarely.
const SHARE: f32 = 0.1;
const LEAST_PER_SECOND: u32 = 1;
/// The time over which they are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// gRPC's name for a server's wish: to be asked again after so many milliseconds, or, of a negative number, not at all.
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What one client may send again.
#[derive(Debug)]
pub(super) struct Retries {
    budget: TpsBudget,
}

impl Default for Retries {
    fn default() -> Self {
        Self { budget: TpsBudget::new(WINDOW, LEAST_PER_SECOND, SHARE) }
    }
}

impl Retries {
    /// A new call, which earns a part of a retry; one of an idempotent method may be done twice.
    pub(super) fn begin(&self, is_idempotent: bool) -> Again<'_> {
        self.budget.deposit();
        Again { budget: &self.budget, is_idempotent, sent: 1, waits: None }
    }
}

/// How often one call may still be sent.
#[derive(Debug)]
pub(super) struct Again<'a> {
    budget: &'a TpsBudget,
    is_idempotent: bool,
    sent: u32,
    waits: Option<ExponentialBackoff>,
}

impl Again<'_> {
    /// How long to wait before the call is sent again after it met with `fate`; `None` says that it is not, because that may
    /// do harm, was done often enough, or would come after the call's end at `until`.
    pub(super) fn after(&mut self, fate: Fate, wish: Wish, until: Instant) -> Option<Duration> {
        let may = match fate {
            Fate::Unprocessed | Fate::Refused => true,
            Fate::Broken | Fate::Unavailable => self.is_idempotent,
            Fate::BrokenOff => false,
        };
        if !may || self.sent >= SENDS {
            return None;
        }
        let wait = match (fate, wish) {
            (_, Wish::Never) => return None,
            (_, Wish::After(wait)) => wait,
            // It ends, and another one does not.
            (Fate::Unprocessed, Wish::None) => Duration::ZERO,
            (_, Wish::None) => self.waits.get_or_insert_with(|| WAITS.build()).next()?,
        };
        if Instant::now() + wait >= until || (fate != Fate::Unprocessed && !self.budget.withdraw()) {
            return None;
        }
        self.sent += 1;
        Some(wait)
    }
}

/// What a server that cannot answer now says of another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    #[default]
    None,
    After(Duration),
    Never,
}

impl Wish {
    /// The wish of a server whose answer is that it is unavailable; nothing for any other answer.
    pub(super) fn of<B>(answer: &Response<B>) -> Option<Self> {
        peer::is_unavailable(answer).then(|| match answer.headers().get(PUSHBACK) {
            None => Self::None,
            // What is no number means never, by gRPC's A6.
            Some(value) => value
                .to_str()
                .ok()
                .and_then(|millis| millis.parse().ok())
                .map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn only_what_does_no_harm_is_sent_again() {
        let may = |idempotent, fate| Retries::default().begin(idempotent).after(fate, Wish::None, later()).is_some();
        for fate in [Fate::Unprocessed, Fate::Refused] {
            assert!(may(false, fate) && may(true, fate), "{fate:?}");
        }
        for fate in [Fate::Broken, Fate::Unavailable] {
            assert!(!may(false, fate) && may(true, fate), "{fate:?}");
        }
        assert!(!may(true, Fate::BrokenOff));
    }

    #[test]
    fn it_waits_longer_each_time_and_not_too_often() {
        let retries = Retries::default();
        let mut again = retries.begin(true);
        let waits: Vec<_> = (0..10).map_while(|_| again.after(Fate::Unavailable, Wish::None, later())).collect();
        assert_eq!(waits.len(), 3);
        for (index, wait) in waits.iter().enumerate() {
            let least = Duration::from_millis(10 << index);
            assert!((least..=2 * least).contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn a_client_whose_calls_all_fail_sends_a_tenth_more() {
        let retries = Retries::default();
        let sent_again = |_| retries.begin(true).after(Fate::Unavailable, Wish::None, later()).is_some();
        let extra = (0..1000).map(sent_again).filter(|sent| *sent).count();
        assert!((100..=110).contains(&extra), "{extra} of 1000, and 10 in 10 s");
    }

    #[test]
    fn a_server_says_when_or_never() {
        let wish = |value: &'static str| {
            let answer = Response::builder().header("grpc-status", "14").header(PUSHBACK, value).body(()).unwrap();
            Wish::of(&answer).unwrap()
        };
        assert_eq!(wish("250"), Wish::After(Duration::from_millis(250)));
        for never in ["-1", "soon", ""] {
            assert_eq!(wish(never), Wish::Never, "`{never}`");
        }
        let retries = Retries::default();
        let mut again = retries.begin(true);
        let until = Instant::now() + Duration::from_secs(1);
        assert_eq!(again.after(Fate::Unavailable, wish("250"), until), Some(Duration::from_millis(250)));
        assert_eq!(again.after(Fate::Unavailable, wish("5000"), until), None, "the call is over by then");
        assert_eq!(again.after(Fate::Unavailable, Wish::Never, until), None);
        let fine = Response::builder().header("grpc-status", "8").body(()).unwrap();
        assert_eq!(Wish::of(&fine), None);
    }
}
