//! GPU types, and how many of one are asked for.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suggest;

/// A type of GPU by the name clouds sell it under, or `CPU` for machines without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are their own description")]
pub enum GpuType {
    T4,
    L4,
    A10G,
    #[serde(rename = "A100-40GB")]
    A100_40GB,
    #[serde(rename = "A100-80GB")]
    A100_80GB,
    L40S,
    H100,
    H200,
    B200,
    #[serde(rename = "CPU")]
    Cpu,
}

impl GpuType {
    /// Every type, from small to large, `CPU` last.
    pub const ALL: [Self; 10] = [
        Self::T4,
        Self::L4,
        Self::A10G,
        Self::A100_40GB,
        Self::A100_80GB,
        Self::L40S,
        Self::H100,
        Self::H200,
        Self::B200,
        Self::Cpu,
    ];

    /// The name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::T4 => "T4",
            Self::L4 => "L4",
            Self::A10G => "A10G",
            Self::A100_40GB => "A100-40GB",
            Self::A100_80GB => "A100-80GB",
            Self::L40S => "L40S",
            Self::H100 => "H100",
            Self::H200 => "H200",
            Self::B200 => "B200",
            Self::Cpu => "CPU",
        }
    }

    /// Memory of one, in GiB as sold; `None` for `CPU`.
    pub const fn memory_gib(self) -> Option<u64> {
        match self {
            Self::T4 => Some(16),
            Self::L4 | Self::A10G => Some(24),
            Self::A100_40GB => Some(40),
            Self::A100_80GB | Self::H100 => Some(80),
            Self::L40S => Some(48),
            Self::H200 => Some(141),
            Self::B200 => Some(192),
            Self::Cpu => None,
        }
    }
}

impl fmt::Display for GpuType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is no GPU type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown GPU type {given:?}: choose one of {}{hint}", all())]
pub struct Unknown {
    given: String,
    hint: String,
}

fn all() -> String {
    GpuType::ALL.map(GpuType::as_str).join(", ")
}

impl FromStr for GpuType {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|gpu| gpu.as_str() == text).ok_or_else(|| {
            let near = suggest::nearest(text, Self::ALL.iter().map(|gpu| gpu.as_str()));
            let hint =
                if near.is_empty() { String::new() } else { format!("; did you mean {}?", suggest::either(&near)) };
            Unknown { given: text.to_owned(), hint }
        })
    }
}

/// GPUs of a machine: all of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gpu {
    /// Type of GPU, or `CPU` for a machine without one.
    #[serde(rename = "type")]
    pub gpu_type: GpuType,
    /// How many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub count: u32,
}

impl fmt::Display for Gpu {
    /// `H100`, or `2xH100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 1 { write!(f, "{}", self.gpu_type) } else { write!(f, "{}x{}", self.count, self.gpu_type) }
    }
}

/// The default of counts.
pub(crate) fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_name_in_text_and_json() {
        for gpu in GpuType::ALL {
            assert_eq!(gpu.as_str().parse(), Ok(gpu));
            assert_eq!(serde_json::to_value(gpu).ok(), Some(gpu.as_str().into()));
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_what_exists_and_what_is_near() {
        let text = "A100".parse::<GpuType>().expect_err("has two sizes").to_string();
        assert_eq!(
            text,
            "unknown GPU type \"A100\": choose one of T4, L4, A10G, A100-40GB, A100-80GB, L40S, H100, H200, B200, CPU; did you mean \"A100-40GB\" or \"A100-80GB\"?"
        );
    }
}
