//! What a span costs through each layer: run by `cargo bench -p telemetry`.
//!
//! Every mode runs in a process of its own, since a process has one sampler. `call ns` is the time that a request waits
//! (the median of the bursts), `process ns` the CPU time of all threads: that of encoding and sending as well.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use telemetry::{Config, Span, SpanKind, semconv};
use tower::{Layer, Service};

const BURST: usize = 500;
const BURSTS: usize = 100;
const METHOD: &str = "mall.user.v1.UserService/UserInfo";

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    match args.get(1).map(String::as_str) {
        Some("collector") => collect().await,
        Some(mode) => run(mode, args.get(2).ok_or("no endpoint")?).await,
        None => all(),
    }
}

/// Starts a collector, then each mode.
fn all() -> Result<(), BoxError> {
    let exe = std::env::current_exe()?;
    let mut collector = Command::new(&exe).arg("collector").stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(collector.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    println!("{:<10} {:<22} {:>12} {:>12}", "mode", "per call of", "call ns", "process ns");
    let results = ["bare", "disabled", "sampler 0", "sampler 1"]
        .map(|mode| Command::new(&exe).args([mode, address.trim()]).stderr(Stdio::null()).status());
    collector.kill()?;
    collector.wait()?;
    if results.into_iter().all(|status| status.is_ok_and(|status| status.success())) {
        Ok(())
    } else {
        Err("a mode failed".into())
    }
}

struct Sink;

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collect() -> Result<(), BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    Ok(tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Sink))
        .serve_with_incoming(incoming)
        .await?)
}

async fn run(mode: &str, endpoint: &str) -> Result<(), BoxError> {
    let config = Config {
        name: "bench".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        sampler: if mode == "sampler 0" { 0.0 } else { 1.0 },
        disabled: mode == "disabled",
        // Large enough for all, so that each span's way to the collector is measured.
        queue: telemetry::Queue { size: BURST * BURSTS, ..Default::default() },
        ..Config::default()
    };
    if mode == "bare" {
        return measure(mode, "nothing", &mut Inner, grpc_request).await;
    }
    let telemetry = telemetry::init(&config)?;
    measure(mode, "grpc::ServerLayer", &mut telemetry::grpc::ServerLayer::new([METHOD]).layer(Inner), grpc_request)
        .await?;
    if mode != "sampler 0" {
        measure(
            mode,
            "  with a traceparent",
            &mut telemetry::grpc::ServerLayer::new([METHOD]).layer(Inner),
            traced_request,
        )
        .await?;
    }
    let client = telemetry::grpc::ClientLayer::new("http://127.0.0.1:9000");
    measure(mode, "grpc::ClientLayer", &mut client.layer(Inner), grpc_request).await?;
    measure(mode, "http::ServerLayer", &mut telemetry::http::ServerLayer.layer(Inner), http_request).await?;
    measure(mode, "Span of a statement", &mut Statement, grpc_request).await?;
    let counted = telemetry::metrics_text();
    telemetry.shutdown().await;
    for line in counted.lines().filter(|line| line.starts_with("mall_telemetry_spans") && !line.ends_with(" 0")) {
        println!("{mode:<10} {line}");
    }
    Ok(())
}

/// Answers at once, as a handler of a unary method or of a route.
struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
        if request.method() == http::Method::GET {
            response.extensions_mut().insert(telemetry::http::Route::new("/api/user/userinfo"));
        }
        ready(Ok(response))
    }
}

/// A span as the database crate makes it.
struct Statement;

impl Service<Request<()>> for Statement {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let span = Span::start(SpanKind::Client, "SELECT users");
        if span.is_recording() {
            span.set(semconv::DB_SYSTEM_NAME, semconv::SQLITE);
            span.set(semconv::DB_OPERATION_NAME, "SELECT");
            span.set(semconv::DB_COLLECTION_NAME, "users");
            span.set(semconv::DB_QUERY_TEXT, "SELECT id, name, gender, mobile FROM users WHERE id = ?".to_owned());
        }
        ready(Ok(Response::new(Empty::new())))
    }
}

fn grpc_request() -> Request<()> {
    let request = Request::post(format!("http://127.0.0.1/{METHOD}"));
    // Built of constants: it is well-formed.
    request.body(()).unwrap_or_default()
}

fn traced_request() -> Request<()> {
    let mut request = grpc_request();
    let parent = http::HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    request.headers_mut().insert(semconv::TRACEPARENT, parent);
    request
}

fn http_request() -> Request<()> {
    Request::get("/api/user/userinfo").body(()).unwrap_or_default()
}

async fn measure<S, B>(mode: &str, what: &str, service: &mut S, request: fn() -> Request<()>) -> Result<(), BoxError>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let mut requests: Vec<_> = Vec::with_capacity(BURST);
    let mut bursts = Vec::with_capacity(BURSTS);
    let before = cpu_time()?;
    for _ in 0..BURSTS {
        requests.extend((0..BURST).map(|_| request()));
        let start = Instant::now();
        for request in requests.drain(..) {
            let Ok(response) = service.call(request).await;
            let mut body = std::pin::pin!(response.into_body());
            std::future::poll_fn(|poller| body.as_mut().poll_frame(poller).map(drop)).await;
        }
        bursts.push(start.elapsed());
    }
    // The exporter needs no longer than this, and sleeping costs nothing.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let cpu = cpu_time()? - before;
    bursts.sort_unstable();
    let call = bursts[BURSTS / 2].as_nanos() / BURST as u128;
    println!("{mode:<10} {what:<22} {call:>12} {:>12}", cpu.as_nanos() / (BURSTS * BURST) as u128);
    Ok(())
}

/// The CPU time of all threads of this process, as Linux tells it.
fn cpu_time() -> Result<Duration, BoxError> {
    let mut all = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        all += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(all))
}
