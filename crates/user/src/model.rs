//! What a user is, and what a name, a gender, a mobile number and a password may be.

use std::fmt;

use redact::Secret;
use rpc::Rule;

/// Someone with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Assigned by the database, from 1.
    pub(crate) id: i64,
    /// What to call them.
    pub(crate) name: Name,
    /// What they said of their gender.
    pub(crate) gender: Gender,
    /// The number they log in with.
    pub(crate) mobile: Mobile,
}

/// Someone who registers.
#[derive(Debug)]
pub(crate) struct Registration {
    /// What to call them.
    pub(crate) name: Name,
    /// What they say of their gender.
    pub(crate) gender: Gender,
    /// The number they will log in with.
    pub(crate) mobile: Mobile,
    /// The password they choose.
    pub(crate) password: Secret<String>,
}

/// Someone who logs in.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// As it was registered.
    pub(crate) mobile: Mobile,
    /// What they take for their password.
    pub(crate) password: Secret<String>,
}

/// A password and the one that takes its place.
#[derive(Debug)]
pub(crate) struct PasswordChange {
    /// The password in use.
    pub(crate) old: Secret<String>,
    /// The next one.
    pub(crate) new: Secret<String>,
}

/// What of a profile is to change.
#[derive(Debug, Default)]
pub(crate) struct ProfileChange {
    /// The new name, if it is to change.
    pub(crate) name: Option<Name>,
    /// The new gender, if it is to change.
    pub(crate) gender: Option<Gender>,
}

/// 1 to 64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Reads a name.
    pub(crate) fn parse(text: String) -> Result<Self, Rule> {
        domain::rules::name(text, 64, "must be 1 to 64 characters, not all blank, without control characters").map(Self)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What a user said of their gender; the numbers are the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Gender {
    /// They did not say.
    Unknown = 0,
    /// Male.
    Male = 1,
    /// Female.
    Female = 2,
}

impl Gender {
    /// Reads a gender's number.
    pub(crate) fn parse(number: i32) -> Result<Self, Rule> {
        match number {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Male),
            2 => Ok(Self::Female),
            _ => Err("must be 0 (unknown), 1 (male) or 2 (female)"),
        }
    }
}

impl From<Gender> for i16 {
    fn from(gender: Gender) -> Self {
        gender as Self
    }
}

/// A mobile number: 5 to 15 digits ([E.164](https://www.itu.int/rec/T-REC-E.164) allows 15), perhaps after a `+`.
///
/// Personal data: it shows in no log, so its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Mobile(String);

impl Mobile {
    /// Reads a mobile number.
    pub(crate) fn parse(text: String) -> Result<Self, Rule> {
        let digits = text.strip_prefix('+').unwrap_or(&text);
        if (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text))
        } else {
            Err("must be 5 to 15 digits, with or without a leading +")
        }
    }

    /// The number as it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Mobile> for String {
    fn from(mobile: Mobile) -> Self {
        mobile.0
    }
}

impl fmt::Debug for Mobile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mobile(***)")
    }
}

/// The most characters of a password: enough for any, too few to make hashing one an attack.
const LONGEST_PASSWORD: usize = 128;

/// Reads a password that is to be set: 6 to 128 characters.
pub(crate) fn new_password(text: String) -> Result<Secret<String>, Rule> {
    if (6..=LONGEST_PASSWORD).contains(&text.chars().count()) {
        Ok(Secret::new(text))
    } else {
        Err("must be 6 to 128 characters")
    }
}

/// Reads a password that is to be compared with the one that was set.
pub(crate) fn tried_password(text: String) -> Result<Secret<String>, Rule> {
    if text.chars().count() <= LONGEST_PASSWORD { Ok(Secret::new(text)) } else { Err("must be at most 128 characters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "Zoë", "李雷", &"x".repeat(64), &"é".repeat(64)] {
            assert_eq!(String::from(Name::parse(good.to_owned()).unwrap()), good);
        }
        for bad in ["", "  ", "a\nb", "\u{0}", &"x".repeat(65)] {
            assert!(Name::parse(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mobiles() {
        for good in ["15838607661", "+8615838607661", "12345"] {
            assert_eq!(Mobile::parse(good.to_owned()).unwrap().as_str(), good);
        }
        for bad in
            ["", "+", "1234", "1234567890123456", "+1234567890123456", "1583860766a", "١٢٣٤٥", "++12345", "12345+"]
        {
            assert!(Mobile::parse(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Mobile::parse("15838607661".to_owned()).unwrap()), "Mobile(***)");
    }

    #[test]
    fn genders() {
        assert_eq!((0..3).map(|n| Gender::parse(n).unwrap() as i16).collect::<Vec<_>>(), [0, 1, 2]);
        for bad in [-1, 3, i32::MAX] {
            assert!(Gender::parse(bad).is_err());
        }
    }

    #[test]
    fn passwords() {
        assert!(new_password("12345".to_owned()).is_err());
        assert!(new_password("123456".to_owned()).is_ok());
        assert!(new_password("密".repeat(128)).is_ok());
        assert!(new_password("x".repeat(129)).is_err());
        assert!(tried_password("x".to_owned()).is_ok());
        assert!(tried_password("x".repeat(129)).is_err());
    }
}
