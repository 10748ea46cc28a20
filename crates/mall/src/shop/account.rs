//! A shopper's account: a new one, and the token that it gets.

use std::hash::{BuildHasher as _, RandomState};

use gateway::Api;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use proto::user::v1::{LoginRequest, LoginResponse, RegisterRequest};

use super::Ask;

/// An account that no one else has.
pub(crate) struct Account {
    pub(crate) mobile: String,
    password: String,
}

/// What a shopper who is logged in sends along.
#[derive(Clone)]
pub(crate) struct Token(pub(super) HeaderValue);

impl Account {
    /// The numbers are so many that those of two runs do not meet.
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        Self {
            mobile: format!("1{:014}", random.hash_one("mobile") % 100_000_000_000_000),
            password: format!("{:016x}", random.hash_one("password")),
        }
    }

    pub(crate) fn register(&self) -> serde_json::Result<Ask> {
        let Self { mobile, password } = self;
        let register =
            RegisterRequest { name: "Ada".to_owned(), gender: 2, mobile: mobile.clone(), password: password.clone() };
        Ask::message(Api::User, "/api/user/register", &register)
    }

    pub(crate) fn log_in(&self) -> serde_json::Result<Ask> {
        let Self { mobile, password } = self;
        let login = LoginRequest { mobile: mobile.clone(), password: password.clone() };
        Ask::message(Api::User, "/api/user/login", &login)
    }
}

impl Token {
    pub(crate) fn new(login: &LoginResponse) -> Result<Self, InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", login.access_token))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}
