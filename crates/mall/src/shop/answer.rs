//! What the mall answers, and every way in which it may not.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http as client;

/// An answer, whether it grants or refuses.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The id of the request's trace, if that is sampled.
    pub(crate) trace: Option<String>,
    body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{base} cannot be asked")]
    Unsent { base: String, source: http::Error },
    #[error("{}", no_answer(base, flag, source))]
    NoAnswer { base: String, flag: &'static str, source: client::Error },
    #[error("{status}: {message}")]
    Refused { status: StatusCode, code: Option<&'static str>, message: String },
    #[error("the answer is not what the API promises")]
    Unreadable(#[source] serde_json::Error),
}

fn no_answer(base: &str, flag: &str, source: &client::Error) -> String {
    match source {
        client::Error::Connect(_) => format!(
            "nothing answers at {base}: start the mall with `mall up`, or say where it is with --data-dir or {flag}"
        ),
        client::Error::Broken(_) => format!("{base} broke off its answer; its log says why"),
        client::Error::Timeout => format!("{base} is too slow; its log says why"),
    }
}

impl Error {
    /// The error in a word or two, as a table counts it.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Refused { status, code: Some(code), .. } => format!("{} {code}", status.as_u16()),
            Self::Refused { status, code: None, .. } => status.as_u16().to_string(),
            Self::NoAnswer { source: client::Error::Connect(_), .. } => "connect".to_owned(),
            Self::NoAnswer { source: client::Error::Timeout, .. } => "timeout".to_owned(),
            Self::NoAnswer { source: client::Error::Broken(_), .. } => "broken off".to_owned(),
            Self::Unsent { .. } => "not sent".to_owned(),
            Self::Unreadable(_) => "unreadable".to_owned(),
        }
    }
}

impl Answer {
    /// The message that was asked for, or why it was refused.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        if self.status == StatusCode::OK {
            return serde_json::from_slice(&self.body).map_err(Error::Unreadable);
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let code = body["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        let message = body["message"].as_str().unwrap_or("the answer says no reason").to_owned();
        Err(Error::Refused { status: self.status, code: code.map(telemetry::grpc::code_name), message })
    }
}

impl From<Response<Bytes>> for Answer {
    fn from(response: Response<Bytes>) -> Self {
        let told = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let sampled = told("traceresponse").is_some_and(|context| context.ends_with("-01"));
        let trace = told("x-trace-id").filter(|_| sampled).map(ToOwned::to_owned);
        Self { status: response.status(), trace, body: response.into_body() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Answer::from(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_refusal_is_counted_by_its_status_and_code() {
        for (status, body, code) in [
            (429, r#"{"code":8,"message":"too many tries"}"#, "429 RESOURCE_EXHAUSTED"),
            (404, r#"{"code":5,"message":"no such product"}"#, "404 NOT_FOUND"),
            (502, "<html>", "502"),
            (200, "<html>", "unreadable"),
        ] {
            let error = answer(status, &[], body).read::<Value>().unwrap_err();
            assert_eq!(error.code(), code);
        }
        let error = answer(404, &[], r#"{"code":5,"message":"no such product"}"#).read::<Value>().unwrap_err();
        assert_eq!(error.to_string(), "404 Not Found: no such product");
    }

    #[test]
    fn only_a_sampled_request_has_a_trace() {
        let id = ("x-trace-id", "0af7651916cd43dd8448eb211c80319c");
        let response = |flags| ("traceresponse", format!("00-{}-b7ad6b7169203331-{flags}", id.1));
        let (name, sampled) = response("01");
        assert_eq!(answer(200, &[id, (name, &sampled)], "{}").trace.as_deref(), Some(id.1));
        let (name, unsampled) = response("00");
        assert_eq!(answer(200, &[id, (name, &unsampled)], "{}").trace, None);
        assert_eq!(answer(200, &[id], "{}").trace, None);
    }
}
