//! `google.protobuf.FieldMask` with the JSON that proto3 gives it, which `pbjson_types` does not.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names of fields, such as `stock_change`; in JSON they are one text: `stock,stockChange`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct FieldMask {
    /// As the proto file writes them.
    #[prost(string, repeated, tag = "1")]
    pub paths: Vec<String>,
}

impl Serialize for FieldMask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.paths.iter().map(|path| camel_case(path)).collect::<Vec<_>>().join(","))
    }
}

impl<'de> Deserialize<'de> for FieldMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('_') {
            return Err(D::Error::custom("a field mask has names as JSON has them, such as `pageSize`"));
        }
        Ok(Self { paths: text.split(',').filter(|path| !path.is_empty()).map(snake_case).collect() })
    }
}

fn camel_case(path: &str) -> String {
    let mut words = path.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel + letters.as_str()
    })
}

fn snake_case(path: &str) -> String {
    let mut snake = String::new();
    for letter in path.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_its_names_in_one_text() {
        let mask = FieldMask { paths: vec!["stock_change".to_owned(), "desc".to_owned()] };
        let json = serde_json::json!("stockChange,desc");
        assert_eq!(serde_json::to_value(&mask).unwrap(), json);
        assert_eq!(serde_json::from_value::<FieldMask>(json).unwrap(), mask);
        assert_eq!(serde_json::from_value::<FieldMask>("".into()).unwrap(), FieldMask::default());
        assert!(serde_json::from_value::<FieldMask>("stock_change".into()).is_err());
        assert!(serde_json::from_value::<FieldMask>(serde_json::json!(["desc"])).is_err());
    }
}
