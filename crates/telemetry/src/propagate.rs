//! How a trace comes in headers and is passed on: W3C trace context and baggage, and the forms of Zipkin and Jaeger where
//! they are configured. Anything malformed is ignored.
//!
//! opentelemetry-zipkin is deprecated, and OpenTelemetry's propagators take a text's copy of every header for each form.

use std::sync::OnceLock;

use ::http::HeaderMap;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, StringValue};

use crate::Propagator;

mod b3;
mod jaeger;
#[cfg(test)]
mod tests;
mod w3c;

pub(crate) use self::w3c::{parse, trace_id_value, traceparent};

/// The limits of W3C baggage: bytes and entries.
const MAX_BAGGAGE: (usize, usize) = (8192, 64);

/// What a caller says of sampling beyond the flag that its span has: only B3 knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Whoever is called decides.
    Deferred,
    /// Nothing is kept of what begins here.
    Nothing,
    /// What begins here is kept.
    Everything,
    /// The same, and it is said to everybody who is called.
    Debug,
}

/// Set by `init`; before, and in tests, it is what the configuration's default says.
static PROPAGATORS: OnceLock<Vec<Propagator>> = OnceLock::new();

pub(crate) fn init(propagators: &[Propagator]) {
    // A process has one configuration: a second one is refused elsewhere.
    let _ = PROPAGATORS.set(propagators.to_vec());
}

fn propagators() -> &'static [Propagator] {
    PROPAGATORS.get().map_or(&[Propagator::TraceContext, Propagator::Baggage], Vec::as_slice)
}

/// The context that a request's headers carry: the caller's span and its baggage.
pub fn extract(headers: &HeaderMap) -> Context {
    extract_by(propagators(), headers)
}

fn extract_by(propagators: &[Propagator], headers: &HeaderMap) -> Context {
    let (mut parent, mut baggage, mut wish) = (None, None, None);
    for propagator in propagators {
        match propagator {
            Propagator::TraceContext => parent = parent.or_else(|| w3c::parent(headers)),
            Propagator::Baggage => baggage = baggage.or_else(|| w3c::baggage(headers)),
            Propagator::B3 | Propagator::B3Multi => {
                if let (None, Some(caller)) = (&parent, b3::caller(headers, *propagator == Propagator::B3)) {
                    (parent, wish) = (caller.span, caller.wish);
                }
            }
            Propagator::Jaeger => {
                parent = parent.or_else(|| jaeger::parent(headers));
                baggage = baggage.or_else(|| jaeger::baggage(headers));
            }
        }
    }
    let mut context = Context::new();
    if let Some(baggage) = baggage {
        context = context.with_baggage(baggage);
    }
    if let Some(wish) = wish {
        context = context.with_value(wish);
    }
    match parent {
        Some(parent) => context.with_remote_span_context(parent),
        None => context,
    }
}

/// Writes the context's span and baggage into the headers of a request, in place of what they carry.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    inject_by(propagators(), context, headers);
}

fn inject_by(propagators: &[Propagator], context: &Context, headers: &mut HeaderMap) {
    let span = context.span();
    let span = span.span_context();
    for propagator in propagators {
        match propagator {
            Propagator::TraceContext => w3c::inject(span, headers),
            Propagator::Baggage => w3c::inject_baggage(context.baggage(), headers),
            Propagator::B3 => b3::inject_single(span, context.get(), headers),
            Propagator::B3Multi => b3::inject_multi(span, context.get(), headers),
            Propagator::Jaeger => jaeger::inject(span, context.baggage(), headers),
        }
    }
}

/// The value of the current baggage's `key`: what a caller wants every callee to know, and nothing to trust.
pub fn baggage(key: &str) -> Option<String> {
    Context::map_current(|context| context.baggage().get(key).map(StringValue::to_string))
}

/// A header that is there once: of two, nobody knows which is right.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Exactly `count` lower-case hexadecimal digits.
fn digits(text: &str, count: usize) -> Option<u128> {
    let lower = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == count && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

/// A caller's span, if neither of its ids is zero.
fn remote(trace: u128, span: u128, sampled: bool) -> Option<SpanContext> {
    let (trace, span) = (TraceId::from(trace), SpanId::from(u64::try_from(span).ok()?));
    let flags = TraceFlags::default().with_sampled(sampled);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
}
