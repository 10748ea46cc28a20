//! OTLP over HTTP: `POST /v1/traces` in protobuf or JSON.

use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use serde_json::json;
use tonic::Code;
use tower_http::decompression::RequestDecompressionLayer;

use super::grpc::answer;
use super::{Batch, Invalid, Sink};

/// The routes of OTLP over HTTP: one.
pub(crate) fn router(sink: Sink) -> Router {
    Router::new()
        .route("/v1/traces", post(export))
        .method_not_allowed_fallback(async || {
            Encoding::Json.error(StatusCode::METHOD_NOT_ALLOWED, "send traces by POST".to_owned())
        })
        .fallback(async || {
            let text = "only traces are kept here: there is no other path than /v1/traces";
            Encoding::Json.error(StatusCode::NOT_FOUND, text.to_owned())
        })
        .layer((
            // Zipped bodies are unzipped before they are counted.
            RequestDecompressionLayer::new().pass_through_unaccepted(true),
            DefaultBodyLimit::max(sink.max_message),
        ))
        .with_state(sink)
}

/// A message's encoding; its answer has the same.
#[derive(Clone, Copy)]
enum Encoding {
    Protobuf,
    Json,
}

async fn export(State(sink): State<Sink>, request: Request) -> Response {
    let Some(encoding) = Encoding::of(request.headers()) else {
        let text = "the content type must be application/x-protobuf or application/json";
        return Encoding::Json.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.to_owned());
    };
    match receive(request, encoding, sink.max_message).await {
        Ok(batch) => encoding.success(sink.put(batch).await),
        Err((status, text)) => encoding.error(status, text),
    }
}

async fn receive(request: Request, encoding: Encoding, limit: usize) -> Result<Batch, (StatusCode, String)> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the message is larger than {limit} bytes"));
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content encoding must be gzip".to_owned()));
    }
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => bad("the body broke off or is no gzip file".to_owned()),
    })?;
    let batch = match encoding {
        Encoding::Protobuf => Batch::from_protobuf(&body),
        Encoding::Json => Batch::from_json(&body),
    };
    batch.map_err(|Invalid(text)| bad(text))
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn success(self, left_out: Option<(u64, String)>) -> Response {
        let answer = answer(left_out);
        match (self, &answer.partial_success) {
            (Self::Protobuf, _) => protobuf(&answer),
            (Self::Json, None) => Json(json!({})).into_response(),
            (Self::Json, Some(partial)) => Json(json!({ "partialSuccess": {
                "rejectedSpans": partial.rejected_spans.to_string(),
                "errorMessage": partial.error_message,
            }}))
            .into_response(),
        }
    }

    fn error(self, status: StatusCode, message: String) -> Response {
        let code = match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
            StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        };
        let body = Status { code: code.into(), message };
        let body = match self {
            Self::Protobuf => protobuf(&body),
            Self::Json => Json(body).into_response(),
        };
        (status, body).into_response()
    }
}

fn protobuf(message: &impl Message) -> Response {
    ([(header::CONTENT_TYPE, "application/x-protobuf")], message.encode_to_vec()).into_response()
}

/// A `google.rpc.Status` without details.
#[derive(Message, Serialize)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}
