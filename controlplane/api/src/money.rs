//! Money as decimal text, exact to a millionth: `"3.95"`. The currency is the Provider's.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in millionths of the currency's unit; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(u64);

const SCALE: u64 = 1_000_000;

impl Money {
    /// From millionths of the currency's unit.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Millionths of the currency's unit.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// What a price per hour comes to over a time, rounded down.
    pub fn over(self, time: std::time::Duration) -> Self {
        let micros = u128::from(self.0) * time.as_millis() / 3_600_000;
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The sum; stays at the largest amount instead of overflowing.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not digits with at most one point.
    #[error("not an amount: use digits and at most six decimals in quotes, such as \"3.95\" or \"120\"")]
    Syntax,
    /// Over what fits.
    #[error("too large: at most 1000000000")]
    TooLarge,
}

impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(Error::Syntax);
        }
        let whole: u64 = whole.parse().map_err(|_| Error::TooLarge)?;
        if whole > 1_000_000_000 {
            return Err(Error::TooLarge);
        }
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| Error::Syntax)?;
        Ok(Self(whole * SCALE + fraction))
    }
}

impl fmt::Display for Money {
    /// At least two decimals: `3.95`, `120.00`, `0.000164`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % SCALE);
        let shown = fraction.trim_end_matches('0');
        write!(f, "{}.{shown:0<2}", self.0 / SCALE)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Money {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "money"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!("3.95".parse(), Ok(Money(3_950_000)));
        assert_eq!("120".parse(), Ok(Money(120_000_000)));
        assert_eq!(Money(120_000_000).to_string(), "120.00");
        assert_eq!(Money(164).to_string(), "0.000164");
        assert_eq!(Money(3_600_000).over(std::time::Duration::from_secs(1)), Money(1000));
    }

    #[test]
    fn other_texts_say_what_is_allowed() {
        for text in ["", "$3", "3,95", "-1", ".5", "1.", "1.2.3", "0.1234567", "cheap"] {
            assert_eq!(text.parse::<Money>(), Err(Error::Syntax), "{text}");
        }
        assert_eq!("1000000001".parse::<Money>(), Err(Error::TooLarge));
        assert!(Error::Syntax.to_string().contains("\"3.95\""));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0..=1_000_000_000 * SCALE) {
            prop_assert_eq!(Money(micros).to_string().parse(), Ok(Money(micros)));
        }
    }
}
