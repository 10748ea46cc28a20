//! Reads an encoded span as it lies there: what is kept beside it is taken out, and the rest looked through and copied.
//!
//! prost would make a dozen strings and lists of a span, of which its encoder makes bytes again: `benches/store.rs` took
//! spans at a third of the rate with it. What is accepted here is what prost's decoder accepts, which the tests and
//! `make fuzz` compare.

use super::{Invalid, Packed};
use crate::model::TraceId;
use crate::wire::{Malformed, Value, next};

/// How deep messages may lie in each other: prost's own limit.
const DEPTH: u32 = 100;

/// What the fields of a message are, by their numbers from 1 on; others are passed over.
struct Message(&'static [Kind]);

#[derive(Clone, Copy)]
enum Kind {
    Varint,
    SixtyFourBit,
    ThirtyTwoBit,
    Bytes,
    Text,
    Of(&'static Message),
}

use Kind::{Bytes, Of, SixtyFourBit, Text, ThirtyTwoBit, Varint};

// As in opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
static SPAN: Message = Message(&[
    Bytes,
    Bytes,
    Text,
    Bytes,
    Text,
    Varint,
    SixtyFourBit,
    SixtyFourBit,
    Of(&KEY_VALUE),
    Varint,
    Of(&EVENT),
    Varint,
    Of(&LINK),
    Varint,
    Of(&STATUS),
    ThirtyTwoBit,
]);
static EVENT: Message = Message(&[SixtyFourBit, Text, Of(&KEY_VALUE), Varint]);
static LINK: Message = Message(&[Bytes, Bytes, Text, Of(&KEY_VALUE), Varint, ThirtyTwoBit]);
/// Its first number is not in use any more.
static STATUS: Message = Message(&[Kind::Varint, Text, Varint]);
static KEY_VALUE: Message = Message(&[Text, Of(&ANY_VALUE), Varint]);
static ANY_VALUE: Message =
    Message(&[Text, Varint, Varint, SixtyFourBit, Of(&ARRAY_VALUE), Of(&KEY_VALUE_LIST), Bytes, Varint]);
static ARRAY_VALUE: Message = Message(&[Of(&ANY_VALUE)]);
static KEY_VALUE_LIST: Message = Message(&[Of(&KEY_VALUE)]);

impl Message {
    /// Whether `encoded` is such a message.
    fn check(&self, encoded: &[u8], depth: u32) -> Result<(), Invalid> {
        let mut rest = encoded;
        while !rest.is_empty() {
            let (number, value) = next(&mut rest)?;
            self.check_field(number, value, depth)?;
        }
        Ok(())
    }

    fn check_field(&self, number: u32, value: Value<'_>, depth: u32) -> Result<(), Invalid> {
        let Some(kind) = self.0.get(number as usize - 1) else { return Ok(()) };
        match (kind, value) {
            (Varint, Value::Varint(_))
            | (SixtyFourBit, Value::SixtyFourBit(_))
            | (ThirtyTwoBit, Value::ThirtyTwoBit)
            | (Bytes, Value::Bytes(_)) => Ok(()),
            (Text, Value::Bytes(bytes)) => text(bytes).map(drop),
            (Of(_), Value::Bytes(_)) if depth == 0 => Err(Invalid("recursion limit reached".to_owned())),
            (Of(message), Value::Bytes(encoded)) => message.check(encoded, depth - 1),
            _ => Err(Malformed.into()),
        }
    }
}

/// Reads a span of the scope with this number.
pub(crate) fn read(span: &[u8], scope: u32) -> Result<Packed, Invalid> {
    let (mut trace, mut id, mut parent, mut name): (&[u8], &[u8], &[u8], &str) = Default::default();
    let (mut kind, mut start, mut end) = (0, 0, 0);
    let mut body = Vec::with_capacity(span.len());
    let mut rest = span;
    while !rest.is_empty() {
        let from = rest;
        match next(&mut rest)? {
            (1, Value::Bytes(bytes)) => trace = bytes,
            (2, Value::Bytes(bytes)) => id = bytes,
            (4, Value::Bytes(bytes)) => parent = bytes,
            (5, Value::Bytes(bytes)) => name = text(bytes)?,
            // An enumeration is an int32, of which ten bytes may be there.
            (6, Value::Varint(number)) => kind = number as i32,
            (7, Value::SixtyFourBit(nanos)) => start = nanos,
            (8, Value::SixtyFourBit(nanos)) => end = nanos,
            (number, value) => {
                SPAN.check_field(number, value, DEPTH)?;
                body.extend_from_slice(&from[..from.len() - rest.len()]);
            }
        }
    }
    let trace =
        TraceId(trace.try_into().map_err(|_| Invalid(format!("a trace id has 16 bytes, not {}", trace.len())))?);
    let id = span_id(id)?;
    if id == 0 || trace.0 == [0; 16] {
        return Err(Invalid("a trace id or span id is all zeros".to_owned()));
    }
    let parent = if parent.is_empty() { 0 } else { span_id(parent)? };
    Ok(Packed { trace, id, parent, start, end, kind, name: name.into(), scope, body })
}

fn text(bytes: &[u8]) -> Result<&str, Invalid> {
    std::str::from_utf8(bytes).map_err(|_| Invalid("a string is not UTF-8".to_owned()))
}

fn span_id(bytes: &[u8]) -> Result<u64, Invalid> {
    let bytes = bytes.try_into().map_err(|_| Invalid(format!("a span id has 8 bytes, not {}", bytes.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use prost::Message as _;

    use super::*;
    use crate::measure::is_read_alike;

    fn attributes() -> Vec<KeyValue> {
        let any = |value| AnyValue { value: Some(value) };
        let named = |value| KeyValue { key: "key".to_owned(), value: Some(any(value)), ..Default::default() };
        let values = [
            Any::StringValue("ü".to_owned()),
            Any::BoolValue(true),
            Any::IntValue(-1),
            Any::DoubleValue(f64::NAN),
            Any::BytesValue(vec![0, 255]),
        ];
        let array = Any::ArrayValue(ArrayValue { values: values.clone().map(any).into() });
        let list = Any::KvlistValue(KeyValueList { values: values.clone().map(named).into() });
        values.into_iter().chain([array, list]).map(named).collect()
    }

    /// A span with all that a span may have.
    fn whole() -> Span {
        let event =
            Event { time_unix_nano: 1, name: "event".to_owned(), attributes: attributes(), ..Default::default() };
        let link = Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=b".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 1,
            flags: 1,
        };
        Span {
            trace_id: vec![3; 16],
            span_id: vec![4; 8],
            trace_state: "c=d".to_owned(),
            parent_span_id: vec![5; 8],
            flags: 1,
            name: "work".to_owned(),
            kind: 2,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: attributes(),
            dropped_attributes_count: 1,
            events: vec![event],
            dropped_events_count: 1,
            links: vec![link],
            dropped_links_count: 1,
            status: Some(Status { message: "late".to_owned(), code: 2 }),
        }
    }

    #[test]
    fn all_that_a_span_may_have_is_read() {
        let encoded = whole().encode_to_vec();
        assert!(read(&encoded, 0).is_ok() && is_read_alike(&encoded));
    }

    #[test]
    fn with_any_byte_another_it_is_read_as_prost_reads_it() {
        let encoded = whole().encode_to_vec();
        let mut refused = 0;
        for place in 0..encoded.len() {
            for change in [1, 2, 7, 8, 0x80, 0xff] {
                let mut other = encoded.clone();
                other[place] ^= change;
                assert!(is_read_alike(&other), "byte {place} as {:#x}", other[place]);
                let is_refused = read(&other, 0).is_err();
                refused += usize::from(is_refused);
                // Groups and ids of other lengths are refused here alone.
                let group = |encoded: &[u8]| matches!(encoded[place] & 7, 3 | 4);
                if let Ok(span) = Span::decode(other.as_slice())
                    && span.trace_id.len() == 16
                    && span.span_id.len() == 8
                    && matches!(span.parent_span_id.len(), 0 | 8)
                {
                    assert!(!is_refused || group(&other), "byte {place} as {:#x}", other[place]);
                }
            }
        }
        assert!(refused > encoded.len());
        for end in 0..encoded.len() {
            assert!(is_read_alike(&encoded[..end]));
        }
    }
}
