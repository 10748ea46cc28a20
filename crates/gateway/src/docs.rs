//! `/openapi.json`, and `/docs`: a page of our own that shows it and lets one try the calls.

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use http::header;
use telemetry::http::Route;

use crate::Api;

/// Nothing from elsewhere, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 3] = [
    ("/docs", "text/html; charset=utf-8", include_str!("../assets/docs.html")),
    ("/docs/docs.css", "text/css; charset=utf-8", include_str!("../assets/docs.css")),
    ("/docs/docs.js", "text/javascript; charset=utf-8", include_str!("../assets/docs.js")),
];

/// The routes of the documentation of `api`.
pub(crate) fn router(api: Api) -> Router {
    let document = ("/openapi.json", "application/json", api.openapi());
    FILES.into_iter().chain([document]).fold(Router::new(), |router, (path, kind, text)| {
        let route = Route::new(path);
        router.route(path, get(async move || file(route, kind, text)))
    })
}

fn file(route: Route, kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Extension(route), text)
}
