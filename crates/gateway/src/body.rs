//! Reads a request's body: whole, in time, within bounds, and only if it is JSON.

use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Limits;
use crate::refusal::Refusal;

/// How often the limit is read and thrown away before a client that sends too much is cut off: one that has not
/// finished writing may never read why it was refused.
const DISCARDED: usize = 8;

/// Reads bodies within the limits of one and of all.
#[derive(Clone, Debug)]
pub(crate) struct Bodies {
    most: usize,
    timeout: Duration,
    budget: Arc<Semaphore>,
}

/// A body and the memory that it was granted.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    granted: Option<OwnedSemaphorePermit>,
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    pub(crate) fn new(limits: &Limits) -> Self {
        let budget = limits.total_body_bytes.min(Semaphore::MAX_PERMITS);
        Self { most: limits.body_bytes, timeout: limits.body_timeout, budget: Arc::new(Semaphore::new(budget)) }
    }

    /// The bytes of `body`, from which what it was compressed with is already gone; none if there is no body.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
        if body.size_hint().exact() == Some(0) {
            return Ok(Held::default());
        }
        if headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
            return Err(Refusal::wrong_encoding());
        }
        let collected = timeout(self.timeout, self.collect(headers, body)).await;
        let held = collected.map_err(|_| Refusal::slow_body())??;
        if !held.is_empty() && !headers.get(header::CONTENT_TYPE).is_none_or(is_json) {
            return Err(Refusal::wrong_type());
        }
        Ok(held)
    }

    async fn collect(&self, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
        let mut body = pin!(body);
        let mut held = Held::default();
        // What is announced as too large is not asked for: the first look at a body sends `100 Continue`.
        let mut large = body.size_hint().lower() > self.most as u64;
        while !large && let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::malformed("the request's body broke off or is not gzip"))?;
            let Ok(data) = frame.into_data() else { continue };
            large = held.len() + data.len() > self.most;
            if !large {
                self.grant(&mut held, data.len())?;
                held.bytes.extend_from_slice(&data);
            }
        }
        if !large {
            return Ok(held);
        }
        if !headers.contains_key(header::EXPECT) {
            discard(body, self.most.saturating_mul(DISCARDED)).await;
        }
        Err(Refusal::large_body(self.most))
    }

    fn grant(&self, held: &mut Held, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::overloaded())?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(bytes).map_err(|_| Refusal::overloaded())?;
        match &mut held.granted {
            Some(granted) => granted.merge(more),
            None => held.granted = Some(more),
        }
        Ok(())
    }
}

async fn discard(mut body: std::pin::Pin<&mut Body>, most: usize) {
    let mut total = 0;
    while let Some(Ok(frame)) = body.frame().await {
        total += frame.data_ref().map_or(0, Bytes::len);
        if total > most {
            return;
        }
    }
}

/// Whether a content type is JSON, in UTF-8 if it says in what.
fn is_json(value: &HeaderValue) -> bool {
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    json && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let charset = value.trim_matches('"');
        !name.eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|it| charset.eq_ignore_ascii_case(it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_with_its_parameters() {
        for given in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\";a=b",
        ] {
            assert!(is_json(&HeaderValue::from_static(given)), "{given}");
        }
        for given in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/jsonp",
        ] {
            assert!(!is_json(&HeaderValue::from_static(given)), "{given}");
        }
    }

    #[tokio::test]
    async fn a_body_of_several_frames_is_put_together_and_its_memory_given_back() {
        let bodies = Bodies::new(&Limits { total_body_bytes: 8, body_bytes: 8, ..Limits::default() });
        let frames = || Body::from_stream(futures::stream::iter(["{", " ", "}"].map(Ok::<_, std::io::Error>)));
        let held = bodies.read(&HeaderMap::new(), frames()).await.unwrap();
        assert_eq!(&*held, b"{ }");
        assert_eq!(bodies.budget.available_permits(), 5);
        bodies.read(&HeaderMap::new(), Body::from("12345678")).await.unwrap_err();
        drop(held);
        bodies.read(&HeaderMap::new(), Body::from("12345678")).await.unwrap();
        assert_eq!(bodies.budget.available_permits(), 8);
    }
}
