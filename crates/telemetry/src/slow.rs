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
    more: usize,
}

/// Begins the breakdown of a call; none where no call is slow.
pub(crate) fn begin(parent: Context) -> (Context, Option<Arc<Breakdown>>) {
    if THRESHOLDS.get().is_none() {
        return (parent, None);
    }
    let breakdown = Arc::new(Breakdown { started: Instant::now(), queued: OnceLock::new(), parts: Mutex::default() });
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
        if parts.named.len() < MOST_PARTS {
            parts.named.push((std::mem::take(&mut self.name), self.started.elapsed()));
        } else {
            parts.more += 1;
        }
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
        let queue = self.queued.get().copied().unwrap_or_default();
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
        if self.more > 0 {
            parts.push(format!("and {} more", self.more));
        }
        parts.join(", ")
    }
}
