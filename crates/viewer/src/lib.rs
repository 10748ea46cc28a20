//! Takes traces over OTLP, keeps the newest in bounded memory, shows them in Jaeger's UI.
