//! What an operator sees, proven against the real collector, Jaeger and Prometheus: rules, alerts, dashboards, the pages of
//! Jaeger's UI, and `make observe`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod dashboards;
mod exposed;
mod monitor;
mod promql;
mod rules;
mod script;
mod table;
mod yaml;
