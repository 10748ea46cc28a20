//! TLS between services, with certificates that change while they serve.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::user::v1::UserInfoRequest;
use proto::user::v1::user_service_client::UserServiceClient;
use testkit::Authority;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::told::{Running, config, start};

async fn serve([certificate, key]: &[PathBuf; 2], clients: Option<&Path>) -> (Running, Arc<AtomicUsize>) {
    let tls =
        rpc::tls::Server { certificate: certificate.clone(), key: key.clone(), clients: clients.map(Path::to_owned) };
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let config = rpc::server::Config { tls: Some(tls), connection_timeout: Duration::from_millis(300), ..config() };
    let server = start(config, move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(()))
    });
    (server.await, calls)
}

/// Calls by a connection of its own.
async fn call(address: SocketAddr, authorities: PathBuf, name: &str, own: Option<&[PathBuf; 2]>) -> Result<(), Status> {
    let [certificate, key] = own.cloned().map_or([None, None], |own| own.map(Some));
    let tls = rpc::tls::Client { authorities, name: Some(name.to_owned()), certificate, key };
    let config = rpc::client::Config { target: address.into(), tls: Some(tls), ..Default::default() };
    let mut client = UserServiceClient::new(rpc::client::connect(&config).unwrap());
    client.user_info(UserInfoRequest {}).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_believes_only_the_server_that_it_was_told_of() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (server, calls) = serve(&ours.issue("server", "user.rpc"), None).await;
    call(server.address, ours.certificate(), "user.rpc", None).await.unwrap();
    for (authority, name) in [(&theirs, "user.rpc"), (&ours, "order.rpc")] {
        let status = call(server.address, authority.certificate(), name, None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
    let status = server.client().user_info(UserInfoRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "without TLS nobody is served");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_believes_only_clients_of_its_authority() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (server, calls) = serve(&ours.issue("server", "user.rpc"), Some(&ours.certificate())).await;
    let client = ours.issue("client", "order.rpc");
    call(server.address, ours.certificate(), "user.rpc", Some(&client)).await.unwrap();
    for own in [None, Some(&theirs.issue("client", "order.rpc"))] {
        let status = call(server.address, ours.certificate(), "user.rpc", own).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_taken_over_and_broken_ones_are_not() {
    let (old, new) = (Authority::new("ours"), Authority::new("theirs"));
    let paths = old.issue("server", "user.rpc");
    let (server, _) = serve(&paths, None).await;
    call(server.address, old.certificate(), "user.rpc", None).await.unwrap();

    std::fs::write(&paths[0], "this is no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    call(server.address, old.certificate(), "user.rpc", None).await.expect("the old one serves on");

    let [certificate, key] = new.issue("server", "user.rpc");
    std::fs::copy(certificate, &paths[0]).unwrap();
    std::fs::copy(key, &paths[1]).unwrap();
    let renewed = async || call(server.address, new.certificate(), "user.rpc", None).await.ok();
    testkit::eventually("the new one serves", renewed).await;
    call(server.address, old.certificate(), "user.rpc", None).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_begin_is_sent_away_and_keeps_nobody_waiting() {
    let ours = Authority::new("ours");
    let (server, _) = serve(&ours.issue("server", "user.rpc"), None).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    call(server.address, ours.certificate(), "user.rpc", None).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut rest));
    assert!(closed.await.expect("it is closed").is_ok_and(|_| rest.is_empty()));
}

#[tokio::test]
async fn a_file_that_is_no_use_is_named_at_the_start() {
    let ours = Authority::new("ours");
    let [certificate, key] = ours.issue("server", "user.rpc");
    std::fs::write(ours.path("empty.pem"), "").unwrap();
    for (certificate, key, named) in [
        (ours.path("absent.pem"), key.clone(), "absent.pem"),
        (ours.path("empty.pem"), key.clone(), "empty.pem"),
        (certificate.clone(), ours.path("absent.key"), "absent.key"),
        (certificate, ours.issue("other", "user.rpc")[1].clone(), "server.pem"),
    ] {
        let tls = Some(rpc::tls::Server { certificate, key, clients: None });
        let bound = rpc::Server::bind(rpc::server::Config { tls, ..config() }, rpc::Lifecycle::new()).await;
        let error = bound.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
