//! The real OpenTelemetry Collector with the configuration that is shipped, on free ports.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::{part, ports, requirement};

/// A running collector; it goes when this is dropped.
#[derive(Debug)]
pub struct Collector {
    /// URL that takes OTLP over gRPC.
    pub otlp_grpc: String,
    /// URL that takes OTLP over HTTP, below `/v1/traces` and so on.
    pub otlp_http: String,
    /// Where Prometheus reads what the services and the span metrics say.
    pub metrics: String,
    /// Where Prometheus reads what the collector says of itself.
    pub own_metrics: String,
    /// URL that answers 200 while it works.
    pub health: String,
    /// To pause it, stop it and start it again.
    pub process: Daemon,
    _storage: TempDir,
}

/// How to start a collector.
#[derive(Debug, Default)]
pub struct Builder {
    variables: Vec<(String, String)>,
    mounts: Option<String>,
}

/// All traces, as soon as may be, unless a test says otherwise.
pub fn builder() -> Builder {
    let builder = Builder::default().variable("COLLECTOR_SHARE_PERCENT", "100");
    builder.variable("COLLECTOR_DECISION_WAIT", "1s").variable("COLLECTOR_METRICS_INTERVAL", "1s")
}

impl Builder {
    /// One variable more, which wins over one of the same name before; k8s/collector/config.yaml says which there are.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it sends traces: HOST:PORT, or an `http` URL.
    pub fn jaeger(self, address: &str) -> Self {
        self.variable("COLLECTOR_JAEGER", address.trim_start_matches("http://"))
    }

    /// Keeps its queue in this directory, in place of one that goes with the collector.
    pub fn storage(self, dir: &Path) -> Self {
        self.variable("COLLECTOR_STORAGE", &dir.display().to_string())
    }

    /// Runs this script of `sh`, as root, before each start: what it mounts nobody but the collector sees.
    pub fn mounts(mut self, script: &str) -> Self {
        self.mounts = Some(script.to_owned());
        self
    }

    /// Starts the collector; `None`, said aloud, where it is missing and not required.
    ///
    /// # Panics
    ///
    /// Panics if it is required but missing, or does not start.
    pub async fn start(mut self) -> Option<Collector> {
        let program = part::find("collector")?;
        if self.mounts.is_some() {
            mounts_can_be_made()?;
        }
        let storage = tempfile::tempdir().expect("make a directory");
        if !self.variables.iter().any(|(name, _)| name == "COLLECTOR_STORAGE") {
            self = self.storage(storage.path());
        }
        let [grpc, http, metrics, health, own] = std::array::from_fn(|_| ports::free().to_string());
        for (name, address) in [
            ("COLLECTOR_OTLP_GRPC", &grpc),
            ("COLLECTOR_OTLP_HTTP", &http),
            ("COLLECTOR_PROMETHEUS", &metrics),
            ("COLLECTOR_HEALTH", &health),
        ] {
            self = self.variable(name, address);
        }
        let (host, port) = own.split_once(':').unwrap_or_default();
        self = self.variable("COLLECTOR_SELF_HOST", host).variable("COLLECTOR_SELF_PORT", port);
        let config = part::checkout("k8s/collector/config.yaml");
        let (program, mut arguments) = match self.mounts {
            None => (program, Vec::new()),
            Some(script) => {
                let script = format!("{script}\nexec \"$@\"");
                let arguments = ["--mount", "sh", "-ec", &script, "sh"].map(OsString::from);
                ("unshare".into(), arguments.into_iter().chain([program.into()]).collect())
            }
        };
        arguments.extend(["--config".into(), config.into()]);
        Some(Collector {
            otlp_grpc: format!("http://{grpc}"),
            otlp_http: format!("http://{http}"),
            metrics: format!("http://{metrics}/metrics"),
            own_metrics: format!("http://{own}/metrics"),
            health: format!("http://{health}/health"),
            process: Daemon::start(program, arguments, self.variables, "Everything is ready").await,
            _storage: storage,
        })
    }
}

/// Nothing, said aloud, where this process may not mount anything or the part `mounts` is not there.
fn mounts_can_be_made() -> Option<()> {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    match tried {
        Ok(tried) if tried.status.success() => Some(()),
        Ok(tried) => {
            requirement::missing("mounts", String::from_utf8_lossy(&tried.stderr).trim());
            None
        }
        Err(error) => {
            requirement::missing("mounts", format!("run unshare: {error}"));
            None
        }
    }
}
