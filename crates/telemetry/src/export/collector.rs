//! A collector that takes spans by OTLP, over gRPC or HTTP: encoded requests go out, and how many were rejected comes back.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
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
use tonic_types::StatusExt as _;

use super::client::{self, Client};
use super::{headers, otlp};
use crate::{Batcher, Config, Error};

const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// The waits before a request is sent again, where OTLP says that it may be; each is up to twice as long, lest all processes
/// come back at one moment.
const WAITS: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// How long a connection may take to be made, and how soon a dead one is noticed: a new collector may be there.
const CONNECT: Duration = Duration::from_secs(2);
const KEEPALIVE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) enum Collector {
    Grpc { client: Grpc<Channel>, metadata: MetadataMap },
    Http { client: Box<Client>, uri: Uri, headers: HeaderMap, gzip: bool },
}

/// Why a request failed.
struct Failure {
    what: String,
    /// Whether sending it again may help, and how long the collector wants to be left alone first.
    again: Option<Duration>,
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
        let mut channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|_| invalid())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(CONNECT)
            .keep_alive_while_idle(true);
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
                (Err(Failure { again: Some(least), .. }), Some(wait)) => {
                    tokio::time::sleep(least.max(wait + jitter(wait))).await;
                }
                (Err(Failure { what, .. }), _) => return Err(what),
            }
        }
    }

    async fn once(&self, request: Bytes) -> Result<ExportTraceServiceResponse, Failure> {
        match self {
            Self::Grpc { client, metadata } => {
                let mut client = client.clone();
                let unreachable =
                    |error: tonic::transport::Error| Failure { what: error.to_string(), again: Some(Duration::ZERO) };
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
                    again: Some(Duration::ZERO),
                };
                let answer = client.send_bytes(post).await.map_err(unreachable)?;
                let status = answer.status();
                if !status.is_success() {
                    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                    let may_pass = [429, 502, 503, 504].contains(&status.as_u16());
                    let again = may_pass.then(|| after.map(Duration::from_secs).unwrap_or_default());
                    return Err(Failure { what: format!("it answered {status}"), again });
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
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let again = match status.code() {
        // It may be out of room for good, unless it says for how long.
        Code::ResourceExhausted => after,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Some(after.unwrap_or_default()),
        _ => None,
    };
    Failure { what: format!("it answered {:?}: {}", status.code(), status.message()), again }
}

/// Up to as long again, of which the clock's last digits are chance enough.
fn jitter(wait: Duration) -> Duration {
    let chance = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos() % 1000;
    wait * chance / 1000
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
