//! Which traces are kept: a share of the new ones, those that a caller keeps, and those that a caller asks for.

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::{Config, semconv};

/// The member of the baggage by which a caller asks for its trace.
const DEBUG: &str = "debug";

/// The configured sampler.
pub(crate) fn of(config: &Config) -> Box<dyn ShouldSample> {
    let share = Sampler::TraceIdRatioBased(config.sampler);
    let sampler = if config.ignore_parent { share } else { Sampler::ParentBased(Box::new(share)) };
    if config.debug { Box::new(OnDemand(sampler)) } else { Box::new(sampler) }
}

/// Keeps what is asked for, and leaves the rest to another sampler.
#[derive(Clone, Debug)]
struct OnDemand(Sampler);

impl ShouldSample for OnDemand {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let asked = |parent: &&Context| parent.baggage().get(DEBUG).is_some();
        let Some(parent) = parent.filter(asked) else {
            return self.0.should_sample(parent, trace, name, kind, attributes, links);
        };
        let span = parent.span();
        let span = span.span_context();
        // Said once a process: whoever samples whole traces later needs to see it on one span.
        let is_first = !span.is_valid() || span.is_remote();
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: if is_first { vec![KeyValue::new(semconv::DEBUG, true)] } else { Vec::new() },
            trace_state: span.trace_state().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    fn decide(config: &Config, baggage: &str, flags: TraceFlags) -> SamplingResult {
        let span = SpanContext::new(TraceId::from(1), SpanId::from(2), flags, true, TraceState::default());
        let member = KeyValue::new(baggage.to_owned(), "1");
        let parent = Context::new().with_remote_span_context(span).with_baggage([member]);
        of(config).should_sample(Some(&parent), TraceId::from(1), "work", &SpanKind::Server, &[], &[])
    }

    #[test]
    fn a_trace_is_kept_on_demand_only_where_that_is_allowed() {
        let allowed = Config { sampler: 0.0, debug: true, ..Config::default() };
        let forced = decide(&allowed, "debug", TraceFlags::default());
        assert_eq!(forced.decision, SamplingDecision::RecordAndSample);
        assert_eq!(forced.attributes, [KeyValue::new(semconv::DEBUG, true)]);
        let forbidden = Config { sampler: 1.0, ..Config::default() };
        for (config, baggage) in [(&allowed, "tenant"), (&forbidden, "debug")] {
            assert_eq!(decide(config, baggage, TraceFlags::default()).decision, SamplingDecision::Drop);
        }
        assert_eq!(decide(&forbidden, "debug", TraceFlags::SAMPLED).decision, SamplingDecision::RecordAndSample);
    }
}
