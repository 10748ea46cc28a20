//! A tree of values to the configuration structs.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Map, Node, Origin, Value};

/// Why a value does not fit its field.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no such field; these are.
    #[error("unknown key")]
    UnknownKey(&'static [&'static str]),
    /// In words.
    #[error("{0}")]
    BadValue(String),
}

impl de::Error for Fault {
    fn custom<T: std::fmt::Display>(what: T) -> Self {
        Self::BadValue(what.to_string())
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownKey(expected)
    }
}

fn entries<'de>(map: &Map) -> MapDeserializer<'de, impl Iterator<Item = (&str, &Node)>, Fault> {
    MapDeserializer::new(map.iter().map(|(key, node)| (key.as_str(), node)))
}

fn items(list: &[Node]) -> SeqDeserializer<std::slice::Iter<'_, Node>, Fault> {
    SeqDeserializer::new(list.iter())
}

impl<'de> IntoDeserializer<'de, Fault> for &Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Node {
    fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// In an environment variable a list is written with commas.
    fn split(&self) -> Option<Vec<Node>> {
        let (Origin::Variable(_), Some(text)) = (&self.origin, self.text()) else { return None };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let scalar = |item: &str| Value::Scalar { text: item.to_owned(), quoted: false };
        Some(items.map(|item| Self { origin: self.origin.clone(), value: scalar(item) }).collect())
    }
}

impl<'de> de::Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(map) => visitor.visit_map(entries(map)),
            Value::List(list) => visitor.visit_seq(items(list)),
            Value::Scalar { .. } if self.is_null() => visitor.visit_unit(),
            Value::Scalar { text, quoted: false } if matches!(text.as_str(), "true" | "false") => {
                visitor.visit_bool(text == "true")
            }
            Value::Scalar { text, quoted: false } => {
                match (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>()) {
                    (Ok(number), ..) => visitor.visit_u64(number),
                    (_, Ok(number), _) => visitor.visit_i64(number),
                    (.., Ok(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_str(text),
                }
            }
            Value::Scalar { text, .. } => visitor.visit_str(text),
        }
    }

    /// `0.1` is a number for a number and a text for a text.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.split() {
            Some(list) => visitor.visit_seq(items(&list)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(map) => visitor.visit_map(entries(map)),
            // A section without a line under it is an empty one.
            _ if self.is_null() => visitor.visit_map(entries(&Map::new())),
            // Which is not shown: a header written here may be a secret.
            _ => Err(de::Error::custom("it has keys and values below it, not a value of its own")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Scalar { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Map(map) => visitor.visit_enum(de::value::MapAccessDeserializer::new(entries(map))),
            Value::List(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
