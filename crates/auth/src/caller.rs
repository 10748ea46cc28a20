//! Who a call comes from.

use serde::{Deserialize, Serialize};
use tonic::Status;

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A shopper.
    #[default]
    User,
    /// Someone who runs the shop; may do all that a shopper may.
    Admin,
}

impl Role {
    /// `user` or `admin`, as in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// Who a call comes from; in the request extensions of every call that [`crate::Layer`] admits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Nobody known: no token, or on a public method one that is not valid.
    Anonymous,
    /// A user who has logged in.
    User {
        /// The user's id, from 1.
        id: i64,
        /// What the user may do.
        role: Role,
    },
    /// A service of mall, by name, such as `order.rpc`.
    Service(String),
}

impl Caller {
    /// The caller of this request.
    pub fn of<T>(request: &tonic::Request<T>) -> &Self {
        request.extensions().get().unwrap_or(&Self::Anonymous)
    }

    /// Whether it is a user who runs the shop.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User { role: Role::Admin, .. })
    }

    /// Whether the caller may see what belongs to the user `owner`: that user, an admin, or a service that the method admits.
    pub fn may_see(&self, owner: i64) -> bool {
        match self {
            Self::Anonymous => false,
            Self::User { id, role } => *id == owner || *role == Role::Admin,
            Self::Service(_) => true,
        }
    }

    /// The id of the user who calls, or the status that says why there is none.
    pub fn user_id(&self) -> Result<i64, Status> {
        match self {
            Self::User { id, .. } => Ok(*id),
            Self::Service(_) => Err(Status::permission_denied("only a user may call this method")),
            Self::Anonymous => Err(crate::Rejection::Missing.into()),
        }
    }
}
