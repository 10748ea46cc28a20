//! Which headers pass, in both directions, and what is in every answer.

use http::HeaderName;

use crate::support::{start, start_with};

#[tokio::test]
async fn only_what_is_listed_reaches_the_service() {
    let gateway = start().await;
    let sent = [
        ("authorization", "bEARER secret"),
        ("idempotency-key", "key-1"),
        ("x-request-id", "request-1"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-client-address", "203.0.113.9"),
        ("x-anything", "1"),
        ("grpc-status", "0"),
        ("grpc-encoding", "gzip"),
        ("te", "trailers"),
        ("accept-language", "en"),
    ];
    let answer = gateway.call("GET", "/api/user/userinfo", &sent, "").await;
    assert_eq!(answer.status, 200);
    let seen = gateway.stub.last().into_headers();
    assert_eq!(seen["authorization"], "Bearer secret");
    assert_eq!(seen["idempotency-key"], "key-1");
    assert_eq!(seen["x-request-id"], "request-1");
    assert_eq!(seen["x-client-address"], "127.0.0.1");
    let mut names: Vec<_> = seen.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let ours = [
        "authorization",
        "content-type",
        "grpc-timeout",
        "idempotency-key",
        "te",
        "user-agent",
        "x-client-address",
        "x-request-id",
    ];
    names.retain(|name| !["traceparent", "tracestate", "baggage"].contains(name));
    assert_eq!(names, ours);
    assert_eq!(seen["te"], "trailers");
    assert!(seen["user-agent"].to_str().unwrap().starts_with("grpc-mall/"), "{seen:?}");
}

#[tokio::test]
async fn another_scheme_is_no_token() {
    let gateway = start().await;
    gateway.call("GET", "/api/user/userinfo", &[("authorization", "Basic dTpw")], "").await;
    assert!(!gateway.stub.last().contains_key("authorization"));
}

#[tokio::test]
async fn only_what_is_listed_reaches_the_client() {
    let gateway = start().await;
    let answer = gateway.get("/api/user/userinfo").await;
    let mut names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names.retain(|name| !["traceresponse", "x-trace-id"].contains(name));
    let ours = ["cache-control", "content-length", "content-type", "date", "x-content-type-options", "x-request-id"];
    assert_eq!(names, ours);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let gateway = start().await;
    for path in ["/api/user/userinfo", "/nowhere", "/docs", "/api/user/login"] {
        let given = gateway.call("GET", path, &[("x-request-id", "abc")], "").await;
        assert_eq!(given.header("x-request-id"), "abc", "{path}");
    }
    let long = "a".repeat(129);
    let mut ids = vec![gateway.get("/docs").await.header("x-request-id").to_owned()];
    for bad in ["", "a b", &long] {
        let answer = gateway.call("GET", "/api/user/userinfo", &[("x-request-id", bad)], "").await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(gateway.stub.last().get("x-request-id").unwrap(), id.as_str());
        ids.push(id);
    }
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
}

#[tokio::test]
async fn an_idempotency_key_that_cannot_be_kept_is_refused() {
    let gateway = start().await;
    let answer = gateway.call("GET", "/api/user/userinfo", &[("idempotency-key", "a b")], "").await;
    let json = answer.refused(400, 3);
    assert_eq!(json["details"][0]["fieldViolations"][0]["field"], "idempotency-key");
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let gateway = start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let forwarded = [("x-forwarded-for", "198.51.100.1, 203.0.113.9, 127.0.0.3")];
    gateway.call("GET", "/api/user/userinfo", &forwarded, "").await;
    assert_eq!(gateway.stub.last().get("x-client-address").unwrap(), "203.0.113.9");
}

#[tokio::test]
async fn cors_is_off_unless_configured() {
    let origin = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
    let gateway = start().await;
    let answer = gateway.call("OPTIONS", "/api/user/login", &origin, "").await;
    answer.refused(405, 12);
    assert_eq!(answer.header("access-control-allow-origin"), "");

    let gateway = start_with(|config| config.cors.origins = vec!["https://shop.example".to_owned()]).await;
    let answer = gateway.call("OPTIONS", "/api/user/login", &origin, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert!(answer.header("access-control-allow-headers").contains("authorization"), "{answer:?}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_ne!(answer.header("x-request-id"), "");
    // A page may read why it was refused, too.
    for (method, path, status) in
        [("POST", "/api/user/login", 200), ("DELETE", "/api/user/login", 405), ("GET", "/api/nowhere", 404)]
    {
        let answer = gateway.call(method, path, &origin[..1], "{}").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert!(answer.header("access-control-expose-headers").contains("x-trace-id"), "{answer:?}");
    }
    let answer = gateway.call("GET", "/api/user/userinfo", &[("origin", "https://evil.example")], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
