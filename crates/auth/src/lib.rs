//! Who is calling, and whether they may: keys, tokens, passwords, access rules.
//!
//! A service puts [`Layer`] in front of its handlers and asks [`Caller::of`] in them; user.rpc alone has a
//! [`UserSigner`], and every service that calls another a [`ServiceSigner`].
#![warn(missing_docs)]

pub mod callback;
mod caller;
mod clock;
mod config;
mod error;
pub mod keys;
mod layer;
pub mod limit;
mod outgoing;
pub mod password;
mod rules;
mod signer;
mod token;
mod verifier;

pub use callback::{BadSignature, CallbackKey};
pub use caller::{Caller, Role};
pub use clock::Clock;
pub use config::Config;
pub use error::Error;
pub use layer::{Certified, Layer, Service};
pub use outgoing::Outgoing;
pub use rules::Rules;
pub use signer::{ServiceSigner, Token, UserSigner};
pub use token::Rejection;
pub use verifier::Verifier;

/// The one service whose key signs users' tokens.
pub const USER_ISSUER: &str = "user.rpc";

/// The audience of users' tokens; no service may have this name.
pub const USER_AUDIENCE: &str = "mall";
