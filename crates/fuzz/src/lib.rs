//! What strangers send, given to what reads it. A target must end, and must not panic, whatever its bytes are.
//!
//! `make fuzz` makes up bytes; `tests/replay.rs` gives each target what was found worth keeping, in `corpus/`.
#![expect(clippy::unwrap_used, reason = "a target that cannot be set up is no test")]

use std::sync::{LazyLock, Mutex};

use axum::body::Body;
use domain::Page;
use gateway::{Answers, Api};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use proto::pay::v1::CallbackRequest;
use rpc::Checks;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use viewer::measure::Measured;

/// What is done with bytes.
pub type Target = fn(&[u8]);

/// The targets and their names.
pub const TARGETS: [(&str, Target); 7] = [
    ("rest", rest),
    ("tokens", tokens),
    ("headers", headers),
    ("otlp", otlp),
    ("config", config),
    ("pages", pages),
    ("callbacks", callbacks),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(other, _)| *other == name).map(|(_, target)| *target)
}

/// The first line, and what comes after it.
fn first_line(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (std::str::from_utf8(&bytes[..end]).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default())
}

/// A runtime, and every API in front of a service that is nowhere: what is well formed is answered UNAVAILABLE.
static APIS: LazyLock<(Runtime, Vec<Answers>)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let apis = [Api::User, Api::Product, Api::Order, Api::Pay].into_iter().map(|api| {
        let mut config = gateway::Config::default();
        config.upstream.connect_timeout = std::time::Duration::ZERO;
        let (_, nowhere) = tokio::sync::watch::channel(None);
        let channel = rpc::client::connect_to(discovery::Endpoints::told(nowhere), &config.upstream).unwrap();
        Answers::new(api, channel, &config, rpc::Lifecycle::new()).unwrap()
    });
    let apis = runtime.block_on(async { apis.collect() });
    (runtime, apis)
});

/// `METHOD TARGET`, and a body in JSON: routes, bindings of paths and queries, JSON, and what is said of what is wrong in it.
fn rest(bytes: &[u8]) {
    let (line, body) = first_line(bytes);
    let Some((method, target)) = line.split_once(' ') else { return };
    let request = Request::builder().method(method).uri(target).header("content-type", "application/json");
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let (parts, _) = request.into_parts();
    let (runtime, apis) = &*APIS;
    for api in apis {
        let request = Request::from_parts(parts.clone(), Body::from(body.to_vec()));
        let answer = runtime.block_on(api.clone().answer(request));
        let status = answer.map_or_else(|never| match never {}, |answer| answer.status());
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

/// New keys, in a directory that goes with them.
static KEYS: LazyLock<(TempDir, auth::Config)> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    auth::keys::generate(dir.path(), &["user.rpc", "order.rpc"]).unwrap();
    auth::callback::generate(dir.path(), "sandbox").unwrap();
    let config = auth::Config { keys: dir.path().to_owned(), ..Default::default() };
    (dir, config)
});

/// The value of the header `authorization`; nobody has a good one.
fn tokens(bytes: &[u8]) {
    static VERIFIER: LazyLock<auth::Verifier> = LazyLock::new(|| auth::Verifier::load(&KEYS.1, "user.rpc").unwrap());
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
    assert!(VERIFIER.caller(&headers).is_err());
}

/// Headers that are read before anything else is: of traces in every form, deadlines, faults.
fn headers(bytes: &[u8]) {
    static FORMS: LazyLock<()> = LazyLock::new(telemetry::testing::every_propagator);
    LazyLock::force(&FORMS);
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value[1..])) {
            headers.append(name, value);
        }
    }
    let context = telemetry::extract(&headers);
    let mut passed_on = HeaderMap::new();
    telemetry::inject(&context, &mut passed_on);
    // What is passed on is understood, and does not change on its way.
    let mut again = HeaderMap::new();
    telemetry::inject(&telemetry::extract(&passed_on), &mut again);
    assert_eq!(passed_on.get("traceparent"), again.get("traceparent"));
    if let Ok(Some(timeout)) = rpc::deadline::parse(&headers) {
        assert!(rpc::deadline::header(timeout).to_str().is_ok_and(|text| text.len() <= 9));
    }
    let _ = std::str::from_utf8(bytes).map(|text| text.parse::<rpc::faults::Fault>());
}

/// A message of spans, in Protobuf and in JSON, a span alone, and a question about them.
fn otlp(bytes: &[u8]) {
    const LIMIT: usize = 16 * 1024 * 1024;
    static STORE: LazyLock<Mutex<Measured>> = LazyLock::new(|| Mutex::new(Measured::new(LIMIT)));
    let (line, message) = first_line(bytes);
    assert!(viewer::measure::is_read_alike(bytes));
    let mut store = STORE.lock().unwrap();
    store.ingest(bytes);
    store.ingest(message);
    store.ingest_json(message);
    store.search(line);
    assert!(store.bytes() <= LIMIT * 2);
}

/// A file of configuration, for each service.
fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        mall::read_configuration(text);
    }
}

/// A page token, of a list with the filter in the first line.
fn pages(bytes: &[u8]) {
    let (filter, token) = first_line(bytes);
    let token = String::from_utf8_lossy(token);
    if let Some(page) = Page::parse(&mut Checks::default(), 20, &token, filter) {
        assert!(page.below >= 0);
    }
}

/// A signature, and the body of a callback; nobody has the secret.
fn callbacks(bytes: &[u8]) {
    static PROVIDER: LazyLock<auth::CallbackKey> =
        LazyLock::new(|| auth::CallbackKey::load(&KEYS.1, "sandbox").unwrap());
    let (signature, body) = first_line(bytes);
    assert!(PROVIDER.verify(signature, body).is_err());
    if let Ok(request) = serde_json::from_slice::<CallbackRequest>(body) {
        let text = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<CallbackRequest>(&text).unwrap(), request);
    }
}
