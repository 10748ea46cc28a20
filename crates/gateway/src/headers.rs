//! Which headers pass, and in what form.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::refusal::Refusal;

/// Names a request in logs, through all services.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(rpc::IDEMPOTENCY_KEY);
const SIGNATURE: HeaderName = HeaderName::from_static(rpc::SIGNATURE);
const SIGNED_BODY: HeaderName = HeaderName::from_static(rpc::SIGNED_BODY);
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static(rpc::CLIENT_ADDRESS);

/// Bytes of a body that is passed on with its signature, as a header of the call.
const MAX_SIGNED_BODY: usize = 8 * 1024;

/// The metadata of a call, made from the few headers that may pass; `headers` has a valid request id already.
///
/// The trace and the time left are not among them: they pass through the layers that keep them.
pub(crate) fn metadata(headers: &HeaderMap, client: IpAddr) -> Result<HeaderMap, Refusal> {
    let mut metadata = HeaderMap::with_capacity(4);
    if let Some(value) = headers.get(header::AUTHORIZATION).and_then(bearer) {
        metadata.insert(header::AUTHORIZATION, value);
    }
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        if !is_token(key) {
            return Err(Refusal::violation(IDEMPOTENCY_KEY.as_str(), "1 to 128 visible ASCII characters"));
        }
        metadata.insert(IDEMPOTENCY_KEY, key.clone());
    }
    if let Some(id) = headers.get(X_REQUEST_ID) {
        metadata.insert(X_REQUEST_ID, id.clone());
    }
    if let Ok(address) = HeaderValue::try_from(client.to_string()) {
        metadata.insert(CLIENT_ADDRESS, address);
    }
    Ok(metadata)
}

/// Passes on the signature of a callback, and the body as it came: what was signed is not the message but the text.
pub(crate) fn sign(headers: &HeaderMap, body: &[u8], metadata: &mut HeaderMap) -> Result<(), Refusal> {
    let Some(signature) = headers.get(SIGNATURE) else { return Ok(()) };
    if body.len() > MAX_SIGNED_BODY {
        return Err(Refusal::violation(SIGNATURE.as_str(), "a signed body has at most 8 KiB"));
    }
    metadata.insert(SIGNATURE, signature.clone());
    if let Ok(body) = HeaderValue::try_from(STANDARD_NO_PAD.encode(body)) {
        metadata.insert(SIGNED_BODY, body);
    }
    Ok(())
}

/// The request's id: the client's if it is well formed, or else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(id) if is_token(id) => id.clone(),
        _ => new_request_id(),
    }
}

/// Unique, not secret: this process's random number and a count.
fn new_request_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}

fn is_token(value: &HeaderValue) -> bool {
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// A bearer token in the one form that services know, whatever case its scheme is in, or without one, as the
/// reference's clients may send it; another scheme does not pass.
fn bearer(value: &HeaderValue) -> Option<HeaderValue> {
    let token = match value.as_bytes().split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii_start(),
        _ => value.as_bytes(),
    };
    let is_token = token.iter().all(u8::is_ascii_graphic) && !token.is_empty();
    if !is_token || token.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_with_bearer_in_any_case_or_without_and_nothing_else_passes() {
        for given in ["Bearer t", "bearer t", "BEARER t", "bEaReR  t", "t"] {
            assert_eq!(bearer(&HeaderValue::from_static(given)).unwrap(), "Bearer t", "{given}");
        }
        for given in ["", "Basic dTpw", "Basic\tdTpw", "Bearer", "bearer ", "Bearert t", "Bearer t t"] {
            assert_eq!(bearer(&HeaderValue::from_static(given)), None, "{given}");
        }
    }

    #[test]
    fn only_a_well_formed_request_id_is_kept() {
        let given = |id: &[u8]| HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(id).unwrap())]);
        assert_eq!(request_id(&given(b"abc-123")), "abc-123");
        for id in [b"".as_slice(), b"a b", b"\xff", &[b'a'; 129]] {
            assert_ne!(request_id(&given(id)).as_bytes(), id);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
