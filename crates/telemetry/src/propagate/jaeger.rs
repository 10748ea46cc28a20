//! [Jaeger's own form](https://www.jaegertracing.io/sdk-migration/#propagation-format): `uber-trace-id`, and a header for
//! each member of the baggage.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::Baggage;
use opentelemetry::trace::SpanContext;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{MAX_BAGGAGE, only, remote};

const ID: HeaderName = HeaderName::from_static("uber-trace-id");
const MEMBER: &str = "uberctx-";

/// `TRACE:SPAN:PARENT:FLAGS`; leading zeros may be missing, and the colons may be percent-encoded.
pub(super) fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let text = percent_decode_str(only(headers, ID.as_str())?).decode_utf8().ok()?;
    let mut parts = text.split(':');
    let (trace, span, _parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let flags = hexadecimal(flags, 2)?;
    remote(hexadecimal(trace, 32)?, hexadecimal(span, 16)?, flags & 1 == 1)
}

fn hexadecimal(text: &str, most: usize) -> Option<u128> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

pub(super) fn baggage(headers: &HeaderMap) -> Option<Baggage> {
    let mut baggage = Baggage::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(MEMBER).filter(|key| !key.is_empty()) else { continue };
        bytes += key.len() + value.len();
        if baggage.len() == MAX_BAGGAGE.1 || bytes > MAX_BAGGAGE.0 {
            break;
        }
        let Some(Ok(value)) = value.to_str().ok().map(|value| percent_decode_str(value).decode_utf8()) else {
            continue;
        };
        baggage.insert(key.to_owned(), value.into_owned());
    }
    (!baggage.is_empty()).then_some(baggage)
}

pub(super) fn inject(span: &SpanContext, baggage: &Baggage, headers: &mut HeaderMap) {
    headers.remove(ID);
    let stale: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(MEMBER)).cloned().collect();
    for name in stale {
        headers.remove(name);
    }
    if span.is_valid() {
        let flags = u8::from(span.is_sampled());
        if let Ok(value) = HeaderValue::try_from(format!("{}:{}:0:{flags}", span.trace_id(), span.span_id())) {
            headers.insert(ID, value);
        }
    }
    for (key, (value, _)) in baggage {
        let name = HeaderName::try_from(format!("{MEMBER}{}", key.as_str()));
        let value = HeaderValue::try_from(utf8_percent_encode(value.as_str(), NON_ALPHANUMERIC).to_string());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
}
