//! W3C trace context and baggage.

use std::str::FromStr as _;

use ::http::{HeaderMap, HeaderValue};
use opentelemetry::StringValue;
use opentelemetry::baggage::Baggage;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{MAX_BAGGAGE, digits, only};
use crate::semconv;

/// W3C baggage: what a value must not hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// Writes the span in place of what the headers carry.
pub(super) fn inject(span: &SpanContext, headers: &mut HeaderMap) {
    headers.remove(semconv::TRACEPARENT);
    headers.remove(semconv::TRACESTATE);
    if !span.is_valid() {
        return;
    }
    headers.insert(semconv::TRACEPARENT, traceparent(span));
    let state = span.trace_state().header();
    if let (false, Ok(value)) = (state.is_empty(), HeaderValue::try_from(state)) {
        headers.insert(semconv::TRACESTATE, value);
    }
}

/// Writes the baggage in place of what the headers carry.
pub(super) fn inject_baggage(baggage: &Baggage, headers: &mut HeaderMap) {
    headers.remove(semconv::BAGGAGE);
    let baggage = encode_baggage(baggage);
    // Encoding makes it longer, and what no one has to pass on would only overflow the headers.
    let fits = (1..=MAX_BAGGAGE.0).contains(&baggage.len());
    if let (true, Ok(value)) = (fits, HeaderValue::try_from(baggage)) {
        headers.insert(semconv::BAGGAGE, value);
    }
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

/// The span that the headers carry.
pub(super) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let parent = parse(only(headers, semconv::TRACEPARENT)?)?;
    let state = tracestate_of(headers);
    Some(SpanContext::new(parent.trace_id(), parent.span_id(), parent.trace_flags(), true, state))
}

/// The span that a `traceparent` names.
pub(crate) fn parse(value: &str) -> Option<SpanContext> {
    let (version, rest) = value.split_once('-')?;
    let (trace, rest) = rest.split_once('-')?;
    let (span, flags) = rest.split_once('-')?;
    let version = digits(version, 2)?;
    // A later version may say more behind the flags; this one may not.
    let flags = match version {
        0 => flags,
        0xff => return None,
        _ => flags.split_once('-').map_or(flags, |(flags, _)| flags),
    };
    let trace = TraceId::from(digits(trace, 32)?);
    let span = SpanId::from(u64::try_from(digits(span, 16)?).ok()?);
    let sampled = digits(flags, 2)? & 1 == 1;
    let parent =
        SpanContext::new(trace, span, TraceFlags::default().with_sampled(sampled), true, TraceState::default());
    parent.is_valid().then_some(parent)
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

/// The baggage that the headers carry.
pub(super) fn baggage(headers: &HeaderMap) -> Option<Baggage> {
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
        text.extend(utf8_percent_encode(StringValue::as_str(value), ENCODED));
        if !metadata.as_str().is_empty() {
            text.push(';');
            text.push_str(metadata.as_str());
        }
    }
    text
}
