//! auth from outside: keys in files, tokens good and bad, the layer, the rules.

mod keys;
mod layer;
mod outgoing;
mod rules;
mod support;
mod tokens;
