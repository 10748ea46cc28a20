//! `scripts/observe`, as a person runs it: everything comes up, is used, is missed when it dies, and goes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use testkit::process::{Signal, children, gone, signal};
use testkit::{eventually, http, part};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::rules::checkout;
use crate::support::{MALL, alone};

/// The addresses that the script would take, but on ports where nobody listens.
const ADDRESSES: [&str; 10] = [
    "COLLECTOR_OTLP_GRPC",
    "COLLECTOR_OTLP_HTTP",
    "COLLECTOR_PROMETHEUS",
    "COLLECTOR_HEALTH",
    "JAEGER_QUERY_HTTP",
    "JAEGER_QUERY_GRPC",
    "JAEGER_OTLP_GRPC",
    "JAEGER_OTLP_HTTP",
    "JAEGER_HEALTH",
    "MALL_PROMETHEUS",
];

/// Holds the ports that it gives until it is dropped.
struct Ports(Vec<TcpListener>);

impl Ports {
    fn free() -> Self {
        Self((0..=ADDRESSES.len()).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let addresses = self.0.iter().map(|listener| listener.local_addr().unwrap());
        let mut variables: Vec<_> = ADDRESSES.into_iter().zip(addresses.map(|address| address.to_string())).collect();
        variables.push(("COLLECTOR_SELF_PORT", self.0[ADDRESSES.len()].local_addr().unwrap().port().to_string()));
        variables
    }
}

fn script(data: &Path, variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(checkout("scripts/observe"));
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    command.env("MALL_DATA_DIR", data).env("MALL_PROGRAM", MALL).env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// All lines of both outputs.
fn lines(child: &mut Child) -> mpsc::UnboundedReceiver<String> {
    fn pass(output: impl AsyncRead + Unpin + Send + 'static, sender: mpsc::UnboundedSender<String>) {
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = sender.send(line);
            }
        });
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    pass(child.stdout.take().unwrap(), sender.clone());
    pass(child.stderr.take().unwrap(), sender);
    receiver
}

async fn line(lines: &mut mpsc::UnboundedReceiver<String>, part: &str) -> String {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(Duration::from_secs(120), async {
        while let Some(line) = lines.recv().await {
            seen.push(line);
            if seen.last().is_some_and(|line| line.contains(part)) {
                return seen.last().cloned();
            }
        }
        None
    });
    found.await.unwrap_or_default().unwrap_or_else(|| panic!("no `{part}` in\n{}", seen.join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn make_observe_starts_everything_and_stops_it() {
    if ["collector", "jaeger", "jaeger-ui", "prometheus"].iter().any(|name| part::find(name).is_none()) {
        return;
    }
    let _alone = alone().await;
    let data = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let variables = ports.variables();
    let of = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let refused = script(data.path(), &variables).output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("is taken"), "{said}");
    drop(ports);

    let mut observe = script(data.path(), &variables).arg("--free-ports").spawn().unwrap();
    let pid = observe.id().unwrap();
    let mut output = lines(&mut observe);
    line(&mut output, "mall is ready in").await;
    let viewer = format!("http://{}", of("JAEGER_QUERY_HTTP"));
    let mut demo = Command::new(MALL);
    demo.args(["demo", "--viewer", &viewer, "--data-dir"]).arg(data.path());
    let demo = String::from_utf8(demo.output().await.unwrap().stdout).unwrap();
    let id = demo.split("/trace/").nth(5).unwrap_or_else(|| panic!("{demo}"))[..32].to_owned();
    let trace = format!("{viewer}/api/traces/{id}");
    let metrics = format!("http://{}/api/v1/query?query=rpc_server_call_duration_seconds_count", of("MALL_PROMETHEUS"));
    for (url, expected) in [(&trace, "order.rpc"), (&metrics, "product.rpc")] {
        eventually(&format!("{url} has {expected}"), async || {
            let request = ::http::Request::get(url).body(Default::default()).unwrap();
            let answer = http::Client::default().try_send(request).await.ok()?;
            String::from_utf8_lossy(answer.body()).contains(expected).then_some(())
        })
        .await;
    }
    let log = data.path().join("observe/collector.log");
    eventually("the services' logs are written", async || {
        std::fs::read_to_string(&log).unwrap().contains("Body: Str(serving").then_some(())
    })
    .await;

    let parts = children(pid);
    let collector = parts.iter().find(|(_, command)| command.contains("otelcol")).unwrap().0;
    signal(collector, Signal::KILL);
    line(&mut output, "otelcol has ended").await;
    signal(pid, Signal::TERM);
    line(&mut output, "product.rpc has stopped").await;
    assert!(observe.wait().await.unwrap().success());
    gone(&parts.iter().map(|(pid, _)| *pid).collect::<Vec<_>>()).await;
}
