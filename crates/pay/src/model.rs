//! What a payment is, its states, and what a provider may say of it.

use rpc::Rule;

/// The payment of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    /// Assigned by the database, from 1.
    pub(crate) id: i64,
    /// The user who pays.
    pub(crate) uid: i64,
    /// The order that is paid.
    pub(crate) oid: i64,
    /// What the order costs, in minor units.
    pub(crate) amount: i64,
    /// By what it was paid, as the provider numbers it; 0 before.
    pub(crate) source: i32,
    pub(crate) status: Status,
}

/// Where a payment stands. The first two numbers are the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Status {
    Pending = 0,
    Paid = 1,
    /// It stays so; the order may have another payment.
    Failed = 2,
    /// It was paid, but the order could not be paid any more.
    RefundDue = 3,
}

impl Status {
    /// Reads a status's number.
    pub(crate) fn parse(number: i16) -> Result<Self, Rule> {
        match number {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Paid),
            2 => Ok(Self::Failed),
            3 => Ok(Self::RefundDue),
            _ => Err("must be 0 to 3"),
        }
    }
}

/// How the provider says a payment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Paid,
    Failed,
}

impl Outcome {
    /// Reads an outcome's number.
    pub(crate) fn parse(number: i32) -> Result<Self, Rule> {
        match number {
            1 => Ok(Self::Paid),
            2 => Ok(Self::Failed),
            _ => Err("must be 1 (paid) or 2 (failed)"),
        }
    }

    /// The state in which it leaves a pending payment.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Paid => Status::Paid,
            Self::Failed => Status::Failed,
        }
    }

    /// Whether a payment in this state has ended so before.
    pub(crate) fn was(self, status: Status) -> bool {
        match self {
            Self::Paid => matches!(status, Status::Paid | Status::RefundDue),
            Self::Failed => status == Status::Failed,
        }
    }
}

/// What the provider says of a payment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback {
    /// The payment.
    pub(crate) id: i64,
    /// The user, if it is said.
    pub(crate) uid: Option<i64>,
    /// The order.
    pub(crate) oid: i64,
    /// What was paid, in minor units.
    pub(crate) amount: i64,
    /// By what it was paid, as the provider numbers it.
    pub(crate) source: i32,
    pub(crate) outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_has_ended_once() {
        use Status::{Failed, Paid, Pending, RefundDue};
        for (outcome, ended) in [(Outcome::Paid, vec![Paid, RefundDue]), (Outcome::Failed, vec![Failed])] {
            for status in [Pending, Paid, Failed, RefundDue] {
                assert_eq!(outcome.was(status), ended.contains(&status), "{outcome:?} {status:?}");
                assert_eq!(Status::parse(status as i16), Ok(status));
            }
        }
        assert!(Status::parse(4).is_err() && Outcome::parse(0).is_err() && Outcome::parse(3).is_err());
    }
}
