//! What a product is, and what may be said of it.

use rpc::Rule;

/// Something that is, or was, for sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    /// Assigned by the database, from 1.
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) description: String,
    /// Units that can be sold: what orders hold is not among them.
    pub(crate) stock: i64,
    /// The price of one unit in minor units.
    pub(crate) amount: i64,
    pub(crate) status: Status,
}

/// A product that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewProduct {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) stock: i64,
    pub(crate) amount: i64,
    pub(crate) status: Status,
}

/// What of a product is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) stock: Option<StockChange>,
    pub(crate) amount: Option<i64>,
    pub(crate) status: Option<Status>,
}

/// How the stock is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StockChange {
    /// To this number of units.
    To(i64),
    /// By this number of units, which takes some where it is below 0: right whatever is sold at the same time.
    By(i64),
}

/// Which products of all a list has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) status: Option<Status>,
    /// In the name, in lower case; empty for all.
    pub(crate) text: String,
}

/// Whether a product can be bought; the numbers are the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub(crate) enum Status {
    OnSale = 0,
    OffSale = 1,
}

impl Status {
    /// Reads a status's number.
    pub(crate) fn parse(number: i32) -> Result<Self, Rule> {
        match number {
            0 => Ok(Self::OnSale),
            1 => Ok(Self::OffSale),
            _ => Err("must be 0 (on sale) or 1 (off sale)"),
        }
    }
}

/// Units that a stock has at most: so far from what 64 bits can hold that giving units back never gets there.
pub(crate) const MOST_STOCK: i64 = 1_000_000_000_000;

/// Reads a number of units in stock.
pub(crate) fn stock(units: i64) -> Result<i64, Rule> {
    if (0..=MOST_STOCK).contains(&units) { Ok(units) } else { Err("must be 0 to 1000000000000") }
}

/// Reads a number of units by which a stock changes.
pub(crate) fn stock_change(units: i64) -> Result<i64, Rule> {
    let fits = (-MOST_STOCK..=MOST_STOCK).contains(&units);
    if fits { Ok(units) } else { Err("must be -1000000000000 to 1000000000000") }
}

/// Reads a product's name.
pub(crate) fn name(text: String) -> Result<String, Rule> {
    domain::rules::name(text, 255, "must be 1 to 255 characters, not all blank, without control characters")
}

/// Reads a product's description.
pub(crate) fn description(text: String) -> Result<String, Rule> {
    domain::rules::text(text, 2000, "must be at most 2000 characters, without NUL")
}

/// Reads the text of a filter.
pub(crate) fn searched(text: String) -> Result<String, Rule> {
    domain::rules::text(text, 255, "must be at most 255 characters, without NUL").map(|text| text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_statuses_are_read() {
        assert_eq!(Status::parse(0), Ok(Status::OnSale));
        assert_eq!(Status::parse(1), Ok(Status::OffSale));
        assert!(Status::parse(-1).is_err() && Status::parse(2).is_err());
    }

    #[test]
    fn a_searched_text_is_in_lower_case() {
        assert_eq!(searched("ÄPFEL".to_owned()), Ok("äpfel".to_owned()));
        assert!(searched("x".repeat(256)).is_err());
    }
}
