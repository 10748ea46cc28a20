//! A service is not ready before its database is. Told to stop it says so, serves on for as long as it was told to, and loses
//! no request.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::eventually;
use testkit::process::{Mall, Signal, gone, signal};
use testkit::service::with_token;
use testkit::shopper::Shopper;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

const LAME_DUCK: Duration = Duration::from_secs(2);

/// A mall whose services are lame ducks for so long.
async fn start(lame_duck: &str) -> Mall {
    let mall = Mall::of(MALL).variable("MALL__LAME_DUCK", lame_duck).variable("MALL__SERVER__LAME_DUCK", lame_duck);
    mall.patient().start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_clients_that_never_pause_lose_nothing_when_a_service_stops() {
    let mall = start("2s").await;
    let address = mall.address("user.api", "listen");
    let stopped = stop_under_load(&mall, "user.api", |count| get_without_pause(address, count)).await;
    assert!(stopped.iter().all(|after| *after >= LAME_DUCK), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_that_never_pause_lose_nothing_when_a_service_stops() {
    let mall = start("2s").await;
    let token = Shopper::new(&mall, "15838607661").await.token;
    let config = testkit::service::client(mall.address("user.rpc", "listen"));
    let call = |count| call_without_pause(rpc::client::connect(&config).unwrap(), token.clone(), count);
    let stopped = stop_under_load(&mall, "user.rpc", call).await;
    assert!(stopped.iter().all(|after| *after >= LAME_DUCK), "{stopped:?}");
}

/// Stops a service that clients call until it is gone, and answers how long after the word that was for each.
async fn stop_under_load<F>(mall: &Mall, service: &str, client: impl Fn(Arc<AtomicUsize>) -> F) -> Vec<Duration>
where
    F: Future<Output = Instant> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(client(count.clone()))).collect();
    eventually("there is load", async || (count.load(Ordering::Relaxed) > 100).then_some(())).await;
    let pid = mall.services()[service];
    signal(pid, Signal::TERM);
    let told = Instant::now();
    let ready = format!("http://{}/readyz", mall.address(service, "admin"));
    eventually("it says that it stops", async || (mall.get(&ready).await.body() == "stopping\n").then_some(())).await;
    let before = count.load(Ordering::Relaxed);
    eventually("it serves on", async || (count.load(Ordering::Relaxed) > before + 50).then_some(())).await;
    assert!(told.elapsed() < LAME_DUCK, "the machine is too slow for this test");
    let mut stopped = Vec::new();
    for client in clients {
        stopped.push(tokio::time::timeout(Duration::from_secs(60), client).await.unwrap().unwrap() - told);
    }
    gone(&[pid]).await;
    stopped
}

/// Asks over connections that are kept for as long as the server keeps them, until there are no more to be had.
async fn get_without_pause(address: SocketAddr, count: Arc<AtomicUsize>) -> Instant {
    while let Ok(stream) = TcpStream::connect(address).await {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        while sender.ready().await.is_ok() {
            let request = Request::get("/openapi.json").header("host", "a").body(Empty::<bytes::Bytes>::new()).unwrap();
            let answer = match sender.send_request(request).await {
                Ok(answer) => answer,
                // It was closed before the request was written.
                Err(error) if error.is_canceled() => break,
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    Instant::now()
}

/// Calls until the service is gone.
async fn call_without_pause(channel: rpc::Channel, token: String, count: Arc<AtomicUsize>) -> Instant {
    let mut client = UserServiceClient::new(channel);
    loop {
        match client.user_info(with_token(&token, UserInfoRequest {})).await {
            Ok(_) => count.fetch_add(1, Ordering::Relaxed),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                return Instant::now();
            }
        };
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_lame_duck_at_once() {
    let mut mall = start("1h").await;
    for service in ["user.api", "user.rpc"] {
        let pid = mall.services()[service];
        let ready = format!("http://{}/readyz", mall.address(service, "admin"));
        signal(pid, Signal::TERM);
        eventually("it says that it stops", async || (mall.get(&ready).await.body() == "stopping\n").then_some(()))
            .await;
        signal(pid, Signal::TERM);
        gone(&[pid]).await;
    }
    mall.logs().lines("is ready again", 2).await.unwrap();
    let services: Vec<_> = mall.services().into_values().collect();
    mall.signal(Signal::TERM);
    mall.logs().line("stopping; a second Ctrl-C").await.unwrap();
    mall.signal(Signal::TERM);
    assert_eq!(mall.wait().await.code(), Some(1));
    gone(&services).await;
}

/// One service as a process of its own, on free ports, whose output is kept.
struct Serving {
    child: std::process::Child,
    admin: SocketAddr,
    log: std::path::PathBuf,
}

impl Serving {
    /// Starts `user.rpc` in `dir`.
    fn start(dir: &std::path::Path, database: &str) -> Self {
        let (log, admin) = (dir.join("log"), testkit::ports::free());
        let file = std::fs::File::create(&log).unwrap();
        let child = std::process::Command::new(MALL)
            .args(["serve", "user.rpc"])
            .current_dir(dir)
            .env("MALL__SERVER__LISTEN", "127.0.0.1:0")
            .env("MALL__SERVER__ADMIN", admin.to_string())
            .env("MALL__DATABASE", database)
            .env("MALL__TELEMETRY__DISABLED", "true")
            .stdin(std::process::Stdio::null())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .unwrap();
        Self { child, admin, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn readiness(&self) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).await.ok()?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// Waits until the answer about its readiness ends with `text`.
    async fn says(&self, text: &str) {
        let ends = async || self.readiness().await.filter(|answer| answer.ends_with(text));
        eventually(&format!("it says {text:?}: {}", self.log()), ends).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of mall in `dir` to its end.
fn mall(dir: &std::path::Path, arguments: &[&str]) {
    let done = std::process::Command::new(MALL).args(arguments).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn a_service_is_not_ready_before_its_database_is() {
    let dir = tempfile::tempdir().unwrap();
    mall(dir.path(), &["keys"]);
    // A file where a directory must be: the database is away.
    std::fs::write(dir.path().join("late"), "").unwrap();
    let mut serving = Serving::start(dir.path(), "sqlite:late/user.db");
    serving.says("starting\n").await;
    let log = async |text: &str| {
        eventually(text, async || serving.log().contains(text).then_some(())).await;
    };
    log("waiting for the database").await;
    std::fs::remove_file(dir.path().join("late")).unwrap();
    log("run `mall migrate user.rpc`").await;
    assert!(serving.log().contains("2026-11-23-000000_users"), "{}", serving.log());
    serving.says("starting\n").await;
    let migrate = ["migrate", "user.rpc", "--config", "database.yaml"];
    std::fs::write(dir.path().join("database.yaml"), "database: sqlite:late/user.db\n").unwrap();
    mall(dir.path(), &migrate);
    serving.says("ok\n").await;

    signal(serving.child.id(), Signal::TERM);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    drop(serving);

    // To wait is no reason not to stop.
    let mut serving = Serving::start(dir.path(), "sqlite:never/migrated.db");
    serving.says("starting\n").await;
    signal(serving.child.id(), Signal::TERM);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}
