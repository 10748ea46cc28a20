//! HTTP/2 against gRPC servers, and against the viewer's way in for spans.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::process::Mall;
use testkit::service::with_token;
use testkit::shopper::Shopper;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::frames::*;
use crate::victim::{Honest, MALL, Memory};

/// What h2 says to a client that goes too far.
const ENHANCE_YOUR_CALM: u32 = 11;

const USER_INFO: &str = "/mall.user.v1.UserService/UserInfo";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Attacks user.rpc and the viewer in turn, beside an honest client of the very port.
async fn on_each(attack: impl AsyncFn(SocketAddr, &str)) {
    let mall = Mall::of(MALL)
        .variable("MALL__SERVER__CONNECTION_TIMEOUT", "1s")
        .variable("MALL__SERVER__MESSAGE_TIMEOUT", "3s")
        .start()
        .await;
    let token = Shopper::new(&mall, "15838607661").await.token;
    let (rpc, viewer) = (mall.address("user.rpc", "listen"), mall.address("viewer", "otlp_grpc"));
    for (service, address, path) in [("user.rpc", rpc, USER_INFO), ("viewer", viewer, EXPORT)] {
        let memory = Memory::of(&mall, service);
        let (token, is_viewer) = (token.clone(), service == "viewer");
        let honest = Honest::start(move || {
            let token = token.clone();
            async move { if is_viewer { export(address).await } else { who_am_i(address, &token).await } }
        });
        attack(address, path).await;
        honest.stop().await;
        memory.is_bounded();
        memory.is_at_rest().await;
    }
}

/// A call by a connection of its own.
async fn who_am_i(address: SocketAddr, token: &str) {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = UserServiceClient::new(endpoint.connect().await.unwrap());
    client.user_info(with_token(token, UserInfoRequest {})).await.unwrap();
}

/// The same of an exporter.
async fn export(address: SocketAddr) {
    let mut client = TraceServiceClient::connect(format!("http://{address}")).await.unwrap();
    client.export(ExportTraceServiceRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_messages_do_not_come() {
    on_each(async |address, path| {
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream = begin(address).await;
            let heads = (0..100).flat_map(|call| frame(HEADERS, END_HEADERS, call * 2 + 1, &self::call(path)));
            pour(&mut stream, &heads.collect::<Vec<_>>()).await.unwrap();
            streams.push(stream);
        }
        // Longer than messages may take: the honest client is served while a thousand calls wait, and after.
        sleep(Duration::from_secs(4)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once() {
    on_each(async |address, path| {
        let mut stream = begin(address).await;
        let head = call(path);
        for batch in 0..200 {
            let calls = (0..250).flat_map(|call| {
                let id = (batch * 250 + call) * 2 + 1;
                let reset = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
                [frame(HEADERS, END_HEADERS, id, &head), reset].concat()
            });
            if pour(&mut stream, &calls.collect::<Vec<_>>()).await.is_err() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_whose_answers_nobody_reads() {
    on_each(async |address, _| {
        for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])] {
            let mut stream = begin(address).await;
            let batch = flood.repeat(1000);
            for _ in 0..1000 {
                if pour(&mut stream, &batch).await.is_err() {
                    break;
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end() {
    on_each(async |address, path| {
        // Fields of one block after another, of which the last is never the last.
        let mut stream = begin(address).await;
        let mut taken = pour(&mut stream, &frame(HEADERS, 0, 1, &call(path))).await;
        let more = frame(CONTINUATION, 0, 1, &header_block([("x-more", "m".repeat(8000).as_str())]));
        for _ in 0..5000 {
            if taken.is_err() {
                break;
            }
            taken = pour(&mut stream, &more).await;
        }
        let code = goaway(&mut stream).await;
        assert!(taken.is_err() || code == Some(ENHANCE_YOUR_CALM), "{taken:?} {code:?}");

        // One block that is too large and well formed otherwise: the call is refused, not the connection.
        let mut stream = begin(address).await;
        let large = (0..9).map(|_| ("x-large", "l".repeat(8000)));
        let large: Vec<_> = large.collect();
        let mut block = call(path);
        block.extend(header_block(large.iter().map(|(name, value)| (*name, value.as_str()))));
        let mut chunks = block.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() { END_HEADERS } else { 0 };
            if pour(&mut stream, &frame(kind, flags, 1, chunk)).await.is_err() {
                break;
            }
            kind = CONTINUATION;
        }
        let _ = pour(&mut stream, &frame(DATA, END_STREAM, 1, &[])).await;
        // The answer is 431, or the stream is reset; the connection may be told to go away. It is not served.
        assert!(!answers_well(&mut stream).await, "a call with 72 KB of headers was taken");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_not_begin() {
    on_each(async |address, _| {
        let mut silent = Vec::new();
        for length in 0..300 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            pour(&mut stream, &PREFACE[..length % PREFACE.len()]).await.unwrap();
            silent.push(stream);
        }
        for mut stream in silent {
            let mut rest = Vec::new();
            let closed = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest));
            let _ = closed.await.expect("it is closed");
        }
    })
    .await;
}

/// Whether the answer that comes within a second has a status of gRPC that says OK.
async fn answers_well(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut bytes)).await;
    // `grpc-status: 0`, as HPACK writes it without a table; nothing else in an answer has these bytes.
    bytes.windows(12).any(|part| part == b"\x0bgrpc-status")
}
