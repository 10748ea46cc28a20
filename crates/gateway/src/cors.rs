//! Which pages of other origins may call, and what they may send and see.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use tower_http::cors::CorsLayer;

use crate::{Cors, Error};

/// The layer for the origins that are configured; none if there are none.
pub(crate) fn layer(config: &Cors) -> Result<Option<CorsLayer>, Error> {
    if config.origins.is_empty() {
        return Ok(None);
    }
    let parse = |origin: &String| {
        let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin(origin));
        value.ok_or_else(|| Error::Origin(origin.clone()))
    };
    let origins = config.origins.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let sent = [
        "authorization",
        "content-type",
        "content-encoding",
        "idempotency-key",
        "x-request-id",
        "grpc-timeout",
        "traceparent",
        "tracestate",
        "baggage",
    ];
    let seen = ["x-request-id", "x-trace-id", "traceresponse", "retry-after", "www-authenticate"];
    Ok(Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(sent.map(HeaderName::from_static))
            .expose_headers(seen.map(HeaderName::from_static))
            .max_age(Duration::from_secs(3600)),
    ))
}

/// `https://shop.example:8443`: a scheme and an authority, and nothing after them.
fn is_origin(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let parts = uri.scheme_str().zip(uri.host());
        parts.is_some_and(|(scheme, host)| format!("{scheme}://{host}{port}") == text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_an_authority() {
        for origin in ["https://shop.example", "http://localhost:5173", "https://[::1]:8443"] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in
            ["", "*", "shop.example", "https://shop.example/", "https://shop.example/a", "https://u@shop.example"]
        {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}
