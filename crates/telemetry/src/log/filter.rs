//! Which lines are written: by level and target, changed at run time, and no more than so many of a kind in a second.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::callsite::Identifier;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use crate::semconv::metric;

/// The target of OpenTelemetry's own logs: it complains of every batch, we do once a minute.
const OPENTELEMETRY: &str = "opentelemetry";
/// The target that warns of log records and metrics which the collector took but rejects, by events whose names end so.
const REJECTED: (&str, &str) = ("opentelemetry-otlp", "PartialSuccess");

/// The levels of all targets.
#[derive(Debug)]
pub(crate) struct Levels {
    targets: Targets,
    /// Whether all that the exporters say was asked for.
    all_of_exporters: bool,
}

impl Levels {
    /// Reads `info,user=debug`; none if it is nothing of the kind.
    pub(crate) fn parse(levels: &str) -> Option<Self> {
        let targets: Targets = levels.parse().ok()?;
        // Unless somebody asks for them by name.
        if targets.iter().any(|(target, _)| target.starts_with(OPENTELEMETRY)) {
            let all_of_exporters = targets.would_enable(REJECTED.0, &Level::INFO);
            return Some(Self { targets, all_of_exporters });
        }
        let rejected =
            if targets.would_enable(REJECTED.0, &Level::WARN) { LevelFilter::WARN } else { LevelFilter::OFF };
        let targets = targets.with_targets([(OPENTELEMETRY, LevelFilter::OFF), (REJECTED.0, rejected)]);
        Some(Self { targets, all_of_exporters: false })
    }

    /// A word alone would be a target: in RUST_LOG it may be, in a configuration it is a level that was misspelt.
    pub(crate) fn parse_strictly(levels: &str) -> Option<Self> {
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let names_levels = levels.split(',').map(str::trim).all(|part| part.contains('=') || is_level(part));
        Self::parse(levels).filter(|_| names_levels)
    }

    fn allows(&self, metadata: &Metadata<'_>) -> bool {
        let is_told = self.all_of_exporters || metadata.target() != REJECTED.0 || metadata.name().ends_with(REJECTED.1);
        is_told && self.targets.would_enable(metadata.target(), metadata.level())
    }
}

impl<S: Subscriber> Layer<S> for Levels {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.allows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.allows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        <Targets as Layer<S>>::max_level_hint(&self.targets)
    }
}

/// Lets so many lines of one place in the code through in a second; the others are counted, and told of together.
#[derive(Clone, Debug)]
pub(crate) struct Bursts {
    most: u32,
    started: Instant,
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
    suppressed: Arc<AtomicU64>,
}

/// What a place in the code has written of late.
#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    /// The second, counted from the start, of which `written` is.
    second: u64,
    written: u32,
    suppressed: u64,
    /// The message of the first line that was suppressed.
    message: String,
}

impl Bursts {
    /// At most `most` lines a second; 0 lets all through.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, started: Instant::now(), places: Arc::default(), suppressed: Arc::default() }
    }

    /// Tells of what was suppressed, every second for as long as the process runs, and counts it among the metrics.
    #[expect(clippy::cast_precision_loss, reason = "a process never writes 2^52 lines")]
    pub(crate) fn report(&self) {
        let suppressed = self.suppressed.clone();
        metric::LOGS_SUPPRESSED.observe(move |value| value.observe(suppressed.load(Ordering::Relaxed) as f64, &[]));
        if self.most == 0 {
            return;
        }
        let bursts = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                bursts.tell();
            }
        });
    }

    /// One line for each place whose lines were suppressed, whatever their level.
    pub(crate) fn tell(&self) {
        let told: Vec<_> = {
            let mut places = self.places();
            let bursting = places.values_mut().filter(|place| place.suppressed > 0);
            bursting
                .map(|place| (place.metadata, std::mem::take(&mut place.suppressed), place.message.clone()))
                .collect()
        };
        for (metadata, lines, message) in told {
            tracing::warn!(lines, of = metadata.target(), level = %metadata.level(), line = message, "more lines of the same kind");
        }
    }

    fn lets_through(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let is_first = match self.count(metadata) {
            Ok(()) => return true,
            Err(is_first) => is_first,
        };
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        if is_first {
            // Not under the lock: what formats a field may panic, or log.
            let message = Fields::of(event).message;
            if let Some(place) = self.places().get_mut(&metadata.callsite()) {
                place.message = message;
            }
        }
        false
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a line that is written; one too many is an error, which tells whether it is the first.
    fn count(&self, metadata: &'static Metadata<'static>) -> Result<(), bool> {
        let second = self.started.elapsed().as_secs();
        let mut places = self.places();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            second,
            written: 0,
            suppressed: 0,
            message: String::new(),
        });
        if place.second != second {
            (place.second, place.written) = (second, 0);
        }
        if place.written < self.most {
            place.written += 1;
            return Ok(());
        }
        place.suppressed += 1;
        Err(place.suppressed == 1)
    }
}

impl<S: Subscriber> Layer<S> for Bursts {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.most == 0 || event.metadata().target() == module_path!() || self.lets_through(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn would(levels: &Levels, target: &str, level: Level) -> bool {
        levels.targets.would_enable(target, &level)
    }

    #[test]
    fn opentelemetry_is_silent_unless_asked() {
        let silent = Levels::parse("debug").unwrap();
        assert!(!would(&silent, "opentelemetry_sdk", Level::ERROR));
        assert!(would(&silent, "opentelemetry-otlp", Level::WARN));
        assert!(!would(&Levels::parse("error").unwrap(), "opentelemetry-otlp", Level::WARN));
        assert!(would(&silent, "user", Level::DEBUG));
        let asked = Levels::parse("info,opentelemetry=debug").unwrap();
        assert!(would(&asked, "opentelemetry-otlp", Level::DEBUG));
    }

    #[test]
    fn a_misspelt_level_is_found() {
        assert!(Levels::parse("user=loud").is_none());
        for bad in ["inof", "info,usr", ""] {
            assert!(Levels::parse_strictly(bad).is_none(), "{bad}");
        }
        for good in ["info", "WARN, user=debug", "off"] {
            assert!(Levels::parse_strictly(good).is_some(), "{good}");
        }
    }
}
