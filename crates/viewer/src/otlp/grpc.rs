//! OTLP over gRPC: `TraceService/Export`.
//!
//! tonic's generated server would decode a whole message at once; this one hands the bytes on as they are.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::{Buf as _, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use tonic::Status;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tower::service_fn;

use super::{Batch, Sink};

/// Where messages are sent.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The gRPC services of the viewer: one.
pub(crate) fn router(sink: Sink) -> Router {
    let export = async move |request: Request| {
        let mut grpc =
            Grpc::new(Raw).accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(sink.max_message);
        let put = service_fn(move |request: tonic::Request<Bytes>| put(sink.clone(), request.into_inner()));
        grpc.unary(put, request).await.map(Body::new)
    };
    Router::new().route(EXPORT, any(export)).fallback(unknown)
}

async fn put(sink: Sink, message: Bytes) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
    let batch = Batch::from_protobuf(&message).map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(tonic::Response::new(answer(sink.put(batch).await)))
}

async fn unknown() -> Response {
    Status::unimplemented("only traces are kept here: there is no other service than TraceService/Export").into_http()
}

/// The answer to a message of which some spans may have been left out.
pub(super) fn answer(left_out: Option<(u64, String)>) -> ExportTraceServiceResponse {
    let partial_success = left_out.map(|(count, error_message)| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(count).unwrap_or(i64::MAX),
        error_message,
    });
    ExportTraceServiceResponse { partial_success }
}

/// Requests as bytes, answers as protobuf.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = ExportTraceServiceResponse;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
