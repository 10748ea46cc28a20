//! `/api/v3`: the API that Jaeger keeps, whose answers are OTLP/JSON.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::RwLock;

use super::otlp_json::resource_spans;
use super::params::{self, Params};
use super::{Shared, json_body};
use crate::model::{Trace, TraceId, kind_name};
use crate::store::{Query, Store};

/// The routes below `/api/v3`.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", get(search))
        .route("/api/v3/traces/{id}", get(trace))
        .route("/api/v3/{*path}", get(unknown))
}

/// An error as grpc-gateway writes it.
struct Error(StatusCode, String);

impl From<super::Error> for Error {
    fn from(super::Error(status, text): super::Error) -> Self {
        Self(status, text)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, json_body(&json!({ "error": { "httpCode": status.as_u16(), "message": message } }))).into_response()
    }
}

async fn services(State(shared): State<Shared>) -> Response {
    let services = shared.store.read().await.services();
    json_body(&if services.is_empty() { json!({}) } else { json!({ "services": services }) })
}

async fn operations(State(shared): State<Shared>, params: Params) -> Response {
    let kind = either(&params, "span_kind", "spanKind").unwrap_or_default();
    let found = shared.store.read().await.operations(params.get("service").unwrap_or_default());
    let found = found.iter().filter(|(_, of)| kind.is_empty() || kind == kind_name(*of));
    let operations: Vec<_> = found
        .map(|(name, kind)| match kind_name(*kind) {
            "" => json!({ "name": name }),
            kind => json!({ "name": name, "spanKind": kind }),
        })
        .collect();
    json_body(&json!({ "operations": operations }))
}

async fn search(State(shared): State<Shared>, params: Params) -> Result<Response, Error> {
    let query = query(&params)?;
    let answer = move |store: &RwLock<Store>| {
        let traces = store.blocking_read().search(&query);
        result(&traces)
    };
    Ok(shared.ask(answer).await)
}

async fn trace(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Response, Error> {
    let id: TraceId =
        id.parse().map_err(|error| super::Error::bad(format!("malformed parameter trace_id: {error}")))?;
    let answer = move |store: &RwLock<Store>| {
        let trace = store.blocking_read().trace(id);
        result(trace.as_slice())
    };
    Ok(shared.ask(answer).await)
}

async fn unknown() -> Error {
    Error(StatusCode::NOT_FOUND, "there is no such API".to_owned())
}

fn result(traces: &[Trace]) -> Response {
    if traces.is_empty() {
        return Error(StatusCode::NOT_FOUND, "No traces found".to_owned()).into_response();
    }
    let resource_spans: Result<Vec<Vec<Box<RawValue>>>, _> = traces.iter().map(resource_spans).collect();
    match resource_spans {
        Ok(resource_spans) => {
            let all: Vec<_> = resource_spans.into_iter().flatten().collect();
            json_body(&HashMap::from([("result", HashMap::from([("resourceSpans", all)]))]))
        }
        Err(error) => Error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A parameter in either of the two forms that grpc-gateway takes.
fn either<'a>(params: &'a Params, snake: &str, camel: &str) -> Option<&'a str> {
    params.get(snake).or_else(|| params.get(camel))
}

fn query(params: &Params) -> Result<Query, super::Error> {
    let text = |snake: &str, camel: &str| {
        either(params, &format!("query.{snake}"), &format!("query.{camel}")).map(str::to_owned)
    };
    let malformed = |name: &str, value: &str| super::Error::bad(format!("malformed parameter query.{name}: `{value}`"));
    let time = |snake: &str, camel: &str| {
        let both = || super::Error::bad("query.start_time_min and query.start_time_max are required");
        let value = text(snake, camel).ok_or_else(both)?;
        params::time(&value).ok_or_else(|| malformed(snake, &value))
    };
    let duration = |snake: &str, camel: &str| {
        text(snake, camel).map(|value| params::duration(&value).ok_or_else(|| malformed(snake, &value))).transpose()
    };
    // Jaeger's gRPC calls it search_depth, its HTTP num_traces.
    let limit = text("num_traces", "numTraces").or_else(|| text("search_depth", "searchDepth"));
    let limit = limit.map(|value| params::limit(&value).ok_or_else(|| malformed("num_traces", &value))).transpose()?;
    Ok(Query {
        service: text("service_name", "serviceName"),
        operation: text("operation_name", "operationName"),
        tags: params.attributes()?,
        start: time("start_time_min", "startTimeMin")?..=time("start_time_max", "startTimeMax")?,
        duration: duration("duration_min", "durationMin")?.unwrap_or(0)
            ..=duration("duration_max", "durationMax")?.filter(|max| *max > 0).unwrap_or(u64::MAX),
        limit: limit.unwrap_or(params::DEFAULT_LIMIT),
    })
}
