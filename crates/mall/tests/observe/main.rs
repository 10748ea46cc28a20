//! What an operator sees, proven against the real collector, Jaeger and Prometheus: rules, alerts and dashboards.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod dashboards;
mod exposed;
mod promql;
mod rules;
mod table;
mod yaml;
