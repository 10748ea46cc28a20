//! A tree of values to the configuration structs, remembering where a value that does not fit was written.

use std::fmt::Display;

use serde::de::{self, DeserializeSeed, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Map, Node, Origin, Value};

/// Why a tree does not fit a struct, and where it does not.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The keys down to the value, innermost first.
    pub(crate) path: Vec<String>,
    pub(crate) origin: Option<Origin>,
    pub(crate) what: What,
}

/// What does not fit.
#[derive(Debug)]
pub(crate) enum What {
    UnknownKey(&'static [&'static str]),
    BadValue(String),
}

impl Fault {
    fn within(mut self, key: &str, origin: &Origin) -> Self {
        self.path.push(key.to_owned());
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {:?}", self.what, self.path)
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(what: T) -> Self {
        Self { path: Vec::new(), origin: None, what: What::BadValue(what.to_string()) }
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self { path: Vec::new(), origin: None, what: What::UnknownKey(expected) }
    }
}

/// Reads a `T` out of the values at the top of a tree.
pub(crate) fn from_map<T: de::DeserializeOwned>(map: &Map) -> Result<T, Fault> {
    T::deserialize(de::value::MapAccessDeserializer::new(Entries::of(map)))
}

struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, String, Node>,
    current: Option<(&'a String, &'a Node)>,
}

impl<'a> Entries<'a> {
    fn of(map: &'a Map) -> Self {
        Self { rest: map.iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let Some((key, node)) = self.current else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer())
            .map(Some)
            .map_err(|fault: Fault| fault.within(key, &node.origin))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.current.take() else { return Err(de::Error::custom("a value without a key")) };
        seed.deserialize(node).map_err(|fault| fault.within(key, &node.origin))
    }
}

struct Items<'a>(std::iter::Enumerate<std::slice::Iter<'a, Node>>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|fault| fault.within(&index.to_string(), &node.origin))
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
            Value::Map(map) => visitor.visit_map(Entries::of(map)),
            Value::List(list) => visitor.visit_seq(Items(list.iter().enumerate())),
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
            Some(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // A section without a line under it is an empty one.
        if self.is_null() { visitor.visit_map(Entries::of(&Map::new())) } else { self.deserialize_any(visitor) }
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
            Value::Map(map) => visitor.visit_enum(de::value::MapAccessDeserializer::new(Entries::of(map))),
            Value::List(_) => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
