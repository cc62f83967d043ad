//! Secret (core/v1): values that only those who may read them see. No error here shows a value.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    field::{Cause, FieldError},
    object::ObjectMeta,
};

/// Most bytes of all values of a Secret together.
pub const LARGEST: usize = 1024 * 1024;

/// A Secret.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// `v1`.
    #[serde(default)]
    #[schemars(skip)]
    pub api_version: String,
    /// `Secret`.
    #[serde(default)]
    #[schemars(skip)]
    pub kind: String,
    /// Name, labels and what the server keeps about it.
    #[serde(default)]
    #[schemars(skip)]
    pub metadata: ObjectMeta,
    /// Values by name, in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Bytes>")]
    pub data: BTreeMap<String, String>,
    /// Values by name, as text. Written into data; never shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: BTreeMap<String, String>,
    /// What it is for; some types need certain names in data. Cannot be changed.
    #[serde(default = "opaque", rename = "type")]
    pub secret_type: String,
    /// Data can never be changed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

/// Schema of bytes in base64.
struct Bytes;

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "byte"})
    }
}

fn opaque() -> String {
    "Opaque".to_owned()
}

/// Takes `stringData` up into `data` and writes base64 in its one canonical form, as the server does at each write.
///
/// # Errors
/// A value is not base64; the text says where, in Kubernetes' words.
pub fn complete(secret: &mut Value) -> Result<(), String> {
    let texts = secret.as_object_mut().and_then(|fields| fields.remove("stringData"));
    if let Some(data) = secret["data"].as_object_mut() {
        for (name, value) in data.iter_mut() {
            if let Some(text) = value.as_str() {
                *value =
                    canonical(text).map_err(|at| format!("data.{name}: illegal base64 data at input byte {at}"))?;
            }
        }
    }
    match texts {
        Some(Value::Object(texts)) if !texts.is_empty() => {
            if secret["data"].is_null() {
                secret["data"] = json!({});
            }
            // Of the wrong type: validation says so.
            for (name, text) in secret["data"].is_object().then_some(texts).into_iter().flatten() {
                let value = text.as_str().map(|text| STANDARD.encode(text).into());
                secret["data"][name] = value.unwrap_or(text);
            }
        }
        None | Some(Value::Null | Value::Object(_)) => {}
        // Of the wrong type: left where validation finds it.
        Some(other) => secret["stringData"] = other,
    }
    if secret["data"].is_null()
        && let Some(fields) = secret.as_object_mut()
    {
        fields.remove("data");
    }
    Ok(())
}

fn canonical(text: &str) -> Result<Value, usize> {
    use base64::DecodeError;
    let lines: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    match STANDARD.decode(&lines) {
        Ok(bytes) => Ok(STANDARD.encode(bytes).into()),
        Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => Err(at),
        Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => Err(lines.len()),
    }
}

/// Rules over several fields, and of what cannot be changed.
pub(crate) fn rule(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let data = new["data"].as_object();
    let mut bytes = 0;
    for (name, value) in data.into_iter().flatten() {
        if let Some(problem) = bad_name(name) {
            errors.push(FieldError::invalid(format!("data[{name}]"), name.as_str().into(), problem));
        }
        bytes += value.as_str().map_or(0, |text| STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len()));
    }
    if bytes > LARGEST {
        let detail = format!("may not be more than {LARGEST} bytes");
        errors.push(FieldError::new(Cause::TooLong, "data", Value::Null, detail));
    }
    errors.extend(needed(new["type"].as_str().unwrap_or_default(), &|name| {
        data.is_some_and(|data| data.contains_key(name))
    }));
    let Some(old) = old else { return errors };
    if new["type"] != old["type"] {
        errors.push(FieldError::invalid("type", new["type"].clone(), "field is immutable"));
    }
    if old["immutable"] == true {
        for field in ["immutable", "data"].into_iter().filter(|field| new[*field] != old[*field]) {
            errors.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
    errors
}

fn bad_name(name: &str) -> Option<&'static str> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() > 253 {
        return Some("must be no more than 253 characters");
    }
    (name.is_empty() || !name.bytes().all(fine)).then_some(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    )
}

/// What data of this type must have.
fn needed(of_type: &str, has: &dyn Fn(&str) -> bool) -> Vec<FieldError> {
    let all = |names: &[&str]| {
        let missing = names.iter().filter(|name| !has(name));
        missing.map(|name| FieldError::required(format!("data[{name}]"), "")).collect()
    };
    match of_type {
        "kubernetes.io/tls" => all(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => all(&["ssh-privatekey"]),
        "kubernetes.io/dockerconfigjson" => all(&[".dockerconfigjson"]),
        "kubernetes.io/dockercfg" => all(&[".dockercfg"]),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => all(&["username", "password"]),
        "kubernetes.io/service-account-token" => vec![FieldError::forbidden(
            "type",
            "tokens that never end are not made here; `kubectl create token NAME` makes one that does",
        )],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::aggregate;

    fn completed(mut secret: Value) -> Result<Value, String> {
        complete(&mut secret).map(|()| secret)
    }

    #[test]
    fn text_becomes_data_and_wins_over_it() {
        let secret = json!({"data": {"a": "b2xk", "b": "a2VwdA=="}, "stringData": {"a": "new", "c": ""}});
        let expected = json!({"data": {"a": "bmV3", "b": "a2VwdA==", "c": ""}});
        assert_eq!(completed(secret), Ok(expected));
        assert_eq!(completed(json!({"stringData": {}, "data": null})), Ok(json!({})));
        assert_eq!(completed(json!({"data": {"a": "a2Vw\ndA==\r\n"}})), Ok(json!({"data": {"a": "a2VwdA=="}})));
    }

    #[test]
    fn what_is_not_base64_is_refused_and_not_shown() {
        for (text, at) in [("hunter2!", 7), ("abc", 3), ("a===", 1), ("YQ=", 3)] {
            let error = completed(json!({"data": {"password": text}})).unwrap_err();
            assert_eq!(error, format!("data.password: illegal base64 data at input byte {at}"), "{text}");
        }
    }

    fn judged(new: Value, old: Option<Value>) -> String {
        aggregate(&rule(&new, old.as_ref()))
    }

    #[test]
    fn names_sizes_and_types_are_judged_without_showing_values() {
        assert_eq!(judged(json!({"type": "Opaque", "data": {"a.b-c_D": "eA=="}}), None), "[]");
        let text = judged(json!({"type": "Opaque", "data": {"a b": "c2VjcmV0"}}), None);
        assert!(
            text.starts_with("data[a b]: Invalid value: \"a b\": a valid config key must") && !text.contains("c2V")
        );
        let large = STANDARD.encode(vec![b'x'; LARGEST + 1]);
        let text = judged(json!({"type": "Opaque", "data": {"a": large}}), None);
        assert_eq!(text, "data: Too long: may not be more than 1048576 bytes");
        assert_eq!(judged(json!({"type": "Opaque", "data": {"a": STANDARD.encode(vec![b'x'; LARGEST])}}), None), "[]");
        let text = judged(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), None);
        assert_eq!(text, "data[tls.key]: Required value");
    }

    #[test]
    fn types_and_immutable_data_stay_as_they_are() {
        let old = json!({"type": "Opaque", "immutable": true, "data": {"a": "b2xk"}});
        assert_eq!(judged(old.clone(), Some(old.clone())), "[]");
        let text = judged(json!({"type": "mine", "data": {"a": "bmV3"}}), Some(old));
        assert_eq!(
            text,
            "[type: Invalid value: \"mine\": field is immutable, immutable: Forbidden: field is immutable when `immutable` is set, data: Forbidden: field is immutable when `immutable` is set]"
        );
    }
}
