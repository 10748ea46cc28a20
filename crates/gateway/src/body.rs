//! Reads a request's body: whole, in time, within bounds, decompressed, and only if it is JSON.

use std::io::Read as _;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
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
    bytes: Bytes,
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

    /// The bytes of `body`, none if there is no body.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
        if body.is_end_stream() {
            return Ok(Held::default());
        }
        let gzip = is_gzip(headers)?;
        let collected = timeout(self.timeout, self.collect(headers, body)).await;
        let held = collected.map_err(|_| Refusal::slow_body())??;
        if held.is_empty() {
            return Ok(held);
        }
        if !headers.get(header::CONTENT_TYPE).is_none_or(is_json) {
            return Err(Refusal::wrong_type());
        }
        if gzip { self.decompress(&held) } else { Ok(held) }
    }

    async fn collect(&self, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
        let mut body = pin!(body);
        let expected = body.size_hint().lower();
        let mut held = Held::default();
        // One frame, the usual case, is not copied.
        let mut several: Option<BytesMut> = None;
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::malformed("the request's body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            total += data.len();
            if total > self.most || expected > self.most as u64 {
                if !headers.contains_key(header::EXPECT) {
                    discard(body, self.most.saturating_mul(DISCARDED)).await;
                }
                return Err(Refusal::large_body(self.most));
            }
            self.grant(&mut held, data.len())?;
            match &mut several {
                Some(buffer) => buffer.extend_from_slice(&data),
                None if held.bytes.is_empty() => held.bytes = data,
                None => {
                    let mut buffer = BytesMut::with_capacity(self.most.min(expected as usize).max(total));
                    buffer.extend_from_slice(&held.bytes);
                    buffer.extend_from_slice(&data);
                    several = Some(buffer);
                }
            }
        }
        if let Some(buffer) = several {
            held.bytes = buffer.freeze();
        }
        Ok(held)
    }

    fn decompress(&self, compressed: &[u8]) -> Result<Held, Refusal> {
        let mut held = Held::default();
        // What it will be is not known before it is too late.
        self.grant(&mut held, self.most)?;
        let mut bytes = Vec::new();
        let mut decoder = MultiGzDecoder::new(compressed).take(self.most as u64 + 1);
        decoder.read_to_end(&mut bytes).map_err(|_| Refusal::malformed("the request's body is not gzip"))?;
        if bytes.len() > self.most {
            return Err(Refusal::large_body(self.most));
        }
        held.bytes = bytes.into();
        Ok(held)
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

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    match (codings.next().map(HeaderValue::as_bytes), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"gzip") => Ok(true),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"identity") => Ok(false),
        _ => Err(Refusal::wrong_encoding()),
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
