//! Verifies tokens, and remembers those it has verified.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::sync::Cache;
use ring::digest::{SHA256, digest};

use crate::keys::{self, Public, VerifyingKey};
use crate::token::{self, Claims, MAX_LENGTH, Rejection};
use crate::{Caller, Clock, Config, Error, USER_AUDIENCE, USER_ISSUER};

/// By how many seconds the clock of the issuer may differ from ours.
const LEEWAY: u64 = 5;

/// Tells who sent a token. Clones share what they remember.
#[derive(Clone, Debug)]
pub struct Verifier {
    inner: Arc<Inner>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    audience: String,
    keys: HashMap<String, (String, VerifyingKey)>,
    verified: Cache<[u8; 32], Verified>,
}

#[derive(Clone, Debug)]
struct Verified {
    caller: Caller,
    exp: u64,
    /// What is left of the token's life, for the cache to forget it.
    left: Duration,
}

struct UntilExpiry;

impl moka::Expiry<[u8; 32], Verified> for UntilExpiry {
    fn expire_after_create(&self, _: &[u8; 32], token: &Verified, _: Instant) -> Option<Duration> {
        Some(token.left)
    }
}

impl Verifier {
    /// Reads the public keys; `audience` is the name of the service that asks, such as `user.rpc`.
    ///
    /// Keys that are added later are known when the service is started again.
    pub fn load(config: &Config, audience: &str) -> Result<Self, Error> {
        let mut keys: HashMap<String, (String, VerifyingKey)> = HashMap::new();
        for Public { issuer, key, path } in keys::read_public(&config.keys)? {
            let kid = key.kid();
            if let Some((other, _)) = keys.get(&kid).filter(|(other, _)| *other != issuer) {
                return Err(Error::SharedKey { path, other: other.clone() });
            }
            keys.insert(kid, (issuer, key));
        }
        if !keys.values().any(|(issuer, _)| issuer == USER_ISSUER) {
            return Err(Error::NoPublicKey(config.keys.join("public").join(USER_ISSUER)));
        }
        let verified = Cache::builder().max_capacity(config.remembered_tokens).expire_after(UntilExpiry).build();
        let inner = Inner { audience: audience.to_owned(), keys, verified };
        Ok(Self { inner: Arc::new(inner), clock: Clock::default() })
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Who sent these headers: the caller named by the one `authorization` header, `Bearer TOKEN` or just the token.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Rejection> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Rejection::Missing)?;
        if values.next().is_some() {
            return Err(Rejection::Several);
        }
        let value = value.to_str().map_err(|_| Rejection::Malformed)?.trim();
        let token = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim_start(),
            _ => value,
        };
        if token.is_empty() { Err(Rejection::Missing) } else { self.verify(token) }
    }

    /// Who was given this token.
    pub fn verify(&self, token: &str) -> Result<Caller, Rejection> {
        if token.len() > MAX_LENGTH {
            return Err(Rejection::TooLong);
        }
        let now = self.clock.now();
        // By its hash, so that no usable token lies in memory for long.
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(known) = self.inner.verified.get(&id)
            && now < known.exp
        {
            return Ok(known.caller);
        }
        let (claims, issuer) = token::decode(token, |kid| {
            let (issuer, key) = self.inner.keys.get(kid)?;
            Some((key, issuer.as_str()))
        })?;
        let caller = self.check(&claims, issuer, now)?;
        // Within the leeway after its end a token is verified each time.
        if now < claims.exp {
            let left = Duration::from_secs(claims.exp - now);
            self.inner.verified.insert(id, Verified { caller: caller.clone(), exp: claims.exp, left });
        }
        Ok(caller)
    }

    /// Checks what a token with a good signature claims.
    fn check(&self, claims: &Claims, issuer: &str, now: u64) -> Result<Caller, Rejection> {
        if claims.iss != issuer {
            return Err(Rejection::Issuer);
        }
        let caller = if claims.aud == USER_AUDIENCE {
            if issuer != USER_ISSUER {
                return Err(Rejection::Issuer);
            }
            let id = claims.sub.parse().ok().filter(|id| *id > 0).ok_or(Rejection::Subject)?;
            Caller::User { id, role: claims.role.ok_or(Rejection::Malformed)? }
        } else if claims.aud == self.inner.audience {
            if claims.sub != issuer {
                return Err(Rejection::Subject);
            }
            Caller::Service(issuer.to_owned())
        } else {
            return Err(Rejection::Audience);
        };
        if now >= claims.exp.saturating_add(LEEWAY) {
            return Err(Rejection::Expired);
        }
        if claims.iat > now.saturating_add(LEEWAY) {
            return Err(Rejection::NotYet);
        }
        Ok(caller)
    }
}
