//! W3C trace context and baggage between headers and contexts; anything malformed is ignored.

use std::str::FromStr as _;

use ::http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::{Baggage, BaggageExt as _};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, StringValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::semconv;

/// W3C baggage: what a value must not hold as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');
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
    // Encoding makes it longer, and what no one has to pass on would only overflow the headers.
    let fits = (1..=MAX_BAGGAGE.0).contains(&baggage.len());
    if let (true, Ok(value)) = (fits, HeaderValue::try_from(baggage)) {
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
    let parent = parse(value)?;
    let state = tracestate_of(headers);
    Some(SpanContext::new(parent.trace_id(), parent.span_id(), parent.trace_flags(), true, state))
}

/// The span that a `traceparent` names.
pub(crate) fn parse(value: &str) -> Option<SpanContext> {
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
    parent.is_valid().then_some(parent)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn parent(context: &Context) -> SpanContext {
        context.span().span_context().clone()
    }

    #[test]
    fn a_well_formed_parent_is_continued() {
        for (value, sampled) in [
            (PARENT, true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", false),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true),
        ] {
            let parent = parent(&extract(&headers(&[("traceparent", value)])));
            assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736", "{value}");
            assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7", "{value}");
            assert_eq!((parent.is_sampled(), parent.is_remote()), (sampled, true), "{value}");
        }
    }

    #[test]
    fn a_malformed_parent_is_ignored() {
        for value in [
            "",
            "-",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-zz",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.later",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "\u{e9}\u{e9}-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!parent(&extract(&headers(&[("traceparent", value)]))).is_valid(), "{value}");
        }
        assert!(!parent(&extract(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)]))).is_valid());
    }

    #[test]
    fn what_was_extracted_is_injected() {
        let given = [
            ("traceparent", PARENT),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("tracestate", "rojo=00f067aa0ba902b7"),
            ("baggage", "tenant=a%20b%2Cc;ttl=60"),
            ("baggage", "share=50%25=half"),
        ];
        let mut sent = headers(&[("traceparent", "stale"), ("baggage", "stale=1")]);
        inject(&extract(&headers(&given)), &mut sent);
        assert_eq!(sent["traceparent"], PARENT);
        assert_eq!(sent["tracestate"], "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
        let again = extract(&sent);
        assert_eq!(again.baggage().get("tenant").unwrap().as_str(), "a b,c");
        assert_eq!(again.baggage().get("share").unwrap().as_str(), "50%=half");
        assert_eq!(again.baggage().get_with_metadata("tenant").unwrap().1.as_str(), "ttl=60");
        assert_eq!(again.baggage().len(), 2);
    }

    #[test]
    fn nothing_is_injected_where_nothing_is() {
        let mut sent = headers(&[("traceparent", "stale"), ("tracestate", "stale=1"), ("baggage", "stale=1")]);
        inject(&Context::new(), &mut sent);
        assert!(sent.is_empty());
    }

    #[test]
    fn a_bad_state_does_not_cost_the_trace() {
        for state in ["no pair", "UPPER=1", &format!("a={}", "x".repeat(600)), "\u{e9}=1"] {
            let context = extract(&headers(&[("traceparent", PARENT), ("tracestate", state)]));
            assert!(parent(&context).is_valid(), "{state}");
            assert_eq!(parent(&context).trace_state().header(), "", "{state}");
        }
    }

    #[test]
    fn hostile_baggage_is_bounded() {
        let many: Vec<_> = (0..500).map(|n| format!("k{n}=v")).collect();
        assert_eq!(extract(&headers(&[("baggage", &many.join(","))])).baggage().len(), 64);
        let long = format!("k={}", "v".repeat(9000));
        assert_eq!(extract(&headers(&[("baggage", &long)])).baggage().len(), 0);
        for bad in [",,,", "=", "=v", "novalue", "k=%ff", "k=\u{e9}", ";", "k y=v"] {
            assert!(extract(&headers(&[("baggage", bad)])).baggage().is_empty(), "{bad}");
        }
        // A line break that was encoded comes out encoded again: no header is split.
        let mut sent = HeaderMap::new();
        inject(&extract(&headers(&[("baggage", "k=a%0d%0aevil: 1")])), &mut sent);
        assert_eq!(sent["baggage"], "k=a%0D%0Aevil:%201");
        // It does not grow on its way.
        for (value, passed_on) in [("=", true), ("a b", false)] {
            let long = format!("k={}", value.repeat(8190 / value.len()));
            inject(&extract(&headers(&[("baggage", &long)])), &mut sent);
            assert_eq!(sent.get("baggage").map(HeaderValue::as_bytes), passed_on.then_some(long.as_bytes()));
        }
    }
}
