//! Rules that fields of several domains keep.

use rpc::Rule;

/// An id that a database has assigned, or a number of things that is not nothing.
pub fn positive(number: i64) -> Result<i64, Rule> {
    if number > 0 { Ok(number) } else { Err("must be 1 or more") }
}

/// A number of units or of minor units of money.
pub fn count(count: i64) -> Result<i64, Rule> {
    if count >= 0 { Ok(count) } else { Err("must be 0 or more") }
}

/// What a client may say of a value that the server decides.
pub fn agrees<T: PartialEq>(given: Option<T>, decided: &T) -> Result<(), Rule> {
    match given {
        Some(given) if given != *decided => Err("is something else; what is left out is not compared"),
        _ => Ok(()),
    }
}

/// A text of at most `most` characters that PostgreSQL can keep: without NUL.
pub fn text(text: String, most: usize, rule: Rule) -> Result<String, Rule> {
    if text.chars().count() <= most && !text.contains('\0') { Ok(text) } else { Err(rule) }
}

/// A name of 1 to `most` characters, not all blank, without control characters.
pub fn name(name: String, most: usize, rule: Rule) -> Result<String, Rule> {
    let fits = (1..=most).contains(&name.chars().count()) && !name.trim().is_empty();
    if fits && !name.chars().any(char::is_control) { Ok(name) } else { Err(rule) }
}

/// What a request names so that sending it again has no further effect: 1 to 128 visible ASCII characters.
pub fn idempotency_key(key: String) -> Result<String, Rule> {
    let fits = (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(key) } else { Err("must be 1 to 128 visible ASCII characters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_are_where_they_are_said_to_be() {
        assert!(
            positive(1).is_ok() && positive(i64::MAX).is_ok() && positive(0).is_err() && positive(i64::MIN).is_err()
        );
        assert!(count(0).is_ok() && count(i64::MAX).is_ok() && count(-1).is_err());
        assert!(agrees(None, &1).is_ok() && agrees(Some(1), &1).is_ok() && agrees(Some(0), &1).is_err());
        assert!(text("ä".repeat(3), 3, "short").is_ok() && text("ä".repeat(4), 3, "short").is_err());
        assert!(text("\0".to_owned(), 3, "short").is_err() && text("a\nb".to_owned(), 3, "short").is_ok());
        assert!(name("ä".repeat(3), 3, "short").is_ok() && name(" ".to_owned(), 3, "short").is_err());
        assert!(name(String::new(), 3, "short").is_err() && name("a\n".to_owned(), 3, "short").is_err());
        for (key, good) in [("", false), ("a", true), ("a b", false), ("ä", false), (&"x".repeat(128), true)] {
            assert_eq!(idempotency_key(key.to_owned()).is_ok(), good, "{key}");
        }
        assert!(idempotency_key("x".repeat(129)).is_err());
    }
}
