//! The service's refusals, and a service that does not answer.

use std::time::Duration;

use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::support::{Running, Stub, refusing, soon, start, start_with, start_without_upstream};

const LOGIN: &str = "/api/user/login";

fn refuse(gateway: &Running, status: Status) {
    *gateway.stub.refusal.lock().unwrap() = Some(status);
}

#[tokio::test]
async fn every_code_has_its_http_status() {
    let gateway = start().await;
    let statuses = [
        (Code::Cancelled, 408),
        (Code::Unknown, 500),
        (Code::InvalidArgument, 400),
        (Code::DeadlineExceeded, 504),
        (Code::NotFound, 404),
        (Code::AlreadyExists, 409),
        (Code::PermissionDenied, 403),
        (Code::ResourceExhausted, 429),
        (Code::FailedPrecondition, 400),
        (Code::Aborted, 409),
        (Code::OutOfRange, 400),
        (Code::Unimplemented, 501),
        (Code::Internal, 500),
        (Code::Unavailable, 503),
        (Code::DataLoss, 500),
        (Code::Unauthenticated, 401),
    ];
    for (code, http) in statuses {
        refuse(&gateway, Status::new(code, format!("it is {code:?}: é")));
        let answer = gateway.post(LOGIN, "{}").await;
        let json = answer.refused(http, code.into());
        assert_eq!(json["message"], format!("it is {code:?}: é"));
        assert_eq!(answer.header("www-authenticate"), if http == 401 { "Bearer" } else { "" });
        assert_eq!(answer.header("grpc-status"), "");
    }
}

#[tokio::test]
async fn details_arrive_as_json() {
    let gateway = start().await;
    let mut details = ErrorDetails::new();
    details
        .add_bad_request_violation("mobile", "5 to 15 digits")
        .set_retry_info(Some(Duration::from_millis(1500)))
        .set_error_info("TRIES", "mall", [("mobile".to_owned(), "x".to_owned())])
        .set_debug_info(["main.rs:1".to_owned()], "secret");
    refuse(&gateway, Status::with_error_details(Code::ResourceExhausted, "too many tries", details));
    let answer = gateway.post(LOGIN, "{}").await;
    let json = answer.refused(429, 8);
    assert_eq!(answer.header("retry-after"), "2");
    let found = json["details"].as_array().unwrap();
    let expected = [
        json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s" }),
        json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "TRIES", "domain": "mall", "metadata": { "mobile": "x" } }),
        json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{ "field": "mobile", "description": "5 to 15 digits" }] }),
    ];
    for detail in &expected {
        assert!(found.contains(detail), "{json}");
    }
    assert_eq!(found.len(), expected.len(), "{json}");
}

#[tokio::test]
async fn a_dead_service_is_503_and_works_again_when_it_is_back() {
    let socket = refusing();
    let patient = |config: &mut gateway::Config| config.upstream.timeout = Duration::from_secs(60);
    let gateway = start_without_upstream(socket.local_addr().unwrap(), patient).await;
    for _ in 0..3 {
        let json = soon(gateway.post(LOGIN, "{}")).await.refused(503, 14);
        let message = json["message"].as_str().unwrap();
        assert!(
            !message.contains("127.0.0.1") && !message.contains("os error") && !message.contains("transport"),
            "{message}"
        );
    }
    let stub = Stub::default();
    let upstream = stub.serve(socket.listen(16).unwrap());
    let back = async { while gateway.post(LOGIN, "{}").await.status != 200 {} };
    soon(back).await;
    drop(upstream);
}

#[tokio::test]
async fn readiness_does_not_depend_on_the_service() {
    let socket = refusing();
    let gateway = start_without_upstream(socket.local_addr().unwrap(), |_| {}).await;
    let ready = http::Request::get(format!("http://{}/readyz", gateway.admin)).body(Default::default()).unwrap();
    assert_eq!(gateway.send(ready).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_deadline_that_passes_is_504_and_the_handler_is_dropped() {
    let gateway = start_with(|config| config.upstream.timeout = Duration::from_millis(100)).await;
    soon(gateway.post("/api/user/password", "{}")).await.refused(504, 4);
    soon(gateway.stub.dropped.notified()).await;

    let gateway = start().await;
    soon(gateway.call("POST", "/api/user/password", &[("grpc-timeout", "50m")], "{}")).await.refused(504, 4);
    soon(gateway.stub.dropped.notified()).await;
    let json = gateway.call("POST", "/api/user/password", &[("grpc-timeout", "soon")], "{}").await.refused(400, 3);
    assert!(json["message"].as_str().unwrap().contains("grpc-timeout"), "{json}");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_call() {
    let gateway = start().await;
    let call = gateway.post("/api/user/password", "{}");
    tokio::select! {
        _ = call => panic!("the gate is shut"),
        () = gateway.stub.waiting.notified() => {}
    }
    soon(gateway.stub.dropped.notified()).await;
}

#[tokio::test]
async fn a_peer_that_does_not_speak_grpc_is_an_error_in_our_words() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = start_without_upstream(listener.local_addr().unwrap(), |_| {}).await;
    let peer = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let json = soon(gateway.post(LOGIN, "{}")).await.refused(503, 14);
    assert!(!json["message"].as_str().unwrap().contains("h2"), "{json}");
    peer.abort();
}
