//! Which traces are kept: a share of the new ones, those that a caller keeps, and those that a caller asks for.

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::propagate::Wish;
use crate::{Config, semconv};

/// The member of the baggage by which a caller asks for its trace.
const DEBUG: &str = "debug";

/// The configured sampler.
pub(crate) fn of(config: &Config) -> Box<dyn ShouldSample> {
    let share = Sampler::TraceIdRatioBased(config.sampler);
    let usual = if config.ignore_parent { share.clone() } else { Sampler::ParentBased(Box::new(share.clone())) };
    Box::new(Wishes { usual, share, debug: config.debug })
}

/// Does what a caller wishes, as far as that is allowed, and leaves the rest to the usual sampler.
#[derive(Clone, Debug)]
struct Wishes {
    usual: Sampler,
    /// That of a trace which begins here.
    share: Sampler,
    /// Whether `debug` in the baggage counts.
    debug: bool,
}

impl ShouldSample for Wishes {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let usual = |sampler: &Sampler, parent| sampler.should_sample(parent, trace, name, kind, attributes, links);
        let Some(context) = parent else { return usual(&self.usual, parent) };
        let span = context.span();
        let span = span.span_context();
        // Said once a process: what begins within it follows.
        let is_first = !span.is_valid() || span.is_remote();
        let decided =
            |decision, attributes| SamplingResult { decision, attributes, trace_state: span.trace_state().clone() };
        if self.debug && is_first && is_asked_for(context) {
            return decided(SamplingDecision::RecordAndSample, vec![KeyValue::new(semconv::DEBUG, true)]);
        }
        match context.get::<Wish>().filter(|_| is_first) {
            Some(Wish::Nothing) => decided(SamplingDecision::Drop, Vec::new()),
            Some(Wish::Everything | Wish::Debug) => decided(SamplingDecision::RecordAndSample, Vec::new()),
            Some(Wish::Deferred) => usual(&self.share, parent),
            None => usual(&self.usual, parent),
        }
    }
}

fn is_asked_for(context: &Context) -> bool {
    context.baggage().get(DEBUG).is_some_and(|value| matches!(value.as_str(), "1" | "true"))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    fn decide(config: &Config, baggage: &str, flags: TraceFlags) -> SamplingResult {
        let span = SpanContext::new(TraceId::from(1), SpanId::from(2), flags, true, TraceState::default());
        let (key, value) = baggage.split_once('=').unwrap();
        let member = KeyValue::new(key.to_owned(), value.to_owned());
        let parent = Context::new().with_remote_span_context(span).with_baggage([member]);
        of(config).should_sample(Some(&parent), TraceId::from(1), "work", &SpanKind::Server, &[], &[])
    }

    #[test]
    fn a_trace_is_kept_on_demand_only_where_that_is_allowed() {
        let allowed = Config { sampler: 0.0, debug: true, ..Config::default() };
        let forced = decide(&allowed, "debug=1", TraceFlags::default());
        assert_eq!(forced.decision, SamplingDecision::RecordAndSample);
        assert_eq!(forced.attributes, [KeyValue::new(semconv::DEBUG, true)]);
        let forbidden = Config { sampler: 1.0, ..Config::default() };
        for (config, baggage) in [(&allowed, "tenant=1"), (&allowed, "debug=0"), (&forbidden, "debug=1")] {
            assert_eq!(decide(config, baggage, TraceFlags::default()).decision, SamplingDecision::Drop);
        }
        assert_eq!(decide(&forbidden, "debug=1", TraceFlags::SAMPLED).decision, SamplingDecision::RecordAndSample);
    }

    #[test]
    fn what_b3_says_of_sampling_is_done() {
        let (all, none) = (Config::default(), Config { sampler: 0.0, ..Config::default() });
        for (config, wish, kept) in [
            (&none, Wish::Everything, true),
            (&none, Wish::Debug, true),
            (&all, Wish::Nothing, false),
            (&all, Wish::Deferred, true),
            (&none, Wish::Deferred, false),
        ] {
            let parent = Context::new().with_value(wish);
            let decided =
                of(config).should_sample(Some(&parent), TraceId::from(1), "work", &SpanKind::Server, &[], &[]);
            assert_eq!(decided.decision == SamplingDecision::RecordAndSample, kept, "{wish:?}");
        }
    }
}
