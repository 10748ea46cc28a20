//! What can be wrong with a configuration, said so that it can be put right.

use std::io;
use std::path::PathBuf;

use super::tree::Origin;

/// Why a configuration cannot be used: one problem, where it is, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or directory that was named is not there, or not readable.
    #[error("cannot read {path}: give --config a file, or --config-dir a directory", path = path.display())]
    File { path: PathBuf, source: io::Error },
    /// The text is no YAML mapping.
    #[error("{origin}: {what}")]
    Syntax { origin: Origin, what: String },
    /// A key that no configuration struct has.
    #[error("{origin}: {name} has no key `{key}`: {hint}")]
    UnknownKey { origin: Origin, name: &'static str, key: String, hint: String },
    /// A value that does not fit its field.
    #[error("{origin}: `{key}` of {name} cannot be used: {what}")]
    BadValue { origin: Origin, name: &'static str, key: String, what: String },
    /// A variable in the environment that is not text.
    #[error("environment variable {0} is not UTF-8: write it as plain text or unset it")]
    Encoding(String),
}

impl Error {
    pub(crate) fn syntax(origin: Origin, what: impl Into<String>) -> Self {
        Self::Syntax { origin, what: what.into() }
    }
}

/// What to do about `key`, which is none of the keys `known` in its place.
pub(crate) fn hint(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&key.to_lowercase(), name), *name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 3 + 1);
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing can be set there".to_owned(),
        None => format!("the keys there are {}", known.join(", ")),
    }
}
