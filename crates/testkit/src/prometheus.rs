//! Real Prometheus with the configuration and the rules that are shipped, on a free port and in more of a hurry.

use std::collections::BTreeMap;
use std::path::Path;

use http::Request;
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::http::{Client, json};
use crate::{part, ports};

/// The shipped intervals, and those of a test.
const INTERVALS: [(&str, &str); 3] = [
    ("scrape_interval: 10s", "scrape_interval: 1s"),
    ("scrape_timeout: 5s", "scrape_timeout: 1s"),
    ("evaluation_interval: 10s", "evaluation_interval: 1s"),
];

/// A running Prometheus; it goes when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    /// Base URL, above `/api/v1`.
    pub url: String,
    /// To pause it, stop it and start it again.
    pub process: Daemon,
    directory: TempDir,
    client: Client,
}

/// One series of an answer: its labels and its value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name is the label `__name__`.
    pub labels: BTreeMap<String, String>,
    /// At the time that was asked for.
    pub value: f64,
}

/// Starts Prometheus; `None`, said aloud, where it is missing and not required. Each target is a file of
/// k8s/prometheus/targets, without its ending, and the address that it names in place of the cluster's.
///
/// # Panics
///
/// Panics if it is required but missing, or does not start.
pub async fn start(targets: &[(&str, &str)]) -> Option<Prometheus> {
    start_at(&ports::free().to_string(), targets).await
}

pub(crate) async fn start_at(address: &str, targets: &[(&str, &str)]) -> Option<Prometheus> {
    let program = part::find("prometheus")?;
    let directory = tempfile::tempdir().expect("make a directory");
    configure(directory.path(), targets).expect("write a configuration");
    let arguments = vec![
        format!("--config.file={}", directory.path().join("prometheus.yaml").display()).into(),
        format!("--storage.tsdb.path={}", directory.path().join("data").display()).into(),
        format!("--web.listen-address={address}").into(),
        "--enable-feature=exemplar-storage".into(),
    ];
    let process = Daemon::start(program, arguments, Vec::new(), "Server is ready to receive web requests").await;
    Some(Prometheus { url: format!("http://{address}"), process, directory, client: Client::default() })
}

/// The shipped files, with a test's intervals and targets.
fn configure(directory: &Path, targets: &[(&str, &str)]) -> std::io::Result<()> {
    for file in std::fs::read_dir(part::checkout("k8s/prometheus"))? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let quick = INTERVALS.iter().fold(text, |text, (shipped, quick)| text.replace(shipped, quick));
            std::fs::write(directory.join(name), quick)?;
        }
    }
    std::fs::create_dir(directory.join("targets"))?;
    for (name, address) in targets {
        let file = directory.join("targets").join(format!("{name}.yaml"));
        std::fs::write(file, format!("- targets: ['{address}']\n"))?;
    }
    Ok(())
}

impl Prometheus {
    /// Its configuration, with rules and targets: a test may change them, and send SIGHUP.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The `data` of an answer of `/api/v1/PATH`; an error's text where it is refused.
    ///
    /// # Panics
    ///
    /// Panics if there is no answer.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let url = format!("{}/api/v1/{path}?{}", self.url, parameters.join("&"));
        let request = Request::get(&url).body(Default::default()).expect("a URL");
        let mut answer = json(&self.client.try_send(request).await.unwrap_or_else(|error| panic!("{url}: {error}")));
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// What an expression is now: a vector's samples, or a scalar as the only one.
    ///
    /// # Panics
    ///
    /// Panics if it is refused.
    pub async fn query(&self, expression: &str) -> Vec<Sample> {
        let answer = self.ask("query", &[("query", expression)]).await;
        let answer = answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
        if answer["resultType"] == "scalar" {
            return vec![Sample { labels: BTreeMap::new(), value: number(&answer["result"][1]) }];
        }
        let series = answer["result"].as_array().cloned().unwrap_or_default();
        let sample = |one: &Value| Sample { labels: labels(&one["metric"]), value: number(&one["value"][1]) };
        series.iter().map(sample).collect()
    }

    /// The sum of what an expression is now: 0 without any series.
    ///
    /// # Panics
    ///
    /// Panics if it is refused.
    pub async fn sum(&self, expression: &str) -> f64 {
        self.query(expression).await.iter().map(|sample| sample.value).sum()
    }
}

fn labels(metric: &Value) -> BTreeMap<String, String> {
    let labels = metric.as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Numbers come as strings, with `NaN` and `+Inf` among them.
fn number(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}
