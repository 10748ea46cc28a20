//! A configuration before it has types: values by key, each with the place it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_path_to_error::{Path, Segment};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    /// In the file that is compiled into the binary.
    BuiltIn { name: &'static str, line: usize },
    /// In a file that was named on the command line.
    File { path: PathBuf, line: usize },
    /// In an environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn { name, line } => write!(f, "built-in etc/{name}.yaml:{line}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A value and where it was written: for a value in a map, the line of its key.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

/// What was written. A scalar keeps its text: its type is the one of the field it is for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Map),
}

/// Values by key.
pub(crate) type Map = BTreeMap<String, Node>;

impl Node {
    /// Whether this is a YAML `null`, which every optional value and section may be.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Lays `over` on `under`: maps are joined key by key, anything else is replaced.
pub(crate) fn merge(under: &mut Map, over: Map) {
    for (key, node) in over {
        match (under.get_mut(&key), node) {
            (Some(Node { value: Value::Map(under), .. }), Node { value: Value::Map(over), .. }) => merge(under, over),
            // A section without a line says nothing: what is under it stays.
            (Some(Node { value: Value::Map(_), .. }), node) if node.is_null() => {}
            (_, node) => drop(under.insert(key, node)),
        }
    }
}

/// A map that holds nothing but `value` at `path`.
pub(crate) fn at(path: &[&str], value: Node) -> Map {
    match path {
        [] => Map::new(),
        [key] => Map::from([((*key).to_owned(), value)]),
        [section, rest @ ..] => {
            let origin = value.origin.clone();
            Map::from([((*section).to_owned(), Node { origin, value: Value::Map(at(rest, value)) })])
        }
    }
}

/// The node at `path`, keys joined by dots.
pub(crate) fn find<'a>(map: &'a Map, path: &str) -> Option<&'a Node> {
    match path.split_once('.') {
        None => map.get(path),
        Some((section, rest)) => match &map.get(section)?.value {
            Value::Map(map) => find(map, rest),
            Value::Scalar { .. } | Value::List(_) => None,
        },
    }
}

/// Where the value at `path` below `root` was written, or the nearest one around it.
pub(crate) fn nearest<'a>(root: &'a Node, path: &Path) -> &'a Origin {
    let step = |node: &'a Node, segment: &Segment| match (segment, &node.value) {
        (Segment::Map { key }, Value::Map(map)) => map.get(key),
        (Segment::Seq { index }, Value::List(list)) => list.get(*index),
        _ => None,
    };
    let mut node = root;
    for segment in path {
        let Some(inner) = step(node, segment) else { break };
        node = inner;
    }
    &node.origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(variable: &str, text: &str) -> Node {
        Node {
            origin: Origin::Variable(variable.to_owned()),
            value: Value::Scalar { text: text.to_owned(), quoted: true },
        }
    }

    #[test]
    fn the_upper_layer_wins_key_by_key() {
        let mut map = at(&["a", "b"], scalar("UNDER", "1"));
        merge(&mut map, at(&["a", "c"], scalar("UNDER", "2")));
        merge(&mut map, at(&["a", "b"], scalar("OVER", "3")));
        assert_eq!(find(&map, "a.b").unwrap().origin, Origin::Variable("OVER".to_owned()));
        assert_eq!(find(&map, "a.c").unwrap().origin, Origin::Variable("UNDER".to_owned()));
        assert!(find(&map, "a.b.c").is_none() && find(&map, "d").is_none());
    }

    #[test]
    fn an_empty_section_takes_nothing_away() {
        let mut map = at(&["a", "b"], scalar("UNDER", "1"));
        let value = Value::Scalar { text: String::new(), quoted: false };
        merge(&mut map, at(&["a"], Node { origin: Origin::Variable("OVER".to_owned()), value }));
        assert!(find(&map, "a.b").is_some());
    }
}
