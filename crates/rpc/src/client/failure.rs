//! Why a call was not answered, and whether it may be sent again.

use std::error::Error as _;
use std::sync::Arc;

use discovery::Address;
use tonic::Status;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody knows where the peer is, or it is nowhere.
    #[error("no endpoint of {0} is known")]
    Nowhere(String),
    /// No endpoint takes connections.
    #[error("connect to {address}")]
    Connect { address: Address, source: Arc<dyn std::error::Error + Send + Sync> },
    /// The connection broke, or the endpoint broke the call off.
    #[error("the call to {address} broke off")]
    Broken { address: Address, source: hyper::Error },
    /// The request cannot be sent.
    #[error("encode the request")]
    Message(#[source] Status),
}

/// What a peer did with a call that was sent and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It ends, and says that it has not looked at it: it is safe to send it again.
    Unprocessed,
    /// It has too many calls, and has not looked at this one.
    Refused,
    /// Nobody knows what it did.
    Broken,
    /// It broke this one call off, on purpose.
    BrokenOff,
    /// It says itself that it cannot do it now, whether it began or not.
    Unavailable,
}

impl Fate {
    pub(super) fn of(error: &hyper::Error) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
            // Only calls behind the last one that the peer took up see its GOAWAY.
            Some(error) if error.is_remote() && error.is_go_away() => Self::Unprocessed,
            Some(error) if error.is_remote() && error.is_reset() => match error.reason() {
                Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
                _ => Self::BrokenOff,
            },
            _ => Self::Broken,
        }
    }

    /// Whether it speaks against the peer: that one ends in an orderly way does not.
    pub(super) fn is_fault(self) -> bool {
        matches!(self, Self::Refused | Self::Broken)
    }

    /// Its name among the values of an attribute.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unprocessed | Self::Refused => "unprocessed",
            Self::Broken | Self::BrokenOff => "broken",
            Self::Unavailable => "unavailable",
        }
    }
}
