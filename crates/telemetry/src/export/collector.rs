//! A collector that takes spans by OTLP, over gRPC or HTTP: encoded requests go out, and how many were rejected comes back.

use std::io::Write as _;
use std::time::Duration;

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use bytes::{Buf as _, BufMut as _, Bytes};
use opentelemetry_http::HttpClient as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::client::{self, Client};
use super::{headers, otlp};
use crate::{Batcher, Config, Error};

const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// The waits before a request is sent again, where OTLP says that it may be.
const WAITS: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

#[derive(Debug)]
pub(super) enum Collector {
    Grpc { client: Grpc<Channel>, metadata: MetadataMap },
    Http { client: Box<Client>, uri: Uri, headers: HeaderMap, gzip: bool },
}

/// Why a request failed, and whether sending it again may help.
struct Failure {
    what: String,
    may_pass: bool,
}

impl Collector {
    /// The collector at `endpoint`, which is connected to when it is first needed.
    pub(super) fn new(config: &Config, endpoint: &str) -> Result<Self, Error> {
        let invalid = || Error::Endpoint { endpoint: endpoint.to_owned(), reason: "it is no URL".to_owned() };
        let mut headers = headers(config)?;
        if config.batcher == Batcher::OtlpHttp {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            let uri = endpoint.parse().map_err(|_| invalid())?;
            if config.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            return Ok(Self::Http { client: Box::new(client::new(config)?), uri, headers, gzip: config.gzip });
        }
        let mut channel = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| invalid())?;
        if let Some(tls) = otlp::tls(config, endpoint)? {
            channel = channel.tls_config(tls).map_err(|_| invalid())?;
        }
        let client = Grpc::new(channel.connect_lazy());
        let client = if config.gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
        Ok(Self::Grpc { client, metadata: MetadataMap::from_headers(headers) })
    }

    /// Sends a request, and again if that may help; tells how many spans of it were rejected.
    pub(super) async fn send(&self, request: Bytes) -> Result<u64, String> {
        let request = match self {
            Self::Http { gzip: true, .. } => compressed(&request).map_err(|error| error.to_string())?,
            _ => request,
        };
        let mut waits = WAITS.into_iter();
        loop {
            match (self.once(request.clone()).await, waits.next()) {
                (Ok(answer), _) => return Ok(rejected(answer)),
                (Err(Failure { may_pass: true, .. }), Some(wait)) => tokio::time::sleep(wait).await,
                (Err(Failure { what, .. }), _) => return Err(what),
            }
        }
    }

    async fn once(&self, request: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        match self {
            Self::Grpc { client, metadata } => {
                let mut client = client.clone();
                let unreachable = |error: tonic::transport::Error| Failure { what: error.to_string(), may_pass: true };
                client.ready().await.map_err(unreachable)?;
                let request = tonic::Request::from_parts(metadata.clone(), Default::default(), request);
                Ok(client.unary(request, EXPORT, Encoded).await.map_err(refused)?.into_inner())
            }
            Self::Http { client, uri, headers, .. } => {
                let mut post = Request::new(request);
                *post.method_mut() = Method::POST;
                *post.uri_mut() = uri.clone();
                *post.headers_mut() = headers.clone();
                let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| Failure {
                    what: error.to_string(),
                    may_pass: true,
                };
                let answer = client.send_bytes(post).await.map_err(unreachable)?;
                let status = answer.status();
                if !status.is_success() {
                    let may_pass = [429, 502, 503, 504].contains(&status.as_u16());
                    return Err(Failure { what: format!("it answered {status}"), may_pass });
                }
                // Whatever it says besides: it has taken them.
                Ok(ExportTraceServiceResponse::decode(answer.into_body()).unwrap_or_default())
            }
        }
    }
}

fn compressed(request: &[u8]) -> std::io::Result<Bytes> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(request)?;
    Ok(gzip.finish()?.into())
}

/// How many spans were rejected.
fn rejected(answer: ExportTraceServiceResponse) -> u64 {
    let Some(partial) = answer.partial_success else { return 0 };
    u64::try_from(partial.rejected_spans).unwrap_or_default()
}

/// The [codes](https://opentelemetry.io/docs/specs/otlp/#failures) after which a request may be sent again.
fn refused(status: Status) -> Failure {
    let may_pass = matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    Failure { what: format!("it answered {:?}: {}", status.code(), status.message()), may_pass }
}

/// Requests that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = input.copy_to_bytes(input.remaining());
        ExportTraceServiceResponse::decode(bytes).map(Some).map_err(|_| Status::internal("no answer of OTLP"))
    }
}
