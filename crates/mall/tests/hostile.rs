//! Hostile input over REST and over gRPC: a clear error, never a 5xx, never a panic.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use auth::{Clock, Role, ServiceSigner, UserSigner, keys};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use proto::pay::v1::DetailRequest;
use proto::pay::v1::pay_service_client::PayServiceClient;
use proto::user::v1::user_service_client::UserServiceClient;
use proto::user::v1::{LoginRequest, UserInfoRequest};
use testkit::exposition::sum;
use testkit::process::{Mall, json};
use testkit::shopper::Shopper;
use tonic::Code;

const MALL: &str = env!("CARGO_BIN_EXE_mall");

/// Tokens that must not be taken, what they are, and whether their sender is known.
fn bad_tokens(dir: &std::path::Path, good: &str) -> Vec<(&'static str, String, Code)> {
    let config = auth::Config { keys: dir.to_owned(), ..Default::default() };
    let user = UserSigner::load(&config).unwrap();
    let order = ServiceSigner::load(&config, "order.rpc").unwrap();
    let stranger = tempfile::TempDir::new().unwrap();
    keys::generate(stranger.path(), &["user.rpc"]).unwrap();
    let stranger = UserSigner::load(&auth::Config { keys: stranger.path().to_owned(), ..Default::default() }).unwrap();
    let payload = good.split('.').nth(1).unwrap();
    let signature = good.split('.').nth(2).unwrap();
    let header = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let altered = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let altered =
        String::from_utf8(altered).unwrap().replace("\"admin\"", "\"user\"").replace("\"sub\":\"1\"", "\"sub\":\"2\"");
    vec![
        ("empty", String::new(), Code::Unauthenticated),
        ("garbage", "garbage".to_owned(), Code::Unauthenticated),
        ("dots", "...".to_owned(), Code::Unauthenticated),
        ("oversized", "x".repeat(9_000), Code::Unauthenticated),
        ("unsigned", format!("{}.{payload}.", header(r#"{"alg":"none"}"#)), Code::Unauthenticated),
        ("another algorithm", format!("{}.{payload}.{signature}", header(r#"{"alg":"HS256"}"#)), Code::Unauthenticated),
        ("altered", good.replace(payload, &header(&altered)), Code::Unauthenticated),
        ("truncated", good[..good.len() - 8].to_owned(), Code::Unauthenticated),
        ("a stranger's", stranger.issue(1, Role::Admin).value, Code::Unauthenticated),
        ("expired", user.with_clock(Clock::new(|| 1_000_000_000)).issue(1, Role::User).value, Code::Unauthenticated),
        ("for another service", order.token_for("pay.rpc"), Code::Unauthenticated),
        ("a service's", order.token_for("user.rpc"), Code::PermissionDenied),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_opens_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let keys_dir = data.join("keys");
    std::fs::create_dir(&data).unwrap();
    keys::generate(&keys_dir, &["user.rpc", "order.rpc"]).unwrap();
    let mall = Mall::of(MALL).data(&data).start().await;
    let shopper = Shopper::new(&mall, "15838607661").await;
    let endpoint = tonic::transport::Endpoint::from_shared(mall.url("user.rpc")).unwrap();
    let mut client = UserServiceClient::new(endpoint.connect().await.unwrap());
    for (what, token, code) in bad_tokens(&keys_dir, &shopper.token) {
        let answer = mall.post("user.api", "/api/user/userinfo", Some(&token), &serde_json::json!({})).await;
        let status = if code == Code::Unauthenticated { 401 } else { 403 };
        assert_eq!(answer.status(), status, "{what}: {answer:?}");
        assert_eq!(json(&answer)["code"], code as i32, "{what}");
        assert!(token.is_empty() || !String::from_utf8_lossy(answer.body()).contains(&token), "{what} is repeated");

        let mut request = tonic::Request::new(UserInfoRequest {});
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(client.user_info(request).await.unwrap_err().code(), code, "{what} over gRPC");
    }
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request = Request::get(mall.url("user.api") + "/api/user/userinfo")
            .header("authorization", format!("{scheme} {}", shopper.token))
            .body(Full::default());
        assert_eq!(mall.send(request.unwrap()).await.status(), 200, "{scheme}");
    }
}

/// How often each code was answered, by the server's own count.
async fn counted(mall: &Mall) -> BTreeMap<String, f64> {
    let text = mall.get(&format!("http://{}/metrics", mall.address("user.rpc", "admin"))).await;
    let text = std::str::from_utf8(text.body()).unwrap();
    let codes = [Code::Ok, Code::InvalidArgument, Code::DeadlineExceeded, Code::Unimplemented, Code::Unauthenticated];
    let codes = codes.into_iter().chain([Code::ResourceExhausted]).map(telemetry::grpc::code_name);
    let sum = |code| sum(text, "rpc_server_call_duration_seconds_count", &[("rpc_response_status_code", code)]);
    codes.map(|code| (code.to_owned(), sum(code).unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_goes_uncounted_wherever_it_is_refused() {
    let mall = Mall::of(MALL)
        .variable("MALL__SERVER__MAX_IN_FLIGHT", "1")
        .variable("MALL__SERVER__MAX_QUEUED", "1")
        .start()
        .await;
    Shopper::new(&mall, "15838607661").await;
    let endpoint = tonic::transport::Endpoint::from_shared(mall.url("user.rpc")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut before = counted(&mall).await;
    let mut saw = |code: Code| *before.get_mut(telemetry::grpc::code_name(code)).unwrap() += 1.0;
    // By the access rules, by the deadline's layer, and where there is no such method.
    for (timeout, code) in [(None, Code::Unauthenticated), (Some("soon"), Code::InvalidArgument)] {
        let mut request = tonic::Request::new(UserInfoRequest {});
        if let Some(timeout) = timeout {
            request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        assert_eq!(UserServiceClient::new(channel.clone()).user_info(request).await.unwrap_err().code(), code);
        saw(code);
    }
    let elsewhere = PayServiceClient::new(channel.clone()).detail(DetailRequest { id: 1 }).await;
    assert_eq!(elsewhere.unwrap_err().code(), Code::Unimplemented);
    saw(Code::Unimplemented);
    // A password takes a while: of many at once, two are let in.
    let logins = (0..8).map(|_| {
        let (mobile, password) = ("15838607661".to_owned(), "correct-horse-7".to_owned());
        let mut client = UserServiceClient::new(channel.clone());
        async move { client.login(LoginRequest { mobile, password }).await }
    });
    for login in futures::future::join_all(logins).await {
        saw(login.map_or_else(|status| status.code(), |_| Code::Ok));
    }
    assert_eq!(counted(&mall).await, before);
    assert!(before["RESOURCE_EXHAUSTED"] > 0.0, "{before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_told_what_is_wrong() {
    let mall = Mall::of(MALL).start().await;
    let register = "/api/user/register";
    let deep = "[".repeat(100_000);
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 21));
    let cases: Vec<(&str, &str, &str, &[u8], u16)> = vec![
        ("cut off", "POST", register, br#"{"name":"#, 400),
        ("not JSON", "POST", register, b"name=Ann", 400),
        ("not an object", "POST", register, b"[]", 400),
        ("wrong type", "POST", register, br#"{"name":1}"#, 400),
        ("unknown field", "POST", register, br#"{"nickname":"x"}"#, 400),
        ("number too large", "POST", register, br#"{"gender":99999999999}"#, 400),
        ("twice", "POST", register, br#"{"name":"a","name":"b"}"#, 400),
        ("invalid UTF-8", "POST", register, b"{\"name\":\"\xff\xfe\"}", 400),
        ("lone surrogate", "POST", register, br#"{"name":"\ud800"}"#, 400),
        ("deep", "POST", register, deep.as_bytes(), 400),
        ("large", "POST", register, large.as_bytes(), 413),
        ("empty fields", "POST", register, b"", 400),
        ("no such path", "POST", "/api/user/nothing", b"{}", 404),
        ("traversal", "GET", "/../../etc/passwd", b"", 404),
        ("wrong method", "PUT", register, b"{}", 405),
        ("a NUL", "POST", register, br#"{"name":"a\u0000b","mobile":"15838607661","password":"secret"}"#, 400),
    ];
    for (what, method, path, body, status) in cases {
        let request = Request::builder()
            .method(method)
            .uri(mall.url("user.api") + path)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body)));
        let answer = mall.send(request.unwrap()).await;
        assert_eq!(answer.status(), status, "{what}: {answer:?}");
        assert!(json(&answer)["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {answer:?}");
        assert!(answer.headers().contains_key("x-trace-id"), "{what} has a trace");
    }
    let huge = Request::get(mall.url("user.api") + "/api/user/userinfo")
        .header("x-huge", "x".repeat(200_000))
        .body(Full::default());
    assert_eq!(mall.send(huge.unwrap()).await.status(), 431);
    assert!(!mall.logs().text().contains("panicked"));
}
