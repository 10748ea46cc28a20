//! YAML text to a tree that knows its lines.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::Error;
use super::tree::{Map, Node, Origin, Value};

/// Reads `text` as one YAML mapping; `origin` says where its line is.
pub(crate) fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Map, Error> {
    let mut reader = Reader { parser: Parser::new_from_str(text), origin };
    let root = loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(Map::new()),
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (event, span) => break reader.node(event, span)?,
        }
    };
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentEnd | Event::Nothing, _) => {}
            (_, span) => return Err(reader.error(span, "a configuration is one document: remove the second one")),
        }
    }
    match root {
        Node { value: Value::Map(map), .. } => Ok(map),
        node if node.is_null() => Ok(Map::new()),
        node => Err(Error::syntax(node.origin, "a configuration is a mapping of keys to values, `key: value`")),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    origin: &'a dyn Fn(usize) -> Origin,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Error> {
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => Value::List(self.list()?),
            Event::MappingStart(..) => Value::Map(self.map()?),
            Event::Alias(_) => {
                return Err(self.error(span, "aliases (`*name`) are not understood: write the value out"));
            }
            _ => return Err(self.error(span, "a value is missing")),
        };
        Ok(Node { origin: (self.origin)(span.start.line()), value })
    }

    fn list(&mut self) -> Result<Vec<Node>, Error> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Map, Error> {
        let mut map = Map::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(map),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => return Err(self.error(span, "a key must be a plain word")),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let node = Node { origin: (self.origin)(at.start.line()), ..value };
            if map.insert(key.clone(), node).is_some() {
                return Err(self.error(at, &format!("`{key}` is written twice: keep one")));
            }
        }
    }

    fn error(&self, span: Span, what: &str) -> Error {
        Error::syntax((self.origin)(span.start.line()), what)
    }

    fn scan_error(&self, error: &ScanError) -> Error {
        Error::syntax((self.origin)(error.marker().line()), format!("this is not YAML: {}", error.info()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::find;
    use super::*;

    fn read(text: &str) -> Result<Map, Error> {
        parse(text, &|line| Origin::BuiltIn { name: "test", line })
    }

    #[test]
    fn every_value_knows_the_line_of_its_key() {
        let map = read("a: 1\nb:\n  c: 'x' # why\n  d:\n    - y\n").unwrap();
        for (path, line) in [("a", 1), ("b", 2), ("b.c", 3), ("b.d", 4)] {
            assert_eq!(find(&map, path).unwrap().origin, Origin::BuiltIn { name: "test", line }, "{path}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for text in ["", "\n", "# nothing\n", "---\n", "~\n"] {
            assert!(read(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let cases = [
            ("a: [1\nb: 2\n", 2, "not YAML"),
            ("a: 1\na: 2\n", 2, "`a` is written twice"),
            ("- a\n", 1, "a mapping of keys"),
            ("a: 1\n? [b]\n: 2\n", 2, "plain word"),
            ("a: &x 1\nb: *x\n", 2, "aliases"),
            ("a: 1\n b: 2\n", 2, "not YAML"),
            ("a: 1\n---\nb: 2\n", 2, "one document"),
        ];
        for (text, line, what) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&format!(":{line}:")) && error.contains(what), "{text:?}: {error}");
        }
    }
}
