//! The `telemetry` section of every configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use redact::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod env;
mod log;
mod trace;

pub use self::log::{LogConfig, LogFormat};
pub use self::trace::{Limits, Propagator, Slow};

/// Where traces go, how many, and how logs look.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The service's name in traces, metrics and logs: `user.rpc`.
    pub name: String,
    /// Where spans go: a URL or `host:port`; for `file` a path. Default: the batcher's own port on 127.0.0.1, also when a
    /// variable names another batcher than the configuration does.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// The share of new traces that is kept, 0 to 1 (1); a trace that came from a caller follows the caller's choice.
    #[serde(deserialize_with = "sampler")]
    pub sampler: f64,
    /// Whether the sampler decides alone, also for a trace that came from a caller (false).
    pub ignore_parent: bool,
    /// How spans are sent (`otlpgrpc`).
    pub batcher: Batcher,
    /// Headers of every export, such as a token; shown as `***`.
    #[serde(serialize_with = "masked")]
    pub headers: BTreeMap<String, Secret<String>>,
    /// The path of `otlphttp` where the endpoint has none (`/v1/traces`).
    pub path: Option<String>,
    /// Whether an endpoint without a scheme is spoken to with TLS (false).
    pub secure: bool,
    /// A PEM file with the certificates that the collector's must come from, in place of the public ones.
    pub ca: Option<PathBuf>,
    /// Whether what goes out by OTLP is compressed (false): less to send, and more to do.
    pub gzip: bool,
    /// No spans at all (false); logs and metrics stay, and a caller's trace context is passed on.
    pub disabled: bool,
    /// More attributes of this process: `deployment.environment.name: production`.
    pub attributes: BTreeMap<String, String>,
    /// The queues between the requests and the collector.
    pub queue: Queue,
    /// The forms in which the caller's trace is read and passed on (`tracecontext`, `baggage`): of several that a caller
    /// sends, the first one here counts.
    pub propagators: Vec<Propagator>,
    /// Whether a caller has its trace kept by `debug` in the baggage, whatever the sampler says (false): anyone may send it.
    pub debug: bool,
    /// How much one span holds.
    pub limits: Limits,
    /// Which calls leave a line in the log that tells where their time went.
    pub slow: Slow,
    /// How metrics are read.
    pub metrics: MetricsConfig,
    /// How logs look.
    pub log: LogConfig,
}

/// How metrics are read, beside `/metrics` on the admin port.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whether nothing is measured (false); `/metrics` is then empty.
    pub disabled: bool,
    /// Whether they are sent to the collector of the spans too (false).
    pub otlp: bool,
    /// How often (15s).
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
}

/// A way to send spans.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Batcher {
    /// OTLP over gRPC; port 4317.
    #[default]
    OtlpGrpc,
    /// OTLP over HTTP with protobuf; port 4318.
    OtlpHttp,
    /// Zipkin's JSON; port 9411.
    Zipkin,
    /// The reference's agentless Jaeger, which no Jaeger has any more: OTLP over gRPC to port 4317 of the same host.
    Jaeger,
    /// A file of OTLP's JSON, one batch a line.
    File,
    /// The same lines to the standard output.
    Stdout,
}

/// The queues of finished spans and of log records: what does not fit is dropped and counted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How many may wait (2048).
    pub size: usize,
    /// How many are sent at once (256): more take memory, fewer take the collector's time.
    pub batch: usize,
    /// How long one waits for others at most (1s).
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// How long a batch may take, retries included (10s).
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "unknown_service".to_owned(),
            endpoint: None,
            sampler: 1.0,
            batcher: Batcher::default(),
            headers: BTreeMap::new(),
            path: None,
            secure: false,
            ca: None,
            gzip: false,
            ignore_parent: false,
            disabled: false,
            attributes: BTreeMap::new(),
            queue: Queue::default(),
            propagators: vec![Propagator::TraceContext, Propagator::Baggage],
            debug: false,
            limits: Limits::default(),
            slow: Slow::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// Whether the batcher is one that a collector takes all signals by.
    pub(crate) fn sends_otlp(&self) -> bool {
        matches!(self.batcher, Batcher::OtlpGrpc | Batcher::OtlpHttp | Batcher::Jaeger)
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { disabled: false, otlp: false, interval: Duration::from_secs(15) }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 2048, batch: 256, delay: Duration::from_secs(1), timeout: Duration::from_secs(10) }
    }
}

fn masked<S: Serializer>(headers: &BTreeMap<String, Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "***")))
}

fn sampler<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(serde::de::Error::custom("a share is from 0 to 1")) }
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let endpoint = Option::<String>::deserialize(deserializer)?.filter(|endpoint| !endpoint.is_empty());
    match &endpoint {
        Some(endpoint) if has_password(endpoint) => Err(serde::de::Error::custom(PASSWORD)),
        _ => Ok(endpoint),
    }
}

const PASSWORD: &str = "the endpoint must not contain a user or password: put them into `headers`";

/// A URL is logged and shown, so it must hold no secret.
fn has_password(endpoint: &str) -> bool {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split(['/', '?']).next().is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batcher_has_the_name_that_go_zero_gives_it() {
        for (name, batcher) in [
            ("otlpgrpc", Batcher::OtlpGrpc),
            ("otlphttp", Batcher::OtlpHttp),
            ("jaeger", Batcher::Jaeger),
            ("zipkin", Batcher::Zipkin),
            ("file", Batcher::File),
            ("stdout", Batcher::Stdout),
        ] {
            assert_eq!(serde_json::from_value::<Batcher>(name.into()).unwrap(), batcher);
        }
    }

    #[test]
    fn our_own_keys_are_written_and_read_again() {
        let written = serde_json::to_value(Config::default()).unwrap();
        assert_eq!(written["queue"]["delay"], "1s");
        let read: Config = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }

    #[test]
    fn secrets_are_not_shown() {
        let headers = [("authorization".to_owned(), Secret::new("hunter2".to_owned()))].into();
        let config = Config { headers, ..Config::default() };
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(shown.contains("authorization") && shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named_but_not_its_secret() {
        for (json, named) in [
            (r#"{"endpont": "x"}"#, "endpont"),
            (r#"{"batcher": "pigeon"}"#, "pigeon"),
            (r#"{"sampler": "often"}"#, "often"),
            (r#"{"sampler": 7}"#, "from 0 to 1"),
            (r#"{"queue": {"sise": 1}}"#, "sise"),
            (r#"{"queue": {"delay": "soon"}}"#, "soon"),
            (r#"{"log": {"format": "xml"}}"#, "xml"),
            (r#"{"propagators": ["pigeon"]}"#, "pigeon"),
            (r#"{"endpoint": "https://me:hunter2@collector"}"#, "headers"),
            (r#"{"endpoint": "me:hunter2@collector:4317"}"#, "headers"),
        ] {
            let error = serde_json::from_str::<Config>(json).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("hunter2"), "{error}");
        }
    }
}
