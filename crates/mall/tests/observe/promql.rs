//! The names of metrics and labels in a PromQL expression. Prometheus itself cannot be asked for them before version 3, and
//! the one crate that can brings thirty more; names alone need no grammar.

use std::collections::BTreeSet;

/// What an expression asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Each metric, with the labels that must match.
    pub(crate) selectors: Vec<(String, BTreeSet<String>)>,
    /// The labels that it groups and joins by.
    pub(crate) grouping: BTreeSet<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The names in an expression that Prometheus takes.
pub(crate) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => after_text(rest),
            '[' => rest.split_once(']').unwrap().1,
            '0'..='9' => rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '.'),
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let (word, after) = word(rest);
                take(&mut names, word, after.trim_start())
            }
            '{' => panic!("a selector without a name: {expression}"),
            _ => &rest[first.len_utf8()..],
        };
    }
    names
}

/// Takes up what a word means; gives what is behind it.
fn take<'a>(names: &mut Names, name: &str, after: &'a str) -> &'a str {
    if OPERATORS.contains(&name) {
        return after;
    }
    if GROUPING.contains(&name) {
        let Some((labels, rest)) = after.strip_prefix('(').and_then(|list| list.split_once(')')) else { return after };
        names.grouping.extend(labels.split(',').map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()));
        return rest;
    }
    if after.starts_with('(') || ["by", "without"].contains(&word(after).0) {
        return after;
    }
    let mut labels = BTreeSet::new();
    let Some(mut rest) = after.strip_prefix('{') else {
        names.selectors.push((name.to_owned(), labels));
        return after;
    };
    while !rest.starts_with('}') {
        let (label, after) = word(rest.trim_start_matches([',', ' ', '\n']));
        labels.insert(label.to_owned());
        rest = after_text(&after[after.find('"').unwrap()..]).trim_start();
    }
    names.selectors.push((name.to_owned(), labels));
    &rest[1..]
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len()))
}

/// What is behind the quoted text that this begins with.
fn after_text(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return &text[at + 1..],
            _ => escaped = c == '\\' && !escaped,
        }
    }
    panic!("a text without an end: {text}")
}

#[test]
fn names_are_found() {
    let set = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let found = names(
        r#"histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{x="by (\"y\")", z!~"[a]{2}"}[5m] offset 1h)))
            or 2e3 * -b:c unless on (job) max(d{}) without (e) > bool 1"#,
    );
    let selectors = [("a_bucket", set(&["x", "z"])), ("b:c", set(&[])), ("d", set(&[]))];
    assert_eq!(found.selectors, selectors.map(|(name, labels)| (name.to_owned(), labels)));
    assert_eq!(found.grouping, set(&["e", "job", "le"]));
}
