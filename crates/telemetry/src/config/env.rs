//! The standard `OTEL_*` variables; they override the configuration.
