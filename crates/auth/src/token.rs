//! JSON Web Tokens in compact form, signed with Ed25519 and with nothing else (RFC 7519, RFC 8037).

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::Role;
use crate::keys::{SigningKey, VerifyingKey};

/// The longest token that is looked at, in bytes; ours have about 300.
pub(crate) const MAX_LENGTH: usize = 8 * 1024;

/// Why a token was not accepted: for the log, since a caller learns less.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Rejection {
    #[error("there is no token")]
    Missing,
    #[error("there are several authorization headers")]
    Several,
    #[error("it is too long")]
    TooLong,
    #[error("it is malformed")]
    Malformed,
    #[error("its algorithm is not EdDSA")]
    Algorithm,
    #[error("its key is unknown")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its issuer is not the owner of its key")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("its subject is wrong")]
    Subject,
    #[error("it was issued in the future")]
    NotYet,
    #[error("it has expired")]
    Expired,
}

impl From<Rejection> for Status {
    /// Says no more than a caller needs, lest a forger learn what to try next.
    fn from(rejection: Rejection) -> Self {
        Self::unauthenticated(match rejection {
            Rejection::Missing => "a token is needed: send `authorization: Bearer TOKEN`",
            Rejection::Expired => "the token has expired",
            _ => "the token is not valid",
        })
    }
}

/// What a token says.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<Role>,
}

#[derive(Deserialize, Serialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(skip_serializing)]
    crit: Option<IgnoredAny>,
}

/// A signed token with these claims.
pub(crate) fn encode(key: &SigningKey, claims: &Claims) -> String {
    let header = Header { alg: "EdDSA".into(), kid: Some(key.kid().into()), crit: None };
    let mut token = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    BASE64.encode_string(signature, &mut token);
    token
}

/// The claims of a token signed by the key that `find` gives for its `kid`, with what `find` said of that key.
pub(crate) fn decode<'a, T>(
    token: &str,
    find: impl FnOnce(&str) -> Option<(&'a VerifyingKey, T)>,
) -> Result<(Claims, T), Rejection> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Rejection::Malformed)?;
    let header = BASE64.decode(header).map_err(|_| Rejection::Malformed)?;
    let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| Rejection::Malformed)?;
    if header.alg != "EdDSA" {
        return Err(Rejection::Algorithm);
    }
    // RFC 7515 4.1.11: an extension that must be understood is none of ours.
    if header.crit.is_some() {
        return Err(Rejection::Malformed);
    }
    let (key, of) = header.kid.and_then(|kid| find(&kid)).ok_or(Rejection::UnknownKey)?;
    let signature = BASE64.decode(signature).map_err(|_| Rejection::Malformed)?;
    if !key.verifies(signed.as_bytes(), &signature) {
        return Err(Rejection::Signature);
    }
    Ok((unpart(claims)?, of))
}

#[expect(clippy::expect_used, reason = "strings and numbers always serialize")]
fn part(value: &impl Serialize) -> String {
    BASE64.encode(serde_json::to_vec(value).expect("strings and numbers serialize"))
}

fn unpart<T: DeserializeOwned>(part: &str) -> Result<T, Rejection> {
    let json = BASE64.decode(part).map_err(|_| Rejection::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Rejection::Malformed)
}
