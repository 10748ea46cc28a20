//! The built `mall` binary as a child process: a whole mall on free ports in a directory of its own.

mod logs;
mod system;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
pub use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub use self::logs::Logs;
pub use self::system::{children, gone, signal};
pub use crate::http::json;
use crate::http::{Client, Error};

/// The services of a whole mall: each is a process, and sends spans and metrics.
pub const SERVICES: [&str; 8] =
    ["user.api", "product.api", "order.api", "pay.api", "user.rpc", "product.rpc", "order.rpc", "pay.rpc"];

/// How long a mall may take to start, and to stop; tests on a busy machine are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a mall.
#[derive(Debug)]
pub struct Builder {
    program: PathBuf,
    data: Option<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Builder {
    /// Keeps the data in `dir`, which stays, in place of a directory that goes with the mall.
    pub fn data(mut self, dir: &Path) -> Self {
        self.data = Some(dir.to_owned());
        self
    }

    /// One argument more for `mall up`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// One environment variable more.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives every call the time that a busy test machine may need.
    pub fn patient(mut self) -> Self {
        for key in [
            "UPSTREAM__TIMEOUT",
            "PRODUCT__TIMEOUT",
            "ORDER__TIMEOUT",
            "SERVER__TIMEOUT",
            "SERVER__MAX_TIMEOUT",
            "POOL__WAIT",
        ] {
            self = self.variable(&format!("MALL__{key}"), "60s");
        }
        self
    }

    /// Starts the mall and waits until all its services are ready; panics with its output if they do not get there.
    pub async fn start(self) -> Mall {
        let mut mall = self.spawn();
        let ready = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                _ = mall.logs.line("mall is ready in") => true,
                _ = mall.child.wait() => false,
            }
        });
        assert!(ready.await.unwrap_or(false), "the mall does not get ready");
        let file = mall.data().join("addresses.json");
        let text = std::fs::read(&file).expect("read addresses.json");
        mall.addresses = serde_json::from_slice(&text).expect("parse addresses.json");
        mall
    }

    /// Starts the mall and waits for nothing.
    pub fn spawn(self) -> Mall {
        let temporary = self.data.is_none().then(|| tempfile::tempdir().expect("make a directory"));
        let data = self.data.or_else(|| Some(temporary.as_ref()?.path().join("data"))).unwrap_or_default();
        let mut child = Command::new(&self.program)
            .arg("up")
            .args(["--free-ports", "--data-dir"])
            .arg(&data)
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start mall");
        let logs = Logs::of(&mut child);
        Mall { child, logs, data, _temporary: temporary, addresses: Value::Null, client: Client::default() }
    }
}

/// A running mall; dropping it stops it and, when the test failed, prints what it wrote.
#[derive(Debug)]
pub struct Mall {
    child: Child,
    logs: Logs,
    data: PathBuf,
    _temporary: Option<TempDir>,
    addresses: Value,
    client: Client,
}

impl Mall {
    /// A mall of `program`, which a test of the binary's crate names with `env!("CARGO_BIN_EXE_mall")`.
    pub fn of(program: &str) -> Builder {
        Builder { program: program.into(), data: None, arguments: Vec::new(), variables: Vec::new() }
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where a service listens: `listen` and `admin`, and the viewer's `otlp_grpc` and `otlp_http` too.
    pub fn address(&self, service: &str, key: &str) -> SocketAddr {
        let address = self.addresses["services"][service][key].as_str();
        address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{service} has no address `{key}`"))
    }

    /// The base URL of a service's main address.
    pub fn url(&self, service: &str) -> String {
        format!("http://{}", self.address(service, "listen"))
    }

    /// What the supervisor and its services have written.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Sends a request, whose URI is absolute; panics when there is no answer at all.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends a request, whose URI is absolute.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
        self.client.try_send(request).await
    }

    /// GET of `url`.
    pub async fn get(&self, url: &str) -> Response<Bytes> {
        self.send(Request::get(url).body(Full::default()).expect("a URL")).await
    }

    /// POST of JSON to `path` of a service, with a user's token if there is one.
    pub async fn post(&self, service: &str, path: &str, token: Option<&str>, body: &Value) -> Response<Bytes> {
        let mut request = Request::builder().method(Method::POST).uri(self.url(service) + path);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Full::new(Bytes::from(body.to_string()))).expect("a request")).await
    }

    /// The supervisor's process id; `None` when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The process ids of its services, by their names.
    pub fn services(&self) -> BTreeMap<String, u32> {
        let named = |(pid, command): (u32, String)| Some((command.split_once(" serve ")?.1.to_owned(), pid));
        self.pid().map(children).unwrap_or_default().into_iter().filter_map(named).collect()
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, signal: Signal) {
        system::signal(self.pid().expect("mall has ended"), signal);
    }

    /// Waits until the supervisor has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("mall does not end").expect("wait for mall")
    }
}

impl Drop for Mall {
    fn drop(&mut self) {
        if self.pid().is_some() {
            self.signal(Signal::TERM);
            let until = std::time::Instant::now() + PATIENCE;
            // Its services write into the directory until it ends, and no one can be awaited here.
            while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if std::thread::panicking() {
            eprintln!("---- what mall wrote ----\n{}\n----", self.logs.text());
        }
    }
}
