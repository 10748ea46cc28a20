//! Traces, metrics and logs from one config section, and the tower layers that make them.
