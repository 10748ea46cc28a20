//! W3C trace context and baggage between headers and contexts; anything malformed is ignored.

use std::str::FromStr as _;

use ::http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, StringValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::semconv;

/// W3C baggage: what a value must not hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%').add(b'=');
/// The limits of W3C baggage: bytes and entries.
const MAX_BAGGAGE: (usize, usize) = (8192, 64);

/// The context that a request's headers carry: the caller's span and its baggage.
pub fn extract(headers: &HeaderMap) -> Context {
    let mut context = Context::new();
    if let Some(baggage) = baggage_of(headers) {
        context = context.with_baggage(baggage);
    }
    match traceparent_of(headers) {
        Some(parent) => context.with_remote_span_context(parent),
        None => context,
    }
}

/// Writes the context's span and baggage into the headers of a request, in place of what they carry.
pub fn inject(context: &Context, headers: &mut HeaderMap) {
    for name in [semconv::TRACEPARENT, semconv::TRACESTATE, semconv::BAGGAGE] {
        headers.remove(name);
    }
    let span = context.span();
    let parent = span.span_context();
    if parent.is_valid() {
        headers.insert(semconv::TRACEPARENT, traceparent(parent));
        let state = parent.trace_state().header();
        if let (false, Ok(value)) = (state.is_empty(), HeaderValue::try_from(state)) {
            headers.insert(semconv::TRACESTATE, value);
        }
    }
    let baggage = encode_baggage(context.baggage());
    if let (false, Ok(value)) = (baggage.is_empty(), HeaderValue::try_from(baggage)) {
        headers.insert(semconv::BAGGAGE, value);
    }
}

/// The value of the current baggage's `key`: what a caller wants every callee to know, and nothing to trust.
pub fn baggage(key: &str) -> Option<String> {
    Context::map_current(|context| context.baggage().get(key).map(StringValue::to_string))
}

/// `00-<trace>-<span>-<flags>`.
pub(crate) fn traceparent(span: &SpanContext) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex(&span.trace_id().to_bytes(), &mut text[3..35]);
    hex(&span.span_id().to_bytes(), &mut text[36..52]);
    hex(&[(span.trace_flags() & TraceFlags::SAMPLED).to_u8()], &mut text[53..55]);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The trace's id as a header's value.
pub(crate) fn trace_id_value(span: &SpanContext) -> HeaderValue {
    let mut text = [0; 32];
    hex(&span.trace_id().to_bytes(), &mut text);
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
}

fn traceparent_of(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(semconv::TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    // Two of them: nobody knows which is right.
    if values.next().is_some() {
        return None;
    }
    let (version, rest) = value.split_once('-')?;
    let (trace, rest) = rest.split_once('-')?;
    let (span, flags) = rest.split_once('-')?;
    let version = number(version, 2)?;
    // A later version may say more behind the flags; this one may not.
    let flags = match version {
        0 => flags,
        0xff => return None,
        _ => flags.split_once('-').map_or(flags, |(flags, _)| flags),
    };
    let trace = TraceId::from(number(trace, 32)?);
    let span = SpanId::from(u64::try_from(number(span, 16)?).ok()?);
    let sampled = number(flags, 2)? & 1 == 1;
    let parent =
        SpanContext::new(trace, span, TraceFlags::default().with_sampled(sampled), true, TraceState::default());
    parent.is_valid().then(|| SpanContext::new(trace, span, parent.trace_flags(), true, tracestate_of(headers)))
}

/// Exactly `digits` lower-case hexadecimal digits.
fn number(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

fn tracestate_of(headers: &HeaderMap) -> TraceState {
    joined(headers, semconv::TRACESTATE, 512).and_then(|text| TraceState::from_str(&text).ok()).unwrap_or_default()
}

/// A header that may be given in parts; none if it is longer than the standard wants it passed on.
fn joined(headers: &HeaderMap, name: &str, max: usize) -> Option<String> {
    let mut text = String::new();
    for value in headers.get_all(name) {
        let value = value.to_str().ok()?;
        if text.len() + value.len() > max {
            return None;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(value);
    }
    (!text.is_empty()).then_some(text)
}

fn baggage_of(headers: &HeaderMap) -> Option<Baggage> {
    let text = joined(headers, semconv::BAGGAGE, MAX_BAGGAGE.0)?;
    let mut baggage = Baggage::new();
    for member in text.split(',').take(MAX_BAGGAGE.1) {
        let (member, metadata) = member.split_once(';').unwrap_or((member, ""));
        let Some((key, value)) = member.split_once('=') else { continue };
        let Ok(value) = percent_decode_str(value.trim()).decode_utf8() else { continue };
        baggage.insert_with_metadata(key.trim().to_owned(), value.into_owned(), metadata.trim());
    }
    Some(baggage)
}

fn encode_baggage(baggage: &Baggage) -> String {
    let mut text = String::new();
    for (key, (value, metadata)) in baggage {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key.as_str());
        text.push('=');
        text.extend(utf8_percent_encode(value.as_str(), ENCODED));
        if !metadata.as_str().is_empty() {
            text.push(';');
            text.push_str(metadata.as_str());
        }
    }
    text
}
