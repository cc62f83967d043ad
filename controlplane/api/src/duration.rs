//! Durations as people write them in manifests: `90s`, `15m`, `8h`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration that can be written: ten years.
pub const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A span of time in whole milliseconds, written as whole numbers with the units `d`, `h`, `m`, `s`, `ms`, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(time::Duration);

impl Duration {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// From whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// From whole hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self::from_secs(hours * 3600)
    }

    /// From milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// Whole milliseconds, as wires and SQL have it.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whole seconds, rounded down.
    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// As the standard library's type.
    pub const fn get(self) -> time::Duration {
        self.0
    }

    /// As chrono's type, to add to a [`crate::time::Time`].
    pub fn chrono(self) -> chrono::TimeDelta {
        chrono::TimeDelta::from_std(self.0).unwrap_or(chrono::TimeDelta::MAX)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not numbers with units.
    #[error(
        "not a duration: use whole numbers with units d, h, m, s or ms, such as \"90s\", \"15m\", \"8h\" or \"1h30m\""
    )]
    Syntax,
    /// Units in the wrong order, or one twice.
    #[error("units must go from large to small, each once, such as \"1h30m\"")]
    Order,
    /// Over [`LONGEST`].
    #[error("longer than ten years (87600h)")]
    TooLong,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        let mut next_unit = 0;
        if rest.is_empty() {
            return Err(Error::Syntax);
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (unit, after) = after.split_at(letters);
            if number.is_empty() {
                return Err(Error::Syntax);
            }
            let position = UNITS.iter().position(|(name, _)| *name == unit).ok_or(Error::Syntax)?;
            if position < next_unit {
                return Err(Error::Order);
            }
            next_unit = position + 1;
            let part =
                number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[position].1)).ok_or(Error::TooLong)?;
            milliseconds = milliseconds.checked_add(part).ok_or(Error::TooLong)?;
            rest = after;
        }
        let duration = Self::from_millis(milliseconds);
        if duration > LONGEST { Err(Error::TooLong) } else { Ok(duration) }
    }
}

impl fmt::Display for Duration {
    /// Hours are the largest unit written: `36h`, `1h30m`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in &UNITS[1..] {
            if rest >= *size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "duration"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_people_are_read() {
        for (text, seconds) in
            [("90s", 90), ("15m", 900), ("8h", 28_800), ("1h30m", 5400), ("2d", 172_800), ("0s", 0), ("1m0s", 60)]
        {
            assert_eq!(text.parse::<Duration>(), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!("250ms".parse::<Duration>(), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn other_texts_say_what_is_allowed() {
        for text in ["soon", "", "5", "h", "1.5h", "-5m", "5 m", "8H", "1h 30m", "5x"] {
            assert_eq!(text.parse::<Duration>(), Err(Error::Syntax), "{text}");
        }
        assert!(Error::Syntax.to_string().contains("\"8h\""));
        assert_eq!("30m1h".parse::<Duration>(), Err(Error::Order));
        assert_eq!("1h1h".parse::<Duration>(), Err(Error::Order));
        assert_eq!("87601h".parse::<Duration>(), Err(Error::TooLong));
        assert_eq!("99999999999999999999h".parse::<Duration>(), Err(Error::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0..=LONGEST.as_millis()) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }
    }
}
