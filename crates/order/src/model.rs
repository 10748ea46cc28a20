//! What an order is, its states, and which of them lead where.

use std::fmt;

use domain::rules;
use rpc::{Invalid, Rule};

/// What someone has ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Assigned by the database, from 1.
    pub(crate) id: i64,
    /// The user who ordered.
    pub(crate) uid: i64,
    /// The product.
    pub(crate) pid: i64,
    /// Units.
    pub(crate) quantity: i64,
    /// The price of a unit when the order was made, in minor units.
    pub(crate) unit_price: i64,
    /// The price of all units.
    pub(crate) amount: i64,
    pub(crate) status: Status,
    /// The payment that paid it.
    pub(crate) payment: Option<i64>,
    /// In milliseconds since 1970.
    pub(crate) created_at: i64,
}

/// Where an order stands. The numbers below 2 are the reference's, in which an order is there or paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Status {
    /// Its units are held, and it is to be paid.
    Placed = 0,
    Paid = 1,
    /// It is done with.
    Closed = 2,
    /// It is written down, and its units may or may not be held.
    Pending = 3,
    /// There were no units for it.
    Rejected = 4,
    /// It was given up, and its units may or may not have been given back.
    Cancelling = 5,
    Cancelled = 6,
}

impl Status {
    pub(crate) const ALL: [Self; 7] =
        [Self::Placed, Self::Paid, Self::Closed, Self::Pending, Self::Rejected, Self::Cancelling, Self::Cancelled];

    /// Reads a status's number.
    pub(crate) fn parse(number: i32) -> Result<Self, Rule> {
        let known = Self::ALL.into_iter().find(|status| *status as i32 == number);
        known.ok_or(
            "must be 0 (placed), 1 (paid), 2 (closed), 3 (pending), 4 (rejected), 5 (cancelling) or 6 (cancelled)",
        )
    }

    /// As it is told to people, and counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Closed => "closed",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether an order may go from here to there: docs/orders.md draws it.
    pub(crate) fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Placed | Self::Rejected | Self::Cancelling),
            Self::Placed => matches!(next, Self::Paid | Self::Cancelling),
            Self::Paid => next == Self::Closed,
            Self::Cancelling => next == Self::Cancelled,
            Self::Closed | Self::Rejected | Self::Cancelled => false,
        }
    }

    /// Whether nothing becomes of it any more.
    pub(crate) fn is_final(self) -> bool {
        Self::ALL.into_iter().all(|next| !self.leads_to(next))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What someone wants to order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) uid: i64,
    pub(crate) pid: i64,
    pub(crate) quantity: i64,
    /// What they think it costs, if they say so.
    pub(crate) amount: Option<i64>,
    /// Names the wish among the user's: a second one with the same key is the same one.
    pub(crate) key: Option<String>,
}

impl Wish {
    /// What all units cost at this price each; an error if that is not what the user thinks, or too much to be a number.
    pub(crate) fn cost(&self, unit_price: i64) -> Result<i64, Invalid> {
        let amount = unit_price.checked_mul(self.quantity);
        let amount = amount.ok_or_else(|| Invalid::field("quantity", "makes the order too expensive to be counted"))?;
        self.agrees(amount)?;
        Ok(amount)
    }

    /// Whether the user thinks so too, or does not say.
    pub(crate) fn agrees(&self, amount: i64) -> Result<(), Invalid> {
        rules::agrees(self.amount, &amount).map_err(|rule| Invalid::field("amount", rule))
    }

    /// Whether it is the wish that became this order.
    pub(crate) fn is(&self, order: &Order) -> bool {
        (self.uid, self.pid, self.quantity) == (order.uid, order.pid, order.quantity)
    }
}

/// Reads a number of units.
pub(crate) fn quantity(quantity: i64) -> Result<i64, Rule> {
    if (1..=1000).contains(&quantity) { Ok(quantity) } else { Err("must be 1 to 1000") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(quantity: i64, amount: Option<i64>) -> Wish {
        Wish { uid: 1, pid: 1, quantity, amount, key: None }
    }

    #[test]
    fn a_total_is_never_wrapped() {
        assert_eq!(wish(3, None).cost(7).unwrap(), 21);
        assert_eq!(wish(1000, None).cost(0).unwrap(), 0);
        assert_eq!(wish(1, None).cost(i64::MAX).unwrap(), i64::MAX);
        assert!(wish(2, None).cost(i64::MAX).unwrap_err().to_string().starts_with("quantity"));
        assert!(wish(1000, None).cost(i64::MAX / 999).unwrap_err().to_string().starts_with("quantity"));
    }

    #[test]
    fn the_user_must_agree_with_the_cost() {
        assert_eq!(wish(2, Some(10)).cost(5).unwrap(), 10);
        assert!(wish(2, Some(9)).cost(5).unwrap_err().to_string().starts_with("amount"));
    }

    #[test]
    fn every_status_is_read_as_it_is_written() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status as i32), Ok(status));
        }
        assert!(Status::parse(-1).is_err() && Status::parse(7).is_err());
    }

    #[test]
    fn the_ends_are_closed_rejected_and_cancelled() {
        let ends: Vec<_> = Status::ALL.into_iter().filter(|status| status.is_final()).collect();
        assert_eq!(ends, [Status::Closed, Status::Rejected, Status::Cancelled]);
    }
}
