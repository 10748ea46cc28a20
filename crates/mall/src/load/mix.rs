//! Which operations there are, and how often each is chosen.

use std::str::FromStr;

/// Something that a shopper does, measured as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Looks at the list of products, or at one of them.
    Browse,
    /// Orders, and does not pay.
    Order,
    /// Orders and pays.
    Pay,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Browse, Self::Order, Self::Pay];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Browse => "browse",
            Self::Order => "order",
            Self::Pay => "pay",
        }
    }
}

/// The operations that occur, each with its share of the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix(Vec<(Operation, u32)>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMix {
    #[error("write each part as NAME=SHARE, such as browse=70")]
    Form,
    #[error("there is no operation `{0}`: use browse, order and pay")]
    Name(String),
    #[error("`{0}` occurs twice")]
    Twice(&'static str),
    #[error("at least one share must be above 0")]
    Empty,
}

impl Mix {
    pub(super) fn has(&self, operation: Operation) -> bool {
        self.0.iter().any(|(other, _)| *other == operation)
    }

    /// The operation to which an evenly distributed number leads.
    pub(super) fn choose(&self, random: u64) -> Operation {
        let sum: u64 = self.0.iter().map(|(_, share)| u64::from(*share)).sum();
        let mut left = random % sum.max(1);
        for (operation, share) in &self.0 {
            match left.checked_sub(u64::from(*share)) {
                Some(rest) => left = rest,
                None => return *operation,
            }
        }
        Operation::Browse
    }
}

impl FromStr for Mix {
    type Err = BadMix;

    fn from_str(text: &str) -> Result<Self, BadMix> {
        let mut shares: Vec<(Operation, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.trim().split_once('=').ok_or(BadMix::Form)?;
            let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name);
            let operation = operation.ok_or_else(|| BadMix::Name(name.to_owned()))?;
            if shares.iter().any(|(other, _)| *other == operation) {
                return Err(BadMix::Twice(operation.name()));
            }
            shares.push((operation, share.parse().map_err(|_| BadMix::Form)?));
        }
        shares.retain(|(_, share)| *share > 0);
        if shares.is_empty() { Err(BadMix::Empty) } else { Ok(Self(shares)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_names_with_shares() {
        let mix: Mix = "browse=1, pay=2,order=0".parse().unwrap();
        assert_eq!(mix, Mix(vec![(Operation::Browse, 1), (Operation::Pay, 2)]));
        assert!(mix.has(Operation::Pay) && !mix.has(Operation::Order));
        for (text, error) in [
            ("", BadMix::Form),
            ("browse", BadMix::Form),
            ("browse=-1", BadMix::Form),
            ("steal=1", BadMix::Name("steal".to_owned())),
            ("pay=1,pay=2", BadMix::Twice("pay")),
            ("pay=0", BadMix::Empty),
        ] {
            assert_eq!(text.parse::<Mix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn each_operation_is_chosen_as_often_as_its_share_says() {
        let mix: Mix = "browse=70,order=20,pay=10".parse().unwrap();
        let times = |operation| (0..1000).filter(|random| mix.choose(*random) == operation).count();
        assert_eq!(Operation::ALL.map(times), [700, 200, 100]);
    }
}
