//! [B3](https://github.com/openzipkin/b3-propagation), Zipkin's form, in one header or in several.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::SpanContext;

use super::{Wish, digits, only, remote};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What a caller says: its span, or what it wants of one, or both.
pub(super) struct Caller {
    pub(super) span: Option<SpanContext>,
    pub(super) wish: Option<Wish>,
}

/// Either form is understood, whichever is sent; of both, the one that we write counts.
pub(super) fn caller(headers: &HeaderMap, single_first: bool) -> Option<Caller> {
    if single_first { single(headers).or_else(|| multi(headers)) } else { multi(headers).or_else(|| single(headers)) }
}

/// `TRACE-SPAN`, `TRACE-SPAN-STATE`, `TRACE-SPAN-STATE-PARENT`, or `STATE`.
fn single(headers: &HeaderMap) -> Option<Caller> {
    let text = only(headers, SINGLE.as_str())?;
    let Some((trace, rest)) = text.split_once('-') else { return said(None, Some(text)) };
    let mut rest = rest.split('-');
    said(Some((trace, rest.next()?)), rest.next())
}

fn multi(headers: &HeaderMap) -> Option<Caller> {
    let get = |name: HeaderName| only(headers, name.as_str());
    let debug = get(FLAGS).filter(|flags| *flags == "1").map(|_| "d");
    said(get(TRACE_ID).zip(get(SPAN_ID)), debug.or_else(|| get(SAMPLED)))
}

fn said(ids: Option<(&str, &str)>, state: Option<&str>) -> Option<Caller> {
    let wish = match state {
        None if ids.is_none() => return None,
        None => Wish::Deferred,
        Some("0" | "false") => Wish::Nothing,
        Some("1" | "true") => Wish::Everything,
        Some("d") => Wish::Debug,
        Some(_) => return None,
    };
    let Some((trace, span)) = ids else { return Some(Caller { span: None, wish: Some(wish) }) };
    let trace = digits(trace, 32).or_else(|| digits(trace, 16))?;
    let sampled = matches!(wish, Wish::Everything | Wish::Debug);
    let span = remote(trace, digits(span, 16)?, sampled)?;
    // The span's own flag says the rest.
    Some(Caller { span: Some(span), wish: Some(wish).filter(|wish| matches!(wish, Wish::Deferred | Wish::Debug)) })
}

pub(super) fn inject_single(span: &SpanContext, wish: Option<&Wish>, headers: &mut HeaderMap) {
    headers.remove(SINGLE);
    if span.is_valid() {
        let state = if wish == Some(&Wish::Debug) { "d" } else { state(span) };
        set(headers, SINGLE, format!("{}-{}-{state}", span.trace_id(), span.span_id()));
    }
}

pub(super) fn inject_multi(span: &SpanContext, wish: Option<&Wish>, headers: &mut HeaderMap) {
    for name in [TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS] {
        headers.remove(name);
    }
    if span.is_valid() {
        set(headers, TRACE_ID, span.trace_id().to_string());
        set(headers, SPAN_ID, span.span_id().to_string());
        // Either of them, not both.
        let (name, value) = if wish == Some(&Wish::Debug) { (FLAGS, "1") } else { (SAMPLED, state(span)) };
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn state(span: &SpanContext) -> &'static str {
    if span.is_sampled() { "1" } else { "0" }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Digits and hyphens are a header's value in any case.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}
