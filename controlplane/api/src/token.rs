//! Claims of the tokens (JWT, EdDSA) the control plane signs. Each has a header `typ` and an audience of its own, so that none can stand in for another
//! (RFC 8725). Verifiers require `exp`, `nbf`, `iat`, `aud`, `iss`, `sub` and refuse every algorithm but EdDSA.

use serde::{Deserialize, Serialize};

/// Header `typ` of a token for the API server.
pub const API_TYPE: &str = "api+jwt";
/// Header `typ` of a token that opens a lease's session with an executor.
pub const LEASE_TYPE: &str = "lease+jwt";
/// Header `typ` of a token for a machine's Control service.
pub const CONTROL_TYPE: &str = "control+jwt";
/// Audience of API tokens.
pub const API_AUDIENCE: &str = "torch-remote-api";
/// Longest life of a service account's token unless the configuration says otherwise, and the life of one that asks for none, seconds.
pub const ACCOUNT_SECONDS: i64 = 3600;
/// Longest life of a lease token, seconds.
pub const LEASE_SECONDS: i64 = 300;
/// Longest life of a control token, seconds.
pub const CONTROL_SECONDS: i64 = 60;

/// Claims common to all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The control plane's issuer URL.
    pub iss: String,
    /// User name (`admin`, `system:serviceaccount:NS:NAME`), or `control-plane`.
    pub sub: String,
    /// [`API_AUDIENCE`], or a machine's uid.
    pub aud: String,
    /// Seconds since the epoch.
    pub exp: i64,
    /// Seconds since the epoch.
    pub nbf: i64,
    /// Seconds since the epoch.
    pub iat: i64,
    /// Unique id.
    pub jti: String,
}

/// `api+jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiClaims {
    /// Common claims.
    #[serde(flatten)]
    pub registered: Registered,
    /// Groups of the user.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Of a service account's token: the account it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountClaim>,
}

/// The ServiceAccount that a token was made for. Without it, or with another of that name, the token is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClaim {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Version of the store at which it was there: a replica that has not seen that one yet waits until it has.
    pub version: i64,
    /// A Secret of the namespace that the token ends with too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<BoundClaim>,
}

/// An object that a token ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundClaim {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// `lease+jwt`: opens the one session of a lease on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClaims {
    /// Common claims; `aud` is the machine's uid.
    #[serde(flatten)]
    pub registered: Registered,
    /// `metadata.uid` of the DeviceLease.
    pub lease: String,
    /// The slots it opens, each at one epoch.
    pub slots: Vec<SlotEpoch>,
    /// A new process may take the session over.
    #[serde(default)]
    pub attach: bool,
}

/// A slot and the epoch it was bound at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotEpoch {
    /// Index of the slot on the machine.
    pub slot: u32,
    /// Fencing number.
    pub epoch: u64,
}

/// `control+jwt`: one Control call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlClaims {
    /// Common claims; `aud` is the machine's uid.
    #[serde(flatten)]
    pub registered: Registered,
    /// The replica's claim number on this machine; a lower one than seen is refused.
    pub claim: u64,
}
