//! Jaeger's own UI: the files that `otlp-embedded` brings along, nothing else of it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt as _;

/// Names of assets contain a hash of their content, so a browser may keep them.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What the UI is told: there are no metrics for its monitor and no archive. Its words for an empty monitor are asked for even
/// so, by whoever has kept the address of that page.
const SETTINGS: &str = r#"JAEGER_CONFIG = {
  archiveEnabled: false,
  monitor: {
    menuEnabled: false,
    emptyState: {
      mainTitle: "No metrics here",
      subTitle: "This viewer keeps traces alone.",
      description: "With `make observe`, Jaeger and Prometheus fill this page.",
      button: { text: "Search traces", onClick: () => window.location.assign("/search") },
    },
  },
};"#;

/// The UI's page at every path that is no API, and its assets below `/static`.
pub(crate) async fn router() -> Router {
    // Its state is for the receiver and the API of that crate, which are not used.
    let nothing = otlp_embedded::State::new(otlp_embedded::Config { max_length: 0, max_memory_usage: 0 });
    let files = otlp_embedded::ui_app(nothing, "/");
    let page: Arc<str> = index(files.clone()).await.into();
    Router::new()
        .route("/static/{file}", get(async move |uri: Uri| asset(files, uri).await))
        .fallback(get(async move || ([(header::CACHE_CONTROL, "no-cache")], Html(page.to_string()))))
}

async fn index(files: Router) -> String {
    let page = fetch(files, Uri::from_static("/index.html")).await.into_body();
    // What is embedded in the program is always small and there.
    let page = axum::body::to_bytes(page, usize::MAX).await.unwrap_or_default();
    String::from_utf8_lossy(&page).replace("JAEGER_CONFIG = DEFAULT_CONFIG;", SETTINGS)
}

async fn asset(files: Router, uri: Uri) -> Response {
    let mut response = fetch(files, uri).await;
    if response.status() == StatusCode::OK {
        response.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    }
    response
}

async fn fetch(files: Router, uri: Uri) -> Response {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    files.oneshot(request).await.into_response()
}
