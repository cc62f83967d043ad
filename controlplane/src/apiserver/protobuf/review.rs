//! Questions about rights and tokens.

use prost::{DecodeError, Message};
use serde_json::{Map, Value, json};

use super::present;

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessReview {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<AccessReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessReviewSpec {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    pub(super) non_resource: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceAttributes {
    #[prost(string, tag = "1")]
    pub(super) namespace: String,
    #[prost(string, tag = "2")]
    pub(super) verb: String,
    #[prost(string, tag = "3")]
    pub(super) group: String,
    #[prost(string, tag = "4")]
    pub(super) version: String,
    #[prost(string, tag = "5")]
    pub(super) resource: String,
    #[prost(string, tag = "6")]
    pub(super) subresource: String,
    #[prost(string, tag = "7")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) verb: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RulesReview {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<RulesReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RulesReviewSpec {
    #[prost(string, tag = "1")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenRequest {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<TokenRequestSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenRequestSpec {
    #[prost(string, repeated, tag = "1")]
    pub(super) audiences: Vec<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) bound: Option<BoundObject>,
    #[prost(int64, optional, tag = "4")]
    pub(super) seconds: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BoundObject {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) api_version: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenReview {
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<TokenReviewSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenReviewSpec {
    #[prost(string, tag = "1")]
    pub(super) token: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) audiences: Vec<String>,
}

/// A SelfSubjectRulesReview in JSON.
pub(super) fn rules(raw: &[u8]) -> Result<Value, DecodeError> {
    Ok(json!({"spec": {"namespace": RulesReview::decode(raw)?.spec.unwrap_or_default().namespace}}))
}

/// A TokenReview in JSON.
pub(super) fn token(raw: &[u8]) -> Result<Value, DecodeError> {
    let spec = TokenReview::decode(raw)?.spec.unwrap_or_default();
    Ok(json!({"spec": {"token": spec.token, "audiences": spec.audiences}}))
}

/// A TokenRequest in JSON.
pub(super) fn token_request(raw: &[u8]) -> Result<Value, DecodeError> {
    let spec = TokenRequest::decode(raw)?.spec.unwrap_or_default();
    let mut fields = json!({"audiences": spec.audiences});
    if let Some(seconds) = spec.seconds {
        fields["expirationSeconds"] = seconds.into();
    }
    if let Some(bound) = spec.bound {
        fields["boundObjectRef"] = present([
            ("kind", bound.kind),
            ("apiVersion", bound.api_version),
            ("name", bound.name),
            ("uid", bound.uid),
        ]);
    }
    Ok(json!({"spec": fields}))
}

/// A SelfSubjectAccessReview in JSON.
pub(super) fn access(raw: &[u8]) -> Result<Value, DecodeError> {
    let spec = AccessReview::decode(raw)?.spec.unwrap_or_default();
    let mut fields = Map::new();
    if let Some(resource) = spec.resource {
        let attributes = present([
            ("namespace", resource.namespace),
            ("verb", resource.verb),
            ("group", resource.group),
            ("version", resource.version),
            ("resource", resource.resource),
            ("subresource", resource.subresource),
            ("name", resource.name),
        ]);
        fields.insert("resourceAttributes".to_owned(), attributes);
    }
    if let Some(other) = spec.non_resource {
        fields.insert("nonResourceAttributes".to_owned(), present([("path", other.path), ("verb", other.verb)]));
    }
    Ok(json!({"spec": fields}))
}
