//! Keys in a directory of their own, a clock that stands still, and tokens that nobody should accept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use auth::{Clock, Config, ServiceSigner, UserSigner, Verifier};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) config: Config,
    pub(crate) time: Arc<AtomicU64>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        auth::keys::generate(dir.path(), &["user.rpc", "order.rpc", "product.rpc"]).unwrap();
        let config = Config { keys: dir.path().to_owned(), ..Config::default() };
        Self { dir, config, time: Arc::new(AtomicU64::new(NOW)) }
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.time);
        Clock::new(move || time.load(Ordering::Relaxed))
    }

    pub(crate) fn set_time(&self, now: u64) {
        self.time.store(now, Ordering::Relaxed);
    }

    pub(crate) fn verifier(&self, audience: &str) -> Verifier {
        Verifier::load(&self.config, audience).unwrap().with_clock(self.clock())
    }

    pub(crate) fn users(&self) -> UserSigner {
        UserSigner::load(&self.config).unwrap().with_clock(self.clock())
    }

    pub(crate) fn service(&self, name: &str) -> ServiceSigner {
        ServiceSigner::load(&self.config, name).unwrap().with_clock(self.clock())
    }

    pub(crate) fn pair(&self, name: &str) -> auth::keys::Pair {
        auth::keys::Pair::load(self.dir.path(), name).unwrap()
    }

    /// A token with this header and these claims, signed with the key of `signer` whatever they say.
    pub(crate) fn sign(&self, signer: &str, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let pem = self.pair(signer).private;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
        format!("{signed}.{}", BASE64.encode(key.sign(signed.as_bytes())))
    }

    /// The header of a good token of this issuer.
    pub(crate) fn header(&self, issuer: &str) -> Value {
        json!({ "alg": "EdDSA", "kid": self.pair(issuer).kid })
    }
}

/// The first two parts of a token.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

/// What a good token of user 7 says.
pub(crate) fn user_claims() -> Value {
    json!({ "iss": "user.rpc", "sub": "7", "aud": "mall", "iat": NOW, "exp": NOW + 60, "role": "user" })
}

/// `value` with one member set, or with `null` removed.
pub(crate) fn with(mut value: Value, member: &str, to: Value) -> Value {
    let object = value.as_object_mut().unwrap();
    if to.is_null() {
        object.remove(member)
    } else {
        object.insert(member.to_owned(), to)
    };
    value
}

pub(crate) fn headers(values: &[&[u8]]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())).collect()
}
