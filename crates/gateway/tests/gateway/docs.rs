//! `/openapi.json` and `/docs`.

use crate::support::start;

#[tokio::test]
async fn openapi_lists_every_route_that_is_served() {
    let gateway = start().await;
    let answer = gateway.get("/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if path == "/api/user/password" {
                continue; // It waits at the stub's gate.
            }
            let answer = gateway.call(&method.to_uppercase(), path, &[], "").await;
            assert_eq!(answer.status, 200, "{method} {path}");
        }
    }
    for (method, path) in proto::rest::user::ROUTES {
        assert!(document["paths"][path][method.to_lowercase()].is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let gateway = start().await;
    for (path, kind) in [("/docs", "text/html"), ("/docs/docs.js", "text/javascript"), ("/docs/docs.css", "text/css")] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with(kind), "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        for outside in [
            "http:",
            "https:",
            "src=\"//",
            "href=\"//",
            "url(",
            "@import",
            "innerHTML",
            "onclick",
            "<style",
            "style=\"",
        ] {
            assert!(!text.contains(outside), "{path} has {outside}");
        }
    }
}
