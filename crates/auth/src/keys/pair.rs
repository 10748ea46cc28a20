//! Ed25519 keys, their PEM forms (RFC 8410) and their ids (RFC 7638).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use redact::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::Error;

/// What precedes the 32 bytes of a private key in PKCS#8, version 1, which every tool reads.
const PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// What precedes the 32 bytes of a public key in SubjectPublicKeyInfo.
const SPKI: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// A key that signs.
pub(crate) struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key and its PEM form.
    pub(crate) fn generate() -> Result<(Self, Secret<String>), Error> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| Error::Random)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| Error::Random)?;
        Ok((Self::new(pair), Secret::new(pem("PRIVATE KEY", &PKCS8, &seed))))
    }

    /// The first private key of a PEM text.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
        // "Maybe unchecked" because OpenSSL leaves the public half out, so that there is nothing to check.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok().map(Self::new)
    }

    fn new(pair: Ed25519KeyPair) -> Self {
        Self { kid: thumbprint(pair.public_key().as_ref()), pair }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn sign(&self, message: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.pair.sign(message)
    }

    /// The PEM form of the public half.
    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &SPKI, self.pair.public_key().as_ref())
    }
}

/// A key that verifies.
#[derive(Debug)]
pub(crate) struct VerifyingKey(UnparsedPublicKey<[u8; 32]>);

impl VerifyingKey {
    /// The first public key of a PEM text.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
        let bytes = der.as_ref().strip_prefix(&SPKI)?.try_into().ok()?;
        Some(Self(UnparsedPublicKey::new(&ED25519, bytes)))
    }

    pub(crate) fn kid(&self) -> String {
        thumbprint(self.0.as_ref())
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature).is_ok()
    }
}

/// RFC 7638: the SHA-256 of the key as a JWK with its required members in order.
fn thumbprint(public: &[u8]) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, jwk.as_bytes()))
}

/// A PEM text; a key of this kind fits on one line of it.
fn pem(label: &str, prefix: &[u8], key: &[u8]) -> String {
    let body = BASE64_STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
