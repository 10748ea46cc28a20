//! The layer before a handler: who passes, and what the others are answered.

use std::convert::Infallible;
use std::sync::LazyLock;

use auth::{Caller, Layer, Role};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::rules::{SHOP, four_kinds};
use crate::support::{Fixture, headers, user_claims, with};

/// Sends these headers to `path`, and answers the caller that the handler saw or the status that it did not.
async fn call(layer: &Layer, path: &str, authorization: &[&[u8]]) -> Result<Caller, Status> {
    let handler = service_fn(async |request: Request<()>| {
        assert!(request.headers().get_all(AUTHORIZATION).iter().all(|value| value.is_sensitive()));
        let caller = Caller::of(&tonic::Request::from_http(request)).clone();
        let mut response = Response::new(String::new());
        response.extensions_mut().insert(caller);
        Ok::<_, Infallible>(response)
    });
    let mut request = Request::new(());
    *request.uri_mut() = path.parse().unwrap();
    *request.headers_mut() = headers(authorization);
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    match response.extensions().get::<Caller>() {
        Some(caller) => Ok(caller.clone()),
        None => {
            assert_eq!(response.headers()["content-type"], "application/grpc");
            Err(Status::from_header_map(response.headers()).unwrap())
        }
    }
}

#[tokio::test]
async fn each_method_is_called_by_whom_it_names() {
    let fixture = Fixture::new();
    let layer = Layer::new(fixture.verifier("product.rpc"), four_kinds());
    let user = fixture.users().issue(7, Role::User).value;
    let admin = fixture.users().issue(8, Role::Admin).value;
    let order = fixture.service("order.rpc").token_for("product.rpc");
    let other = fixture.service("user.rpc").token_for("product.rpc");
    let elsewhere = fixture.service("order.rpc").token_for("user.rpc");
    let old = fixture.sign("user.rpc", &fixture.header("user.rpc"), &with(user_claims(), "exp", 1.into()));

    let (no_token, no_right) = (Err(Code::Unauthenticated), Err(Code::PermissionDenied));
    let is_user = Ok(Caller::User { id: 7, role: Role::User });
    let is_admin = Ok(Caller::User { id: 8, role: Role::Admin });
    let is_order = Ok(Caller::Service("order.rpc".to_owned()));
    let is_other = Ok(Caller::Service("user.rpc".to_owned()));
    let anonymous = Ok(Caller::Anonymous);
    let tokens = ["", &user, &admin, &order, &other, &elsewhere, &old, "forged"];
    for (method, expected) in [
        ("Public", [&anonymous, &is_user, &is_admin, &is_order, &is_other, &anonymous, &anonymous, &anonymous]),
        ("User", [&no_token, &is_user, &is_admin, &no_right, &no_right, &no_token, &no_token, &no_token]),
        ("Admin", [&no_token, &no_right, &is_admin, &no_right, &no_right, &no_token, &no_token, &no_token]),
        ("Service", [&no_token, &no_right, &no_right, &is_order, &no_right, &no_token, &no_token, &no_token]),
        ("Mixed", [&no_token, &no_right, &is_admin, &is_order, &no_right, &no_token, &no_token, &no_token]),
    ] {
        for (token, expected) in tokens.into_iter().zip(expected) {
            let answer = call(&layer, &format!("/{SHOP}/{method}"), &[format!("bearer {token}").as_bytes()]).await;
            assert_eq!(&answer.map_err(|status| status.code()), expected, "{method} with {token:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_names_a_service_where_there_is_no_token() {
    let fixture = Fixture::new();
    let is_order = || Ok(Caller::Service("order.rpc".to_owned()));
    let certified =
        |names: auth::Certified| Layer::with_certificates(fixture.verifier("product.rpc"), four_kinds(), names);
    let by = async |names: auth::Certified, method: &str, authorization: &[&[u8]]| {
        let answer = call(&certified(names), &format!("/{SHOP}/{method}"), authorization).await;
        answer.map_err(|status| status.code())
    };
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["mall.example".into(), "order.rpc".into()]);
    static OTHERS: LazyLock<Vec<String>> = LazyLock::new(|| {
        ["pay.rpc", "order.rpc.example", "https://mall.example/order.rpc", "spiffe://order.rpc"]
            .map(String::from)
            .into()
    });
    assert_eq!(by(|_| &NAMES, "Service", &[]).await, is_order());
    assert_eq!(by(|_| &NAMES, "Mixed", &[]).await, is_order());
    assert_eq!(by(|_| &OTHERS, "Service", &[]).await, Err(Code::Unauthenticated));
    assert_eq!(by(|_| &NAMES, "Admin", &[]).await, Err(Code::Unauthenticated));
    assert_eq!(by(|_| &NAMES, "Public", &[]).await, Ok(Caller::Anonymous));
    // Who shows a token is whom it names, and nobody if it is no good.
    assert_eq!(by(|_| &NAMES, "Service", &[b"Bearer forged"]).await, Err(Code::Unauthenticated));
    let user = format!("Bearer {}", fixture.users().issue(7, Role::User).value);
    assert_eq!(by(|_| &NAMES, "Service", &[user.as_bytes()]).await, Err(Code::PermissionDenied));
}

#[tokio::test]
async fn a_refusal_tells_no_more_than_is_needed() {
    let fixture = Fixture::new();
    let layer = Layer::new(fixture.verifier("product.rpc"), four_kinds());
    let user = fixture.users().issue(7, Role::User).value;
    let old = fixture.sign("user.rpc", &fixture.header("user.rpc"), &with(user_claims(), "exp", 1.into()));
    let unknown = fixture.sign("user.rpc", &with(fixture.header("user.rpc"), "kid", "x".into()), &user_claims());
    let stolen = fixture.sign("order.rpc", &fixture.header("user.rpc"), &user_claims());
    let invalid = "the token is not valid";
    let cases: [(&[&[u8]], &str); 6] = [
        (&[], "a token is needed: send `authorization: Bearer TOKEN`"),
        (&[old.as_bytes()], "the token has expired"),
        (&[unknown.as_bytes()], invalid),
        (&[stolen.as_bytes()], invalid),
        (&[user.as_bytes(), user.as_bytes()], invalid),
        (&[b"Bearer \xff"], invalid),
    ];
    for (authorization, message) in cases {
        let status = call(&layer, "/test.v1.Shop/User", authorization).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, message));
        assert_eq!(call(&layer, "/test.v1.Shop/Public", authorization).await.unwrap(), Caller::Anonymous);
    }
}

#[tokio::test]
async fn grpcs_own_services_pass_and_what_has_no_rule_does_not() {
    let fixture = Fixture::new();
    let layer = Layer::new(fixture.verifier("product.rpc"), four_kinds());
    let admin = fixture.users().issue(8, Role::Admin).value;
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(call(&layer, path, &[b"forged"]).await.unwrap(), Caller::Anonymous, "{path}");
    }
    for path in [
        "/",
        "/test.v1.Shop",
        "/test.v1.Shop/",
        "/test.v1.Shop/user",
        "/test.v1.Shop/User/",
        "//test.v1.Shop/User",
        "/mall.user.v1.UserService/UserInfo",
        "/grpcx/y",
    ] {
        let status = call(&layer, path, &[admin.as_bytes()]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[test]
fn only_a_user_has_a_users_id() {
    let user = Caller::User { id: 7, role: Role::User };
    assert_eq!(user.user_id().unwrap(), 7);
    let code = |caller: Caller| caller.user_id().unwrap_err().code();
    assert_eq!(code(Caller::Anonymous), Code::Unauthenticated);
    assert_eq!(code(Caller::Service("order.rpc".to_owned())), Code::PermissionDenied);
    assert_eq!(Caller::of(&tonic::Request::new(())), &Caller::Anonymous);
}
