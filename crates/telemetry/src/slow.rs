//! What a slow call leaves in the log: where its time went, also when its trace is not kept.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;

use crate::{Slow, Span};

/// Set by `init`; without it no call is slow.
static THRESHOLDS: OnceLock<Thresholds> = OnceLock::new();

#[derive(Debug)]
struct Thresholds {
    slow: Slow,
    /// The least of them: whatever takes less is slow for nobody.
    least: Duration,
}

/// Parts of one call that are kept by name; of more, their number is.
const MOST_PARTS: usize = 32;

pub(crate) fn init(slow: &Slow) {
    let all = slow.methods.values().map(|after| **after).chain([slow.after]);
    let least = all.filter(|after| !after.is_zero()).min();
    if let Some(least) = least {
        // A process has one configuration: a second one is refused elsewhere.
        let _ = THRESHOLDS.set(Thresholds { slow: slow.clone(), least });
    }
}

/// Where the time of a call goes, from its start. It travels in the context, so that whatever is done for the call adds to it.
#[derive(Debug)]
pub(crate) struct Breakdown {
    started: Instant,
    /// How long the call waited for its turn.
    queued: OnceLock<Duration>,
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    named: Vec<(Cow<'static, str>, Duration)>,
    /// How many more, and how long they took.
    more: (usize, Duration),
}

impl Parts {
    /// Of many, the longest are kept by name.
    fn add(&mut self, name: Cow<'static, str>, took: Duration) {
        self.named.push((name, took));
        if self.named.len() > MOST_PARTS
            && let Some((shortest, _)) = self.named.iter().enumerate().min_by_key(|(_, (_, took))| *took)
        {
            let (_, took) = self.named.remove(shortest);
            self.more = (self.more.0 + 1, self.more.1 + took);
        }
    }
}

/// Begins the breakdown of a call, which may have to wait for its turn until [`handling`]; none where no call is slow.
pub(crate) fn begin(parent: Context, waits: bool) -> (Context, Option<Arc<Breakdown>>) {
    if THRESHOLDS.get().is_none() {
        return (parent, None);
    }
    let queued = if waits { OnceLock::new() } else { OnceLock::from(Duration::ZERO) };
    let breakdown = Arc::new(Breakdown { started: Instant::now(), queued, parts: Mutex::default() });
    (parent.with_value(breakdown.clone()), Some(breakdown))
}

/// Says that the current call has had its turn: what it did before was waiting.
pub fn handling() {
    Context::map_current(|context| {
        if let Some(breakdown) = context.get::<Arc<Breakdown>>() {
            // The first handler of a call counts.
            let _ = breakdown.queued.set(breakdown.started.elapsed());
        }
    });
}

/// A call to a peer or the database that is made for a slow call, perhaps.
#[derive(Debug)]
pub(crate) struct Part {
    breakdown: Arc<Breakdown>,
    name: Cow<'static, str>,
    started: Instant,
}

impl Part {
    /// Begins a part of the call that is under way in `context`, if there is one; some began a while ago.
    pub(crate) fn begin(
        context: &Context,
        name: impl FnOnce() -> Cow<'static, str>,
        ago: Option<Duration>,
    ) -> Option<Self> {
        let breakdown = context.get::<Arc<Breakdown>>()?.clone();
        let now = Instant::now();
        Some(Self { breakdown, name: name(), started: ago.and_then(|ago| now.checked_sub(ago)).unwrap_or(now) })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut parts = self.breakdown.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.add(std::mem::take(&mut self.name), self.started.elapsed());
    }
}

impl Breakdown {
    /// Logs the call, in its span, if it was slow; `end` is its code or status.
    pub(crate) fn end(&self, name: impl FnOnce() -> Cow<'static, str>, end: &str, span: &Span) {
        let took = self.started.elapsed();
        let Some(Thresholds { slow, .. }) = THRESHOLDS.get().filter(|thresholds| took >= thresholds.least) else {
            return;
        };
        let name = name();
        let after = slow.methods.get(name.as_ref()).map_or(slow.after, |after| **after);
        if after.is_zero() || took < after {
            return;
        }
        // A call that never had its turn waited to its end.
        let queue = self.queued.get().copied().unwrap_or(took);
        let handler = took.saturating_sub(queue);
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).text();
        let _current = span.enter();
        tracing::warn!(call = &*name, end, ?took, ?queue, ?handler, parts, "slow call");
    }
}

impl Parts {
    /// `SELECT users 1.2ms, mall.product.v1.ProductService/Reserve 900ms`, in the order in which they ended.
    fn text(&self) -> String {
        let mut parts: Vec<_> = self.named.iter().map(|(name, took)| format!("{name} {took:.1?}")).collect();
        if let (more @ 1.., took) = self.more {
            parts.push(format!("and {more} more {took:.1?}"));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_parts_the_longest_are_named() {
        let mut parts = Parts::default();
        (1..=40).for_each(|part| parts.add(format!("part {part}").into(), Duration::from_millis(part)));
        let text = parts.text();
        assert!(text.starts_with("part 9 9.0ms, ") && text.ends_with(", part 40 40.0ms, and 8 more 36.0ms"), "{text}");
    }
}
