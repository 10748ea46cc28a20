//! What an operator sees, proven against the real collector, Jaeger and Prometheus: rules, alerts, dashboards, and the pages
//! of Jaeger's UI.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod dashboards;
mod exposed;
mod monitor;
mod promql;
mod rules;
mod table;
mod yaml;
