//! Objects, lists and single events in the form the client accepts.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::Utc;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WARNING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use torch_remote_api::Kind;
use torch_remote_api::table::{Include, partial, table};

use super::failure::Failure;
use super::negotiate::{self, Form};
use super::parameters::{Continue, Parameters};
use crate::store::{Key, List};

/// Characters of a warning, before it is quoted.
const LONGEST_WARNING: usize = 256;
/// Bytes of all warnings of an answer: clients refuse answers whose headers are too long.
const ALL_WARNINGS: usize = 4096;

/// How to show objects of a kind.
#[derive(Debug, Clone, Copy)]
pub struct View {
    kind: &'static Kind,
    form: Form,
    include: Include,
}

impl View {
    /// From the request.
    ///
    /// # Errors
    /// The client accepts nothing we make, or `includeObject` is no word we know.
    pub fn of(kind: &'static Kind, headers: &HeaderMap, parameters: &Parameters) -> Result<Self, Failure> {
        let form = negotiate::form(headers)?;
        let word = parameters.get("includeObject").unwrap_or("");
        let include = Include::parse(word).ok_or_else(|| {
            Failure::bad_request(format!("includeObject must be None, Metadata or Object, not {word:?}"))
        })?;
        Ok(Self { kind, form, include })
    }

    /// Whether objects are shown as they are stored.
    pub fn as_stored(&self) -> bool {
        matches!(self.form, Form::Whole) && !self.kind.translated()
    }

    /// The text of a list of objects that are shown as they are stored, from theirs. There is more after `last`, if it is given.
    pub fn list_text<'a>(
        &self,
        version: i64,
        last: Option<&Key>,
        remaining: Option<i64>,
        items: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<u8> {
        let last = last.map(|last| (last.namespace.as_str(), last.name.as_str()));
        let metadata = Value::Object(metadata(version, last, remaining));
        let (kind, api_version) = (self.kind.list_kind(), self.kind.api_version());
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
        let mut text = head.into_bytes();
        for (place, item) in items.enumerate() {
            if place > 0 {
                text.push(b',');
            }
            text.extend_from_slice(item);
        }
        text.extend_from_slice(b"]}");
        text
    }

    /// One object. `first`: of a watch's Tables only the first names its columns.
    pub fn object(&self, object: &Value, first: bool) -> Value {
        let object = self.kind.shown(object);
        match self.form {
            Form::Whole => object.into_owned(),
            Form::Metadata => partial(&object),
            Form::Table(version) => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                versioned(table(self.kind, [&*object], metadata, self.include, first, Utc::now()), version)
            }
        }
    }

    /// What says that a watch has seen everything up to a version.
    pub fn bookmark(&self, version: i64, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (api_version, kind) = match self.form {
            Form::Metadata => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
            Form::Whole | Form::Table(_) => (self.kind.api_version(), self.kind.kind),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        match self.form {
            Form::Table(version) => {
                let mut empty = table(self.kind, [], metadata, self.include, false, Utc::now());
                // The row carries the annotation to clients that unpack rows.
                empty["rows"] =
                    json!([{"cells": self.kind.columns.iter().map(|_| "").collect::<Vec<_>>(), "object": object}]);
                versioned(empty, version)
            }
            Form::Whole | Form::Metadata => object,
        }
    }

    /// A list.
    pub fn list(&self, list: &List) -> Value {
        let last = list.items.last().filter(|_| list.more);
        self.list_until(list, last.map(|last| (last.namespace(), last.name())))
    }

    /// A list that was read up to `last`, a namespace and a name, if there is more.
    pub fn list_until(&self, list: &List, last: Option<(&str, &str)>) -> Value {
        let metadata = metadata(list.resource_version, last, list.remaining);
        let shown: Vec<_> = list.items.iter().map(|object| self.kind.shown(&object.body)).collect();
        let items = shown.iter().map(|object| &**object);
        match self.form {
            Form::Whole => json!({
                "kind": self.kind.list_kind(), "apiVersion": self.kind.api_version(), "metadata": metadata, "items": items.collect::<Vec<_>>(),
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": items.map(partial).collect::<Vec<_>>(),
            }),
            Form::Table(version) => {
                versioned(table(self.kind, items, metadata.into(), self.include, true, Utc::now()), version)
            }
        }
    }
}

/// Of a list of that version; there is more after `last`, if it is given.
fn metadata(version: i64, last: Option<(&str, &str)>, remaining: Option<i64>) -> Map<String, Value> {
    let mut metadata = Map::from_iter([("resourceVersion".to_owned(), version.to_string().into())]);
    if let Some((namespace, name)) = last {
        let next = Continue { rv: version, ns: namespace.to_owned(), name: name.to_owned() };
        metadata.insert("continue".to_owned(), next.token().into());
        if let Some(remaining) = remaining {
            metadata.insert("remainingItemCount".to_owned(), remaining.into());
        }
    }
    metadata
}

fn versioned(mut table: Value, version: &str) -> Value {
    if version != "v1" {
        table["apiVersion"] = format!("meta.k8s.io/{version}").into();
    }
    table
}

/// An answer of JSON that nobody may keep.
pub fn answer(code: StatusCode, body: &Value, warnings: &[String]) -> Response {
    let mut response = answer_text(body.to_string().into());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    let mut room = ALL_WARNINGS;
    for warning in warnings.iter().map(|warning| warned(warning)) {
        let Some(left) = room.checked_sub(warning.len()) else { break };
        room = left;
        headers.append(WARNING, warning);
    }
    response
}

/// The text of JSON that nobody may keep.
pub fn answer_text(text: Bytes) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A warning as RFC 7234 quotes it; a long one is cut.
fn warned(text: &str) -> HeaderValue {
    let plain: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let cut = match plain.char_indices().nth(LONGEST_WARNING) {
        None => plain,
        Some(_) => plain.chars().take(LONGEST_WARNING - 3).chain("...".chars()).collect(),
    };
    let quoted = cut.replace('\\', "\\\\").replace('"', "\\\"");
    let value = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes());
    value.expect("a header takes all but control characters, and there are none left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_quoted_and_cut_and_never_breaks_the_header() {
        let said = |text: &str| warned(text).as_bytes().to_vec();
        assert_eq!(said(r#"unknown field "a\b""#), br#"299 - "unknown field \"a\\b\"""#);
        assert_eq!(said("two\r\nlines"), br#"299 - "two  lines""#);
        assert_eq!(said("größer"), "299 - \"größer\"".as_bytes());
        let long = said(&"x".repeat(400));
        assert_eq!(long.len(), "299 - \"\"".len() + LONGEST_WARNING);
        assert!(long.ends_with(b"...\""));
    }

    #[test]
    fn many_warnings_are_too_many() {
        let many: Vec<String> = (0..100).map(|number| format!("{number}: {}", "x".repeat(200))).collect();
        let answer = answer(StatusCode::OK, &json!({}), &many);
        let said: Vec<usize> = answer.headers().get_all(WARNING).iter().map(HeaderValue::len).collect();
        assert!(said.len() > 10 && said.iter().sum::<usize>() <= ALL_WARNINGS, "{said:?}");
    }
}
