//! Reads an encoded span where it lies: what is kept beside it is taken out, and the rest is copied as it is.
//!
//! prost would make a dozen strings and lists of a span, of which its encoder makes the same bytes again; without it
//! `benches/store.rs` takes half as many spans again in a second. A span in any other form than that in which encoders write
//! it is left to prost, whose word is thus the last on all that is unusual or wrong.

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{Batch, Invalid, Packed};
use crate::model::TraceId;
use crate::wire::{Value, next};

/// How deep messages may lie in each other here.
const DEPTH: u32 = 32;

const TRACE_ID: u32 = 1;
const SPAN_ID: u32 = 2;
const PARENT_SPAN_ID: u32 = 4;
const NAME: u32 = 5;
const KIND: u32 = 6;
const START: u32 = 7;
const END: u32 = 8;

/// The fields of a message, by their numbers from 1 on.
struct Fields {
    kinds: &'static [Kind],
    /// They are those of a `oneof`: one of them is there.
    is_oneof: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Not in use any more.
    Reserved,
    Varint,
    SixtyFourBit,
    ThirtyTwoBit,
    Bytes,
    Text,
    /// A message.
    One(&'static Fields),
    /// Messages.
    Many(&'static Fields),
}

use Kind::{Bytes, Many, One, Reserved, SixtyFourBit, Text, ThirtyTwoBit, Varint};

const fn fields(kinds: &'static [Kind]) -> Fields {
    Fields { kinds, is_oneof: false }
}

// As in opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
static SPAN: Fields = fields(&[
    Bytes,
    Bytes,
    Text,
    Bytes,
    Text,
    Varint,
    SixtyFourBit,
    SixtyFourBit,
    Many(&KEY_VALUE),
    Varint,
    Many(&EVENT),
    Varint,
    Many(&LINK),
    Varint,
    One(&STATUS),
    ThirtyTwoBit,
]);
static EVENT: Fields = fields(&[SixtyFourBit, Text, Many(&KEY_VALUE), Varint]);
static LINK: Fields = fields(&[Bytes, Bytes, Text, Many(&KEY_VALUE), Varint, ThirtyTwoBit]);
static STATUS: Fields = fields(&[Reserved, Text, Varint]);
static KEY_VALUE: Fields = fields(&[Text, One(&ANY_VALUE), Varint]);
static ANY_VALUE: Fields = Fields {
    kinds: &[Text, Varint, Varint, SixtyFourBit, One(&ARRAY_VALUE), One(&KEY_VALUE_LIST), Bytes, Varint],
    is_oneof: true,
};
static ARRAY_VALUE: Fields = fields(&[Many(&ANY_VALUE)]);
static KEY_VALUE_LIST: Fields = fields(&[Many(&KEY_VALUE)]);

impl Fields {
    /// Whether `encoded` is such a message as encoders write it: with fields that are known, none of them twice that may be
    /// there once.
    fn is_plain(&self, encoded: &[u8], depth: u32) -> bool {
        let (mut rest, mut seen) = (encoded, 0_u32);
        while !rest.is_empty() {
            let Ok((number, value)) = next(&mut rest) else { return false };
            let Some(kind) = self.kinds.get(number as usize - 1) else { return false };
            let is_another = seen & 1 << number != 0 || self.is_oneof && seen != 0;
            if is_another && !matches!(kind, Many(_)) {
                return false;
            }
            seen |= 1 << number;
            let is_plain = match (kind, value) {
                (One(fields) | Many(fields), Value::Bytes(message)) => depth > 0 && fields.is_plain(message, depth - 1),
                (Text, Value::Bytes(text)) => std::str::from_utf8(text).is_ok(),
                (Varint, Value::Varint(_))
                | (SixtyFourBit, Value::SixtyFourBit(_))
                | (ThirtyTwoBit, Value::ThirtyTwoBit)
                | (Bytes, Value::Bytes(_)) => true,
                _ => false,
            };
            if !is_plain {
                return false;
            }
        }
        true
    }
}

/// Adds an encoded span to a batch: one of its last scope. After an error the batch is of no use, for a part of the span may
/// be in it.
pub(crate) fn read(span: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    if SPAN.is_plain(span, DEPTH) {
        return pack(span, batch);
    }
    pack(&Span::decode(span)?.encode_to_vec(), batch)
}

fn pack(plain: &[u8], batch: &mut Batch) -> Result<(), Invalid> {
    let (mut trace, mut id, mut parent, mut name): (&[u8], &[u8], &[u8], &[u8]) = Default::default();
    let (mut kind, mut start, mut end) = (0, 0, 0);
    let (names, bodies) = (batch.names.len(), batch.bodies.len());
    let mut rest = plain;
    while !rest.is_empty() {
        let from = rest;
        match next(&mut rest)? {
            (TRACE_ID, Value::Bytes(bytes)) => trace = bytes,
            (SPAN_ID, Value::Bytes(bytes)) => id = bytes,
            (PARENT_SPAN_ID, Value::Bytes(bytes)) => parent = bytes,
            (NAME, Value::Bytes(bytes)) => name = bytes,
            // An enumeration is an int32, which is written with as many bits as an int64.
            (KIND, Value::Varint(number)) => kind = number as i32,
            (START, Value::SixtyFourBit(nanos)) => start = nanos,
            (END, Value::SixtyFourBit(nanos)) => end = nanos,
            _ => batch.bodies.extend_from_slice(&from[..from.len() - rest.len()]),
        }
    }
    let trace =
        TraceId(trace.try_into().map_err(|_| Invalid(format!("a trace id has 16 bytes, not {}", trace.len())))?);
    let id = span_id(id)?;
    if id == 0 || trace.0 == [0; 16] {
        return Err(Invalid("a trace id or span id is all zeros".to_owned()));
    }
    let parent = if parent.is_empty() { 0 } else { span_id(parent)? };
    batch.names.push_str(&String::from_utf8_lossy(name));
    let (name, body) = (names..batch.names.len(), bodies..batch.bodies.len());
    let scope = batch.origins.scopes.len().saturating_sub(1) as u32;
    batch.spans.push(Packed { trace, id, parent, start, end, kind, name, scope, body });
    Ok(())
}

fn span_id(bytes: &[u8]) -> Result<u64, Invalid> {
    let bytes = bytes.try_into().map_err(|_| Invalid(format!("a span id has 8 bytes, not {}", bytes.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::trace::v1::Status;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

    use super::*;
    use crate::measure::is_read_alike;

    fn attributes() -> Vec<KeyValue> {
        let any = |value| AnyValue { value: Some(value) };
        let named = |value| KeyValue { key: "key".to_owned(), value: Some(any(value)), key_strindex: 1 };
        let values = [
            Any::StringValue("ü".to_owned()),
            Any::BoolValue(true),
            Any::IntValue(-1),
            Any::DoubleValue(f64::NAN),
            Any::BytesValue(vec![0, 255]),
            Any::StringValueStrindex(1),
        ];
        let array = Any::ArrayValue(ArrayValue { values: values.clone().map(any).into() });
        let list = Any::KvlistValue(KeyValueList { values: values.clone().map(named).into() });
        values.into_iter().chain([array, list]).map(named).collect()
    }

    /// A span with all that a span may have.
    fn whole() -> Span {
        let event = Event {
            time_unix_nano: 1,
            name: "event".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 1,
        };
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
            kind: -2,
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

    fn with(field: &[u8]) -> Vec<u8> {
        [&whole().encode_to_vec(), field].concat()
    }

    #[test]
    fn all_that_a_span_may_have_is_plain() {
        let encoded = whole().encode_to_vec();
        assert!(SPAN.is_plain(&encoded, DEPTH) && is_read_alike(&encoded));
    }

    #[test]
    fn with_any_byte_another_it_is_read_as_prost_reads_it() {
        let encoded = whole().encode_to_vec();
        for place in 0..encoded.len() {
            for change in [1, 2, 7, 8, 0x80, 0xff] {
                let mut other = encoded.clone();
                other[place] ^= change;
                assert!(is_read_alike(&other), "byte {place} as {:#x}", other[place]);
            }
            assert!(is_read_alike(&encoded[..place]));
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_stored_as_prost_writes_it() {
        let body = |encoded: &[u8]| {
            let mut batch = Batch::default();
            read(encoded, &mut batch).unwrap();
            batch.bodies
        };
        let plain = body(&whole().encode_to_vec());
        // Unknown fields, one of them a group, and one in a status where there was another one once.
        for field in [[0x98, 6, 1].as_slice(), &[0x9b, 6, 0x9c, 6], &[0x7a, 3, 0x0a, 1, 0]] {
            assert_eq!(body(&with(field)), plain, "{field:?}");
        }
        // A status in two parts, and a value that is two.
        let merged = Span::decode(body(&with(&[0x7a, 2, 0x18, 1])).as_slice()).unwrap();
        assert_eq!(merged.status, Some(Status { message: "late".to_owned(), code: 1 }));
        let two = with(&[0x4a, 7, 0x12, 5, 0x0a, 1, b'x', 0x10, 1]);
        let value = Span::decode(body(&two).as_slice()).unwrap().attributes.pop().and_then(|it| it.value);
        assert_eq!(value, Some(AnyValue { value: Some(Any::BoolValue(true)) }));
    }

    #[test]
    fn how_deep_a_value_may_lie_is_for_prost_to_say() {
        // An AnyValue with an unknown field, and one with none.
        for innermost in [[0x48, 1].as_slice(), &[]] {
            let mut value = innermost.to_vec();
            let mut refused = 0;
            for depth in 0..60 {
                let mut span = Vec::new();
                let pair = [&[0x12], length(&value).as_slice(), &value].concat();
                span.extend([&[0x4a], length(&pair).as_slice(), &pair].concat());
                let span = with(&span);
                assert!(is_read_alike(&span), "{depth}");
                refused += usize::from(read(&span, &mut Batch::default()).is_err());
                let array = [&[0x0a], length(&value).as_slice(), &value].concat();
                value = [&[0x2a], length(&array).as_slice(), &array].concat();
            }
            assert!((5..20).contains(&refused), "{refused}");
        }
    }

    fn length(message: &[u8]) -> Vec<u8> {
        let mut length = Vec::new();
        prost::encode_length_delimiter(message.len(), &mut length).unwrap();
        length
    }
}
