//! Signs tokens: user.rpc for users, every service for itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::keys::{self, SigningKey};
use crate::token::{self, Claims};
use crate::{Clock, Config, Error, Role, USER_AUDIENCE, USER_ISSUER};

/// A user's token.
#[derive(Clone, Eq, PartialEq)]
pub struct Token {
    /// To be sent as `authorization: Bearer <value>`.
    pub value: String,
    /// When it ends, in seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Signs users' tokens; only user.rpc has the key for it.
#[derive(Clone)]
pub struct UserSigner {
    key: Arc<SigningKey>,
    life: Duration,
    clock: Clock,
}

impl UserSigner {
    /// Reads user.rpc's key.
    pub fn load(config: &Config) -> Result<Self, Error> {
        let key = Arc::new(keys::read_signing(&config.keys, USER_ISSUER)?.0);
        Ok(Self { key, life: config.user_token, clock: Clock::default() })
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// A token that says who its bearer is and what they may do, until it expires.
    pub fn issue(&self, id: i64, role: Role) -> Token {
        let iat = self.clock.now();
        let exp = iat.saturating_add(self.life.as_secs());
        let claims = Claims {
            iss: USER_ISSUER.to_owned(),
            sub: id.to_string(),
            aud: USER_AUDIENCE.to_owned(),
            iat,
            exp,
            role: Some(role),
        };
        Token { value: token::encode(&self.key, &claims), expires_at: i64::try_from(exp).unwrap_or(i64::MAX) }
    }
}

impl fmt::Debug for UserSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSigner").field("kid", &self.key.kid()).finish_non_exhaustive()
    }
}

/// Signs a service's own tokens, each for one peer.
#[derive(Clone)]
pub struct ServiceSigner {
    inner: Arc<Inner>,
    clock: Clock,
}

struct Inner {
    name: String,
    key: SigningKey,
    life: u64,
    /// By peer: the token in use and the second from which another is made.
    tokens: Mutex<HashMap<String, (String, u64)>>,
}

impl ServiceSigner {
    /// Reads the key of the service `name`.
    pub fn load(config: &Config, name: &str) -> Result<Self, Error> {
        let (key, _) = keys::read_signing(&config.keys, name)?;
        let life = config.service_token.as_secs();
        let inner = Inner { name: name.to_owned(), key, life, tokens: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), clock: Clock::default() })
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The token to send to the service `peer`: the last one, or when a quarter of its life is left, a new one.
    pub fn token_for(&self, peer: &str) -> String {
        let now = self.clock.now();
        let Inner { name, key, life, tokens } = &*self.inner;
        let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, renew)) = tokens.get(peer)
            && now < *renew
        {
            return token.clone();
        }
        let claims = Claims {
            iss: name.clone(),
            sub: name.clone(),
            aud: peer.to_owned(),
            iat: now,
            exp: now.saturating_add(*life),
            role: None,
        };
        let token = token::encode(key, &claims);
        tokens.insert(peer.to_owned(), (token.clone(), now.saturating_add(life - life / 4)));
        token
    }
}

impl fmt::Debug for ServiceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, key, .. } = &*self.inner;
        f.debug_struct("ServiceSigner").field("name", name).field("kid", &key.kid()).finish_non_exhaustive()
    }
}
