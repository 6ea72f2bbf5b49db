//! Selects sessions by their ID, or by its beginning.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The first hexadecimal digits of a session ID, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionIdPrefix {
    /// The digits as the highest bits, with zeros below.
    bits: u128,
    /// Has a bit set for each bit of the digits.
    mask: u128,
}

/// A text that is not the beginning of a session ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionIdError;

impl fmt::Display for SessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a UUID, or at least its first 4 hexadecimal digits")
    }
}

impl std::error::Error for SessionIdError {}

/// Minimum number of digits. Fewer would match many sessions.
const MIN_DIGITS: u32 = 4;

/// Offsets of the hyphens in the text of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl SessionIdPrefix {
    /// Returns whether a session ID begins with these digits.
    #[must_use]
    pub fn matches(self, id: Uuid) -> bool {
        id.as_u128() & self.mask == self.bits
    }
}

impl From<Uuid> for SessionIdPrefix {
    fn from(id: Uuid) -> Self {
        Self { bits: id.as_u128(), mask: u128::MAX }
    }
}

impl FromStr for SessionIdPrefix {
    type Err = SessionIdError;

    /// Parses a UUID in any format, or its beginning with or without hyphens.
    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(id.into());
        }
        let is_hyphenated = text.contains('-');
        let (mut bits, mut digits) = (0, 0);
        for (at, c) in text.chars().enumerate() {
            if is_hyphenated && HYPHENS.contains(&at) && c == '-' {
                continue;
            }
            let is_misplaced = is_hyphenated && HYPHENS.contains(&at);
            let digit = c.to_digit(16).filter(|_| !is_misplaced && digits < 32).ok_or(SessionIdError)?;
            bits = bits << 4 | u128::from(digit);
            digits += 1;
        }
        if digits < MIN_DIGITS {
            return Err(SessionIdError);
        }
        let unused = u128::BITS - 4 * digits;
        Ok(Self { bits: bits << unused, mask: u128::MAX << unused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0f6c9f3e-3d53-4f0b-9f4c-0d9a3b1d7a55";

    proptest! {
        #[test]
        fn every_beginning_of_an_id_matches_it_and_no_other(id in any::<u128>(), other in any::<u128>(), len in 4_usize..36) {
            let (id, other) = (Uuid::from_u128(id), Uuid::from_u128(other));
            let hyphenated = id.to_string()[..len].to_owned();
            for text in [hyphenated.clone(), hyphenated.replace('-', ""), hyphenated.to_uppercase()] {
                let prefix: SessionIdPrefix = text.parse().expect(&text);
                prop_assert!(prefix.matches(id), "{} of {}", text, id);
                prop_assert_eq!(prefix.matches(other), other.to_string().starts_with(&hyphenated), "{} of {}", text, other);
            }
        }
    }

    #[test]
    fn a_whole_id_may_have_any_format() {
        let id: Uuid = ID.parse().expect("a UUID");
        for text in [ID.to_owned(), id.simple().to_string(), id.urn().to_string(), id.braced().to_string()] {
            assert_eq!(text.parse(), Ok(SessionIdPrefix::from(id)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for text in
            ["", "0f6", "0f6-", "0f6x", "0f6c-9f3e", "0f6c9f3e3-d53", "-0f6c9f3e", "0f6c 9f3e", &format!("{ID}0")]
        {
            assert_eq!(text.parse::<SessionIdPrefix>(), Err(SessionIdError), "{text}");
        }
    }
}
