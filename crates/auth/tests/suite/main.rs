//! auth from outside: keys in files, tokens good and bad, the layer, the rules.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

mod keys;
mod layer;
mod outgoing;
mod rules;
mod support;
mod tokens;
