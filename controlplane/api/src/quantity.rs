//! Amounts of memory and processors in Kubernetes' notation: `24Gi`, `512Mi`, `4`, `500m`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in thousandths, kept as it was written. Two that are written differently are different, though equal in [`Quantity::units`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quantity {
    text: String,
    thousandths: u128,
}

impl Quantity {
    /// Whole units (bytes for memory, processors for cpu), rounded up.
    pub fn units(&self) -> u64 {
        u64::try_from(self.thousandths.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// Thousandths (millicpu).
    pub fn thousandths(&self) -> u128 {
        self.thousandths
    }

    /// Exactly so many bytes.
    pub fn bytes(bytes: u64) -> Self {
        Self { text: bytes.to_string(), thousandths: u128::from(bytes) * 1000 }
    }
}

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a number with a unit.
    #[error(
        "not a quantity: use a number with an optional unit (Ki, Mi, Gi, Ti, k, M, G, T, or m for thousandths), such as \"24Gi\", \"4\" or \"500m\""
    )]
    Syntax,
    /// Over what fits.
    #[error("too large: at most 8Ei")]
    TooLarge,
}

const LARGEST: u128 = (1 << 63) * 1000;

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number_len = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, unit) = text.split_at(number_len);
        let factor: u128 = match unit {
            "m" => 1,
            "" => 1000,
            "k" => 1_000_000,
            "M" => 1_000_000_000,
            "G" => 1_000_000_000_000,
            "T" => 1_000_000_000_000_000,
            "Ki" => 1000 << 10,
            "Mi" => 1000 << 20,
            "Gi" => 1000 << 30,
            "Ti" => 1000 << 40,
            _ => return Err(Error::Syntax),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(Error::Syntax);
        }
        let whole: u64 = whole.parse().map_err(|_| Error::TooLarge)?;
        let parts: u128 = fraction.parse().map_err(|_| Error::Syntax)?;
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| Error::Syntax)?);
        let thousandths =
            u128::from(whole).checked_mul(factor).ok_or(Error::TooLarge)? + (parts * factor).div_ceil(scale);
        if thousandths > LARGEST { Err(Error::TooLarge) } else { Ok(Self { text: text.to_owned(), thousandths }) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "format": "quantity"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_kubernetes() {
        for (text, thousandths) in [
            ("500m", 500),
            ("4", 4000),
            ("1.5", 1500),
            ("2k", 2_000_000),
            ("3M", 3_000_000_000),
            ("1G", 1_000_000_000_000),
            ("1T", 1_000_000_000_000_000),
            ("1Ki", 1_024_000),
            ("1Mi", 1_048_576_000),
            ("24Gi", 24 * 1_073_741_824 * 1000),
            ("1Ti", 1_099_511_627_776_000),
        ] {
            assert_eq!(text.parse::<Quantity>().map(|q| q.thousandths()), Ok(thousandths), "{text}");
        }
        assert_eq!(serde_json::from_str::<Quantity>("4").map(|q| q.units()).ok(), Some(4));
    }

    #[test]
    fn other_texts_say_what_is_allowed() {
        for text in ["", "lots", "-1", "1 Gi", "Gi", "1.Gi", "1gi"] {
            assert_eq!(text.parse::<Quantity>(), Err(Error::Syntax), "{text}");
        }
        assert_eq!("9999999999999999Ti".parse::<Quantity>(), Err(Error::TooLarge));
        assert!(Error::Syntax.to_string().contains("\"24Gi\""));
    }
}
