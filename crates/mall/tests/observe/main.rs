//! What an operator sees, proven against the real collector, Jaeger and Prometheus: rules, alerts, dashboards, the pages of
//! Jaeger's UI, `make observe`, traces that are whole, what becomes of spans while their way is disturbed, and how many
//! series there are.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cardinality;
mod chaos;
mod complete;
mod dashboards;
mod exposed;
mod kept;
mod monitor;
mod promql;
mod rules;
mod script;
mod support;
mod table;
mod yaml;
