//! [B3](https://github.com/openzipkin/b3-propagation), Zipkin's form, in one header or in several.
//!
//! A caller that leaves the decision to whoever it calls has its trace kept.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::SpanContext;

use super::{digits, only, remote};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// `TRACE-SPAN`, `TRACE-SPAN-STATE` or `TRACE-SPAN-STATE-PARENT`.
pub(super) fn single(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parts = only(headers, SINGLE.as_str())?.split('-');
    let (trace, span, state) = (parts.next()?, parts.next()?, parts.next());
    span_of(trace, span, state)
}

pub(super) fn multi(headers: &HeaderMap) -> Option<SpanContext> {
    let debug = only(headers, FLAGS.as_str()).filter(|flags| *flags == "1");
    let state = debug.or_else(|| only(headers, SAMPLED.as_str()));
    span_of(only(headers, TRACE_ID.as_str())?, only(headers, SPAN_ID.as_str())?, state)
}

fn span_of(trace: &str, span: &str, state: Option<&str>) -> Option<SpanContext> {
    let trace = digits(trace, 32).or_else(|| digits(trace, 16))?;
    let sampled = match state {
        None | Some("1" | "d" | "true") => true,
        Some("0" | "false") => false,
        Some(_) => return None,
    };
    remote(trace, digits(span, 16)?, sampled)
}

pub(super) fn inject_single(span: &SpanContext, headers: &mut HeaderMap) {
    headers.remove(SINGLE);
    if span.is_valid() {
        let text = format!("{}-{}-{}", span.trace_id(), span.span_id(), u8::from(span.is_sampled()));
        set(headers, SINGLE, text);
    }
}

pub(super) fn inject_multi(span: &SpanContext, headers: &mut HeaderMap) {
    for name in [TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS] {
        headers.remove(name);
    }
    if span.is_valid() {
        set(headers, TRACE_ID, span.trace_id().to_string());
        set(headers, SPAN_ID, span.span_id().to_string());
        set(headers, SAMPLED, u8::from(span.is_sampled()).to_string());
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Digits and hyphens are a header's value in any case.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
