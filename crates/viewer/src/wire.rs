//! Walks over an encoded protobuf message without decoding it.
//!
//! A decoded message can be a hundred times its encoded size, and takes long to make: what comes from outside is looked at as
//! it is, and so is every stored span in a search.

use bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The bytes are no protobuf message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no protobuf or ends too early")]
pub(crate) struct Malformed;

/// The length-delimited fields of an encoded message, each with its number; ends after an error.
pub(crate) struct Fields<'a>(&'a [u8]);

/// Walks over `message`; fields that are not length-delimited are passed over.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

/// The last length-delimited field `number` of `message`: what protobuf takes for a field that is not repeated.
pub(crate) fn field(message: &[u8], number: u32) -> Option<&[u8]> {
    fields(message).flatten().filter(|(found, _)| *found == number).last().map(|(_, value)| value)
}

/// The value of a field as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    SixtyFourBit(u64),
    ThirtyTwoBit,
    /// A string, bytes, or a message.
    Bytes(&'a [u8]),
}

/// Takes the first field off `rest`: its number and its value.
pub(crate) fn next<'a>(rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), Malformed> {
    let (number, wire_type) = decode_key(rest).map_err(|_| Malformed)?;
    let value = match wire_type {
        WireType::Varint => Value::Varint(decode_varint(rest).map_err(|_| Malformed)?),
        WireType::SixtyFourBit => Value::SixtyFourBit(rest.try_get_u64_le().map_err(|_| Malformed)?),
        WireType::ThirtyTwoBit => rest.try_get_u32_le().map(|_| Value::ThirtyTwoBit).map_err(|_| Malformed)?,
        WireType::LengthDelimited => {
            let length = decode_varint(rest).map_err(|_| Malformed)?;
            let length = usize::try_from(length).map_err(|_| Malformed)?;
            let (value, after) = rest.split_at_checked(length).ok_or(Malformed)?;
            *rest = after;
            Value::Bytes(value)
        }
        // Groups are proto2's; no message of OTLP has one.
        WireType::StartGroup | WireType::EndGroup => return Err(Malformed),
    };
    Ok((number, value))
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match next(&mut self.0) {
                Ok((number, Value::Bytes(value))) => return Some(Ok((number, value))),
                Ok(_) => {}
                Err(error) => {
                    self.0 = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_walked_over() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0];
        let walked: Vec<_> = fields(&message).map(Result::unwrap).collect();
        assert_eq!(walked, [(2, b"hi".as_slice()), (2, b"")]);
        assert_eq!(field(&message, 2), Some(b"".as_slice()));
        assert_eq!(field(&message, 3), None);
    }

    #[test]
    fn what_is_no_protobuf_ends_in_one_error() {
        let longest = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for message in [[0x0a, 5, b'x'].as_slice(), &[0x0a], &[0xff; 12], &[0x0b], &[0x00, 0x00], &longest, &[0x0d, 1]]
        {
            assert_eq!(fields(message).collect::<Vec<_>>(), [Err(Malformed)], "{message:?}");
        }
    }
}
