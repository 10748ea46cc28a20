//! What tests of several crates share: databases, a whole mall, its answers and traces, real parts.

#![warn(missing_docs)]

mod authority;
pub mod chromium;
pub mod collector;
pub mod daemon;
pub mod database;
mod eventually;
pub mod exposition;
pub mod http;
pub mod jaeger;
pub mod observe;
pub mod otlp;
pub mod part;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod relay;
pub mod requirement;
pub mod schemathesis;
pub mod service;
pub mod shopper;
mod told;
pub mod trace;
pub mod zipkin;

pub use self::authority::Authority;
pub use self::daemon::Daemon;
pub use self::eventually::eventually;
pub use self::told::Told;
