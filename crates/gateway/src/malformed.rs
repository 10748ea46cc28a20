//! Says which field of a malformed request is wrong; the decoder says only where in the text.

use serde_json::Value;

use crate::refusal::Refusal;

/// The decoder's refusal `status` of `body`, with the field named if it can be known.
pub(crate) fn explain(status: &[u8], body: &[u8]) -> Refusal {
    let status: Value = serde_json::from_slice(status).unwrap_or_default();
    let message = status["message"].as_str().unwrap_or("the request is malformed");
    let Some(detail) = message.strip_prefix("request did not match the expected message: ") else {
        return Refusal::malformed(message);
    };
    let (detail, field) = match position(detail) {
        Some((detail, line, column)) => (detail, path_at(body, offset(body, line, column))),
        None => (detail, quoted(detail)),
    };
    match field {
        Some(field) => Refusal::violation(&field, plain(detail)),
        None => Refusal::malformed(message),
    }
}

/// What serde says of a number in a string that is none.
fn plain(detail: &str) -> &str {
    if detail.contains("untagged enum") { "not a number, or out of the field's range" } else { detail }
}

/// Splits `invalid type: .. at line 1 column 9`.
fn position(detail: &str) -> Option<(&str, usize, usize)> {
    let (detail, position) = detail.rsplit_once(" at line ")?;
    let (line, column) = position.split_once(" column ")?;
    Some((detail, line.parse().ok()?, column.parse().ok()?))
}

/// The name in "unknown field `name`, ..", which is where a query parameter is named.
fn quoted(detail: &str) -> Option<String> {
    let (_, rest) = detail.split_once("field `")?;
    rest.split_once('`').map(|(name, _)| name.to_owned())
}

fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(body.len())
}

/// The path, such as `items[2].name`, of what ends at `end` in a JSON text that is well formed up to there.
fn path_at(body: &[u8], end: usize) -> Option<String> {
    let mut levels: Vec<Level> = Vec::new();
    let mut rest = 0;
    while rest < end {
        let byte = body[rest];
        rest += 1;
        match (byte, levels.last_mut()) {
            (b'"', level) => {
                let start = rest;
                rest = string_end(body, start).min(end);
                if let Some(Level::Object { key, at_key: true }) = level {
                    let text = &body[start..rest];
                    *key = String::from_utf8_lossy(text.strip_suffix(b"\"").unwrap_or(text)).into_owned();
                }
            }
            (b'{', _) => levels.push(Level::Object { key: String::new(), at_key: true }),
            (b'[', _) => levels.push(Level::Array(0)),
            (b':', Some(Level::Object { at_key, .. })) => *at_key = false,
            (b',', Some(Level::Object { at_key, .. })) => *at_key = true,
            (b',', Some(Level::Array(index))) => *index += 1,
            // A number that cannot be read in its string is found out where the object around it ends.
            (b'}' | b']', _) if rest < end => drop(levels.pop()),
            _ => {}
        }
    }
    let path = levels.iter().fold(String::new(), |path, level| match level {
        Level::Object { key, .. } if path.is_empty() || key.is_empty() => path + key,
        Level::Object { key, .. } => path + "." + key,
        Level::Array(index) => format!("{path}[{index}]"),
    });
    Some(path).filter(|path| !path.is_empty())
}

enum Level {
    Object { key: String, at_key: bool },
    Array(usize),
}

/// Past the quote that ends the string whose text begins at `start`.
fn string_end(body: &[u8], start: usize) -> usize {
    let mut escaped = false;
    let end = body[start..].iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(body.len(), |length| start + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_what_ends_at_the_position() {
        let body = br#"{"a": {"b\"": [1, {"c": 2}, 3]}, "d": "e,:{"}"#;
        let at = |text: &str| {
            let start = body.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
            path_at(body, start + text.len())
        };
        assert_eq!(at(r#"{"a""#).as_deref(), Some("a"));
        assert_eq!(at("[1").as_deref(), Some(r#"a.b\"[0]"#));
        assert_eq!(at("2").as_deref(), Some(r#"a.b\"[1].c"#));
        assert_eq!(at("3").as_deref(), Some(r#"a.b\"[2]"#));
        assert_eq!(at("e,:{\"").as_deref(), Some("d"));
        assert_eq!(path_at(body, body.len()).as_deref(), Some("d"));
        assert_eq!(path_at(b"", 0), None);
    }

    #[test]
    fn lines_are_counted_from_one_and_columns_in_bytes() {
        assert_eq!(offset(b"{\n  \"a\": 1}", 2, 8), 10);
        assert_eq!(offset(b"{}", 9, 9), 2);
    }
}
