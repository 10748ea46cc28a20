//! HTTPS: both versions of HTTP, and nothing without TLS.

use std::sync::Arc;

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use testkit::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Running, start_with};

async fn https(authority: &Authority) -> Running {
    let [certificate, key] = authority.issue("gateway", "shop.example");
    start_with(|config| config.tls = Some(rpc::tls::Server { certificate, key, clients: None })).await
}

#[tokio::test]
async fn a_client_chooses_its_http() {
    let authority = Authority::new("ours");
    let running = https(&authority).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    for protocol in ["h2", "http/1.1"] {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(running.address).await.unwrap();
        let name = ServerName::try_from("shop.example").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        let request = Request::get("https://shop.example/openapi.json").header("host", "shop.example");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = if protocol == "h2" {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        assert_eq!(answer.unwrap().status(), StatusCode::OK, "{protocol}");
    }
}

#[tokio::test]
async fn what_is_plain_is_not_answered() {
    let running = https(&Authority::new("ours")).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
