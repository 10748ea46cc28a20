//! Good and bad input.

use serde_json::json;

use crate::support::{start, start_with};

const REGISTER: &str = "/api/user/register";

#[tokio::test]
async fn every_form_of_a_good_body_is_understood() {
    let gateway = start().await;
    let full = json!({ "id": "9223372036854775807", "name": "Ann", "gender": 1, "mobile": "15812345678" });
    for body in [
        r#"{"name":"Ann","gender":1,"mobile":"15812345678","password":"123456"}"#,
        r#" { "gender" : "1" , "name" : "Ann" , "mobile" : "15812345678" } "#,
    ] {
        let answer = gateway.post(REGISTER, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, full.clone()), "{body}");
    }
    for kind in
        ["application/json", "Application/JSON", "application/json; charset=UTF-8", "application/json;charset=utf-8"]
    {
        let answer = gateway.call("POST", REGISTER, &[("content-type", kind)], r#"{"name":"Ann"}"#).await;
        assert_eq!(answer.json()["name"], "Ann", "{kind}");
    }
    let patched = gateway.call("PATCH", "/api/user/userinfo", &[], r#"{"name":"Bob"}"#).await;
    assert_eq!(patched.json()["name"], "Bob");
}

#[tokio::test]
async fn no_body_is_the_empty_message() {
    let gateway = start().await;
    let json: &[_] = &[("content-type", "application/json")];
    let expected = json!({ "id": "7", "name": "Ann", "gender": 0, "mobile": "" });
    for (headers, body) in [(json, ""), (json, "{}"), (&[], ""), (&[], "{}"), (&[("transfer-encoding", "chunked")], "")]
    {
        let answer = gateway.call("POST", "/api/user/userinfo", headers, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected.clone()), "{headers:?} {body}");
    }
    assert_eq!(gateway.get("/api/user/userinfo").await.json(), expected);
    let head = gateway.call("HEAD", "/api/user/userinfo", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_body_that_is_not_the_message_is_400_and_names_its_field() {
    let gateway = start().await;
    let cases: &[(&[u8], &str)] = &[
        (b"{\"name\":1}", "name"),
        (b"{\"name\":[\"Ann\"]}", "name"),
        (b"{\"name\":{}}", "name"),
        (b"{\"gender\":\"two\"}", "gender"),
        (b"{\"gender\":1.5}", "gender"),
        (b"{\"gender\":4294967296}", "gender"),
        (b"{\"gender\":true}", "gender"),
        (b"{\n  \"name\": \"Ann\",\n  \"mobile\": false\n}", "mobile"),
        (b"{\"nmae\":\"Ann\"}", "nmae"),
        (b"{\"name\":\"Ann\",\"name\":\"Bob\"}", "name"),
        (b"{\"__proto__\":{}}", "__proto__"),
    ];
    for (body, field) in cases {
        let text = String::from_utf8_lossy(body);
        let json = gateway.post(REGISTER, *body).await.refused(400, 3);
        let detail = &json["details"][0];
        assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.BadRequest", "{text}: {json}");
        assert_eq!(detail["fieldViolations"][0]["field"], *field, "{text}: {json}");
        assert!(!json["message"].as_str().unwrap().contains("untagged"), "{json}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let gateway = start().await;
    let deep = "[".repeat(100_000);
    let cases: &[&[u8]] = &[
        b"{",
        b"{\"name\":}",
        b"{\"name\":\"Ann\"",
        b"{\"name\":\"Ann\"} {}",
        b"name=Ann",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"a\x00b\"}",
        b"\xef\xbb\xbf{}",
        b"\x00",
        deep.as_bytes(),
    ];
    for body in cases {
        gateway.post(REGISTER, body.to_vec()).await.refused(400, 3);
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_told_apart() {
    let gateway = start().await;
    for path in [
        "/",
        "/api",
        "/api/user",
        "/api/user/login/",
        "/api/user/../user/login",
        "/api/user/%2e%2e/user/login",
        "/api//user/login",
        "//api/user/login",
        "/api/user/log%69n",
        "/docs/../../../etc/passwd",
        "/docs/%2e%2e/secret",
        "/API/USER/LOGIN",
        "/mall.user.v1.UserService/Login",
        "/%00",
        "/%ff",
    ] {
        gateway.post(path, "{}").await.refused(404, 5);
    }
    let cases = [
        ("GET", "/api/user/login", "POST"),
        ("DELETE", "/api/user/userinfo", "POST,GET,HEAD,PATCH"),
        ("PUT", "/api/user/register", "POST"),
        ("OPTIONS", "/api/user/login", "POST"),
        ("TRACE", "/api/user/login", "POST"),
        ("BREW", "/api/user/login", "POST"),
        ("POST", "/openapi.json", "GET,HEAD"),
    ];
    for (method, path, allow) in cases {
        let answer = gateway.call(method, path, &[], "").await;
        answer.refused(405, 12);
        let sorted = |list: &str| {
            let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(answer.header("allow")), sorted(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn a_query_is_not_part_of_a_message_that_is_a_body() {
    let gateway = start().await;
    let json = gateway.get("/api/user/userinfo?nmae=1").await.refused(400, 3);
    assert_eq!(json["details"][0]["fieldViolations"][0]["field"], "nmae", "{json}");
    gateway.get("/api/user/userinfo?%zz").await.refused(400, 3);
}

#[tokio::test]
async fn another_content_type_is_415() {
    let gateway = start().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=latin1",
        "application/grpc",
        "json",
        ";",
    ] {
        let answer = gateway.call("POST", REGISTER, &[("content-type", kind)], "{}").await;
        answer.refused(415, 3);
        assert_eq!(answer.header("accept"), "application/json");
    }
    let answer = gateway.call("POST", REGISTER, &[("content-encoding", "br")], "{}").await;
    answer.refused(415, 3);
    assert_eq!(answer.header("accept-encoding"), "gzip");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let gateway = start().await;
    let large = |bytes: usize| format!("{{\"name\":\"{}\"}}", "a".repeat(bytes - 11));
    assert_eq!(gateway.post(REGISTER, large(1024 * 1024)).await.status, 200);
    gateway.post(REGISTER, large(1024 * 1024 + 1)).await.refused(413, 3);
    gateway.post(REGISTER, large(4 * 1024 * 1024)).await.refused(413, 3);
    let gateway = start_with(|config| config.limits.total_body_bytes = 1024).await;
    let answer = gateway.post(REGISTER, large(2048)).await;
    answer.refused(503, 14);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(gateway.post(REGISTER, large(1024)).await.status, 200);
}
