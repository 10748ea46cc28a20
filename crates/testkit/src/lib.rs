//! What tests of several crates share: databases, free ports, captured spans, real parts.
