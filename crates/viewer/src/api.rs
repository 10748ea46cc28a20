//! What Jaeger's UI asks: services, operations, traces and dependencies.

mod jaeger;
mod otlp_json;
mod params;
mod v3;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use params::Params;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, RwLock, Semaphore};
use tokio::time::timeout;

use crate::model::{Trace, TraceId, kind_name};
use crate::otlp::Batch;
use crate::store::Store;

/// Questions that are answered at once: each takes memory for its answer.
const QUESTIONS: usize = 8;

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    store: Arc<RwLock<Store>>,
    turns: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

impl Shared {
    /// Asks the store and writes the answer on a thread that may take its time.
    async fn ask(self, question: impl FnOnce(&RwLock<Store>) -> Response + Send + 'static) -> Response {
        let turn = self.turns.acquire_owned().await;
        work(turn, move || question(&self.store)).await
    }
}

/// A turn ends with the work, even if whoever asked is gone before. Nobody closes the semaphore.
type Turn = Result<OwnedSemaphorePermit, AcquireError>;

async fn work(turn: Turn, work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let answer = tokio::task::spawn_blocking(move || {
        let answer = work();
        drop(turn);
        answer
    });
    answer.await.unwrap_or_else(|error| Error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response())
}

/// The largest OTLP/JSON file that the UI may have shown to it, one at a time: its traces take several times as much.
const MAX_UPLOAD: usize = 16 << 20;
/// How long it may take to arrive.
const UPLOAD_TIME: Duration = Duration::from_secs(10);

/// Jaeger's query API below `/api`.
pub(crate) fn router(store: Arc<RwLock<Store>>) -> Router {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(search))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(dependencies))
        .route("/api/transform", post(transform).layer(DefaultBodyLimit::max(MAX_UPLOAD)))
        .route("/api/metrics/{*metric}", get(metrics))
        .merge(v3::router())
        .route("/api/{*path}", axum::routing::any(unknown))
        .with_state(Shared { store, turns: Arc::new(Semaphore::new(QUESTIONS)), uploads: Arc::new(Semaphore::new(1)) })
}

/// An answer as all of the older API gives it.
#[derive(Serialize)]
struct Envelope<T> {
    data: T,
    total: usize,
    limit: usize,
    offset: usize,
    /// A list, or null.
    errors: Value,
}

fn envelope<T: Serialize>(data: T, total: usize, errors: Value) -> Envelope<T> {
    Envelope { data, total, limit: 0, offset: 0, errors }
}

fn answer(data: impl Serialize, total: usize) -> Response {
    json_body(&envelope(data, total, Value::Null))
}

fn json_body(body: &impl Serialize) -> Response {
    written(serde_json::to_vec(body))
}

fn written(body: serde_json::Result<Vec<u8>>) -> Response {
    match body {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Why a question has no answer.
struct Error(StatusCode, String);

impl Error {
    fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Self(status, msg) = self;
        let errors = json!([{ "code": status.as_u16(), "msg": msg }]);
        (status, json_body(&envelope(Value::Null, 0, errors))).into_response()
    }
}

async fn services(State(shared): State<Shared>) -> Response {
    let services = shared.store.read().await.services();
    let total = services.len();
    answer(services, total)
}

async fn operation_names(State(shared): State<Shared>, Path(service): Path<String>) -> Response {
    let operations = shared.store.read().await.operations(&service);
    let names: std::collections::BTreeSet<_> = operations.into_iter().map(|(name, _)| name).collect();
    let total = names.len();
    answer(names, total)
}

async fn operations(State(shared): State<Shared>, params: Params) -> Result<Response, Error> {
    let service = params.get("service").ok_or_else(|| Error::bad("parameter 'service' is required"))?;
    let kind = params.get("spanKind").unwrap_or_default();
    let operations = shared.store.read().await.operations(service);
    let operations = operations.iter().filter(|(_, of)| kind.is_empty() || kind == kind_name(*of));
    let data: Vec<_> = operations.map(|(name, kind)| json!({ "name": name, "spanKind": kind_name(*kind) })).collect();
    let total = data.len();
    Ok(answer(data, total))
}

async fn search(State(shared): State<Shared>, params: Params) -> Result<Response, Error> {
    let ids = params.trace_ids()?;
    if !ids.is_empty() {
        return Ok(shared.ask(move |store| by_ids(store.blocking_read().traces(&ids))).await);
    }
    let query = params.query()?;
    let answer = move |store: &RwLock<Store>| {
        // The store is free for spans again while the answer is written.
        let traces = store.blocking_read().search(&query);
        found(&traces)
    };
    Ok(shared.ask(answer).await)
}

fn found(traces: &[Trace]) -> Response {
    answer(Found(traces), 0)
}

/// Traces that are converted one by one while they are written.
struct Found<'a>(&'a [Trace]);

impl Serialize for Found<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(jaeger::Trace::from))
    }
}

/// What a search in `store` takes, from its URL to its answer; for the benchmark.
pub(crate) fn search_now(store: &Store, uri: &Uri) -> Option<Response> {
    let query = Params::of(uri).and_then(|params| params.query()).ok()?;
    Some(found(&store.search(&query)))
}

fn by_ids(traces: Vec<Result<Trace, (TraceId, &str)>>) -> Response {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for trace in &traces {
        match trace {
            Ok(trace) => found.push(jaeger::Trace::from(trace)),
            Err((id, msg)) => missing.push(json!({ "msg": msg, "traceID": jaeger::id(*id) })),
        }
    }
    json_body(&envelope(found, 0, if missing.is_empty() { Value::Null } else { missing.into() }))
}

async fn trace(State(shared): State<Shared>, Path(id): Path<String>, params: Params) -> Result<Response, Error> {
    let id: TraceId = id.parse().map_err(Error::bad)?;
    let pretty = params.get("prettyPrint").is_some_and(|value| value != "false");
    let answer = move |store: &RwLock<Store>| {
        let trace = store.blocking_read().trace(id);
        let Some(trace) = trace else {
            return Error(StatusCode::NOT_FOUND, "trace not found".to_owned()).into_response();
        };
        let body = envelope([jaeger::Trace::from(&trace)], 0, Value::Null);
        written(if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) })
    };
    Ok(shared.ask(answer).await)
}

async fn dependencies(State(shared): State<Shared>, params: Params) -> Result<Response, Error> {
    let range = params.dependency_range()?;
    let service = params.get("service").unwrap_or_default().to_owned();
    let answer = move |store: &RwLock<Store>| {
        let calls = store.blocking_read().dependencies(&range);
        let calls =
            calls.iter().filter(|((parent, child), _)| service.is_empty() || *parent == service || *child == service);
        let call = |((parent, child), count): (&(String, String), &u64)| json!({ "parent": parent, "child": child, "callCount": count });
        self::answer(calls.map(call).collect::<Vec<_>>(), 0)
    };
    Ok(shared.ask(answer).await)
}

/// Shows an OTLP/JSON file as traces; nothing of it is kept.
async fn transform(State(shared): State<Shared>, request: Request) -> Result<Response, Error> {
    let busy = |text: &str| Error(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    let turn = shared.uploads.try_acquire_owned().map_err(|_| busy("another file is being read, try again"))?;
    let body = timeout(UPLOAD_TIME, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| busy("the file took too long to arrive"))?;
    let body = body.map_err(|error| Error(error.status(), error.body_text()))?;
    let answer = move || {
        let batch = match Batch::from_json(&body) {
            Ok(batch) => batch,
            Err(error) => return Error::bad(error.to_string()).into_response(),
        };
        let mut ids: Vec<_> = batch.spans.iter().map(|span| span.trace).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut store = Store::new(16 * MAX_UPLOAD);
        store.insert(&batch);
        drop(batch);
        by_ids(store.traces(&ids))
    };
    Ok(work(Ok(turn), answer).await)
}

async fn metrics() -> Error {
    Error(StatusCode::NOT_IMPLEMENTED, "only traces are kept here, no metrics".to_owned())
}

async fn unknown() -> Error {
    Error(StatusCode::NOT_FOUND, "there is no such API".to_owned())
}
