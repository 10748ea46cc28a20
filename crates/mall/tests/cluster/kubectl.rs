//! The cluster, by kubectl, and the mall that is deployed in it.

use std::net::SocketAddr;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testkit::part::checkout;
use testkit::process::SERVICES;
use testkit::requirement;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The namespace of the mall.
pub(crate) const NAMESPACE: &str = "mall";

/// The services, as their deployments are called.
pub(crate) fn services() -> [String; 8] {
    SERVICES.map(|service| service.replace('.', "-"))
}

/// A mall in a cluster, which this test has for itself.
pub(crate) struct Cluster {
    _alone: MutexGuard<'static, ()>,
    /// What the deployment printed.
    pub(crate) deployed: &'static str,
}

/// The mall, deployed by the script that `make kind-up` runs, once for all tests; `None`, said aloud, without a cluster.
pub(crate) async fn mall() -> Option<Cluster> {
    static CLUSTER: Mutex<()> = Mutex::const_new(());
    static DEPLOYED: OnceCell<String> = OnceCell::const_new();
    if std::env::var_os("KUBECTL").is_none() {
        requirement::missing("cluster", "KUBECTL names none; see `make cluster-test`");
        return None;
    }
    let alone = CLUSTER.lock().await;
    let deployed = DEPLOYED.get_or_init(deploy).await;
    Some(Cluster { _alone: alone, deployed })
}

/// Runs what `make kind-up` runs once there is a cluster that has the image.
pub(crate) async fn deploy() -> String {
    let mut script = Command::new(checkout("scripts/kind"));
    script.arg("deploy").env("MALL_PROGRAM", env!("CARGO_BIN_EXE_mall")).stdin(Stdio::null());
    let output = script.output().await.expect("run scripts/kind");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/kind deploy failed:\n{said}");
    eprintln!("{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn command(arguments: &[&str]) -> Command {
    let kubectl = std::env::var("KUBECTL").expect("KUBECTL");
    let mut words = kubectl.split_whitespace();
    let mut command = Command::new(words.next().expect("KUBECTL names a program"));
    command.args(words).args(["--namespace", NAMESPACE]).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a run of kubectl said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cluster {
    /// Runs kubectl, whatever comes of it, with this on its standard input.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run kubectl");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("kubectl reads");
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        Said {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs kubectl, which must succeed, and answers what it printed.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.try_kubectl(arguments, "").await;
        assert!(said.ok, "kubectl {}: {}", arguments.join(" "), said.err);
        said.out
    }

    /// What `kubectl get` answers.
    pub(crate) async fn get(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "--output", "json"], arguments].concat()).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// A file of a Secret.
    pub(crate) async fn secret(&self, name: &str, file: &str) -> Vec<u8> {
        let secret = self.get(&["secret", name]).await;
        let content = secret["data"][file].as_str().unwrap_or_else(|| panic!("no {file} in {name}"));
        STANDARD.decode(content).expect("base64")
    }

    /// The pods of a workload that are not on their way out.
    pub(crate) async fn pods(&self, workload: &str) -> Vec<Value> {
        let all = self.get(&["pods", "--selector", &format!("app.kubernetes.io/name={workload}")]).await;
        let pods = all["items"].as_array().expect("a list").iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// Waits until a workload, such as `deployment/user-rpc`, is what it is said to be.
    pub(crate) async fn rolled_out(&self, workload: &str) {
        self.kubectl(&["rollout", "status", workload, "--timeout=120s"]).await;
    }

    /// Passes a port of this machine on to `target`, for as long as what is answered lives.
    pub(crate) async fn forward(&self, target: &str, port: u16) -> Forward {
        let mut child = command(&["port-forward", target, &format!(":{port}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("run kubectl");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next_line().await.expect("kubectl writes").unwrap_or_default();
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("kubectl port-forward {target}: {line}"));
        // It says a line for every connection.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Forward { address, _child: child }
    }

    /// Follows what a workload logs until it ends.
    pub(crate) fn follow(&self, workload: &str) -> Child {
        let mut logs = command(&["logs", "--follow", workload]);
        logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run kubectl")
    }
}

/// A port of this machine that leads into the cluster.
pub(crate) struct Forward {
    pub(crate) address: SocketAddr,
    _child: Child,
}

impl Forward {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}
