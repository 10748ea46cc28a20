//! From what people write as an endpoint to the URL that is called.

use ::http::Uri;

use crate::config::Batcher;
use crate::{Config, Error};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// Where OTLP over HTTP takes it.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => TRACES,
            Self::Logs => "/v1/logs",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// Where OTLP over HTTP takes traces.
pub(crate) const TRACES: &str = "/v1/traces";

/// The URL that the batcher calls, or the path of the file that it writes. The configuration names that of traces; other
/// signals go to the same collector.
pub(super) fn of(config: &Config, signal: Signal) -> Result<String, Error> {
    let given = config.endpoint.as_deref();
    match config.batcher {
        Batcher::OtlpGrpc => url(config, given.unwrap_or("127.0.0.1:4317"), ""),
        Batcher::OtlpHttp => {
            let path = config.path.as_deref().filter(|_| signal == Signal::Traces).unwrap_or(signal.path());
            let url = url(config, given.unwrap_or("127.0.0.1:4318"), &format!("/{}", path.trim_start_matches('/')))?;
            if signal == Signal::Traces || url.ends_with(signal.path()) {
                return Ok(url);
            }
            let base = url.strip_suffix(TRACES).ok_or_else(|| Error::Endpoint {
                endpoint: url.clone(),
                reason: format!(
                    "its path is for traces alone: logs and metrics need one that ends with {TRACES}, or none"
                ),
            })?;
            Ok(format!("{base}{}", signal.path()))
        }
        Batcher::Zipkin => url(config, given.unwrap_or("127.0.0.1:9411"), "/api/v2/spans"),
        Batcher::Jaeger => {
            let given = url(config, given.unwrap_or("127.0.0.1:14268"), "")?;
            let host = given.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
            Ok(format!("http://{host}:4317"))
        }
        Batcher::File => given.map(str::to_owned).ok_or_else(|| Error::Endpoint {
            endpoint: String::new(),
            reason: "batcher `file` needs a path as its endpoint".to_owned(),
        }),
        Batcher::Stdout => Ok("stdout".to_owned()),
    }
}

/// `given` as a URL with a scheme and, where it has none of its own, the path.
fn url(config: &Config, given: &str, path: &str) -> Result<String, Error> {
    let invalid = |reason: &str| Error::Endpoint { endpoint: given.to_owned(), reason: reason.to_owned() };
    let scheme = if config.secure { "https" } else { "http" };
    let text = if given.contains("://") { given.to_owned() } else { format!("{scheme}://{given}") };
    // The agent's protocol, which only the reference's oldest blocks name: the host is all that matters of it.
    let text = if config.batcher == Batcher::Jaeger { text.replacen("udp://", "http://", 1) } else { text };
    let uri: Uri = text.parse().map_err(|_| invalid("it is neither a URL nor host:port"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(invalid("only http and https are spoken"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it has no host"));
    }
    let text = text.trim_end_matches('/');
    Ok(if uri.path() == "/" && uri.query().is_none() { format!("{text}{path}") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        use Batcher::{Jaeger, OtlpGrpc, OtlpHttp, Zipkin};
        let cases = [
            (OtlpGrpc, None, false, "http://127.0.0.1:4317"),
            (OtlpGrpc, Some("collector:4317"), false, "http://collector:4317"),
            (OtlpGrpc, Some("collector:4317"), true, "https://collector:4317"),
            (OtlpGrpc, Some("https://collector"), false, "https://collector"),
            (OtlpGrpc, Some("[::1]:4317"), false, "http://[::1]:4317"),
            (OtlpHttp, None, false, "http://127.0.0.1:4318/v1/traces"),
            (OtlpHttp, Some("collector:4318"), false, "http://collector:4318/v1/traces"),
            (OtlpHttp, Some("http://collector:4318/"), false, "http://collector:4318/v1/traces"),
            (OtlpHttp, Some("http://collector/otlp/v1/traces"), false, "http://collector/otlp/v1/traces"),
            (Zipkin, Some("http://zipkin:9411/api/v2/spans"), false, "http://zipkin:9411/api/v2/spans"),
            (Zipkin, Some("zipkin:9411"), false, "http://zipkin:9411/api/v2/spans"),
            (Jaeger, Some("http://jaeger:14268/api/traces"), false, "http://jaeger:4317"),
            (Jaeger, Some("udp://jaeger:6831"), false, "http://jaeger:4317"),
            (Jaeger, Some("http://[::1]:14268/api/traces"), false, "http://[::1]:4317"),
        ];
        for (batcher, endpoint, secure, wanted) in cases {
            let config = Config { batcher, endpoint: endpoint.map(str::to_owned), secure, ..Config::default() };
            assert_eq!(of(&config, Signal::Traces).unwrap(), wanted, "{batcher:?} {endpoint:?}");
        }
    }

    #[test]
    fn other_signals_go_to_the_same_collector() {
        let cases = [
            (Batcher::OtlpGrpc, "collector:4317", "http://collector:4317"),
            (Batcher::OtlpHttp, "collector:4318", "http://collector:4318/v1/logs"),
            (Batcher::OtlpHttp, "http://collector/otlp/v1/traces", "http://collector/otlp/v1/logs"),
        ];
        for (batcher, endpoint, wanted) in cases {
            let config = Config { batcher, endpoint: Some(endpoint.to_owned()), ..Config::default() };
            assert_eq!(of(&config, Signal::Logs).unwrap(), wanted);
        }
        let endpoint = Some("http://collector/in".to_owned());
        let config = Config { batcher: Batcher::OtlpHttp, endpoint, ..Config::default() };
        assert!(of(&config, Signal::Traces).is_ok() && of(&config, Signal::Metrics).is_err());
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for endpoint in ["", "ftp://host:1", "http://", "a b", "host:port:port", "udp://host:1"] {
            let config = Config { endpoint: Some(endpoint.to_owned()), ..Config::default() };
            assert!(of(&config, Signal::Traces).is_err(), "{endpoint}");
        }
        assert!(of(&Config { batcher: Batcher::File, ..Config::default() }, Signal::Traces).is_err());
    }
}
