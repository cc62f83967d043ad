//! Errors of fields, in Kubernetes' texts.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is missing.
    Required,
    /// Its value is not allowed.
    Invalid,
    /// Its value is not one of those that are.
    NotSupported,
    /// Its value is there already.
    Duplicate,
    /// It may not be set, or not now.
    Forbidden,
    /// Its value is of another type.
    TypeInvalid,
    /// Its text is too long.
    TooLong,
    /// It has too many items.
    TooMany,
    /// What it names does not exist.
    NotFound,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Required,
        Self::Invalid,
        Self::NotSupported,
        Self::Duplicate,
        Self::Forbidden,
        Self::TypeInvalid,
        Self::TooLong,
        Self::TooMany,
        Self::NotFound,
    ];

    /// The words before the value.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }

    /// `reason` of the cause in a Status.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }
}

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub cause: Cause,
    /// Full path, such as `spec.gpu.type`.
    pub field: String,
    /// The value that is wrong; not shown for Required, Forbidden and TooLong.
    pub value: Value,
    /// More words; may be empty.
    pub detail: String,
}

impl FieldError {
    /// An error from its parts.
    pub fn new(cause: Cause, field: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        Self { cause, field: field.into(), value, detail: detail.into() }
    }

    /// `Invalid`.
    pub fn invalid(field: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        Self::new(Cause::Invalid, field, value, detail)
    }

    /// `Required`.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Cause::Required, field, Value::Null, detail)
    }

    /// `Forbidden`.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Cause::Forbidden, field, Value::Null, detail)
    }

    /// An update that does not say which version it changes.
    pub fn no_resource_version() -> Self {
        Self::invalid("metadata.resourceVersion", 0.into(), "must be specified for an update")
    }

    /// The text without the path: `Unsupported value: "x": supported values: ...`. It is the cause's `message` in a Status.
    pub fn body(&self) -> String {
        let mut text = self.cause.words().to_owned();
        if !matches!(self.cause, Cause::Required | Cause::Forbidden | Cause::TooLong) {
            text.push_str(": ");
            // Resource versions are unsigned, which Kubernetes shows in base 16.
            let unsigned = self.field == "metadata.resourceVersion" && self.value == 0;
            text.push_str(&if unsigned { "0x0".to_owned() } else { self.value.to_string() });
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Several errors in one text: the one, or `[a, b]`; each once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_kubernetes() {
        let show = |cause, detail: &str| FieldError::new(cause, "spec.x", "v".into(), detail).to_string();
        assert_eq!(show(Cause::Required, ""), "spec.x: Required value");
        assert_eq!(show(Cause::Invalid, "no"), r#"spec.x: Invalid value: "v": no"#);
        assert_eq!(show(Cause::TypeInvalid, "no"), r#"spec.x: Invalid value: "v": no"#);
        assert_eq!(
            show(Cause::NotSupported, r#"supported values: "a""#),
            r#"spec.x: Unsupported value: "v": supported values: "a""#
        );
        assert_eq!(show(Cause::Duplicate, ""), r#"spec.x: Duplicate value: "v""#);
        assert_eq!(show(Cause::Forbidden, "no"), "spec.x: Forbidden: no");
        assert_eq!(
            show(Cause::TooLong, "may not be more than 3 bytes"),
            "spec.x: Too long: may not be more than 3 bytes"
        );
        assert_eq!(show(Cause::NotFound, ""), r#"spec.x: Not found: "v""#);
        let many = FieldError::new(Cause::TooMany, "spec.x", 5.into(), "must have at most 3 items");
        assert_eq!(many.to_string(), "spec.x: Too many: 5: must have at most 3 items");
        let text = FieldError::no_resource_version().to_string();
        assert_eq!(text, "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update");
        for cause in Cause::ALL {
            assert!(cause.reason().starts_with("FieldValue"));
        }
    }

    #[test]
    fn several_errors_stand_in_brackets_each_once() {
        let a = FieldError::required("a", "");
        assert_eq!(aggregate(&[a.clone(), a.clone()]), "a: Required value");
        assert_eq!(aggregate(&[a, FieldError::required("b", "")]), "[a: Required value, b: Required value]");
    }
}
