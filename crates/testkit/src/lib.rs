//! What tests of several crates share: databases, free ports, captured spans, real parts.

#![warn(missing_docs)]

pub mod chromium;
pub mod database;
pub mod jaeger;
pub mod part;
pub mod process;
pub mod requirement;
pub mod shopper;
pub mod trace;
pub mod zipkin;
