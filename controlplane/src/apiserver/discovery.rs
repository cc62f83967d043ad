//! What there is, for clients: groups, resources and schemas. Made once; with ETags, since every cold kubectl asks for all of it.

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use torch_remote_api::discovery::{AGGREGATED, Discovery, self_reviews, services};
use torch_remote_api::openapi;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::negotiate;

const JSON: &str = "application/json";

/// Every document, by path; under `path aggregated VERSION` in the form of that version.
#[derive(Debug)]
pub struct Documents(BTreeMap<String, Document>);

#[derive(Debug)]
struct Document {
    content_type: &'static str,
    etag: String,
    body: Bytes,
}

impl Documents {
    /// Makes them.
    pub fn new() -> Self {
        let discovery = Discovery::new(self_reviews().into_iter().chain([services()]));
        let mut documents = BTreeMap::new();
        let mut add = |path: String, content_type, body: Bytes| {
            let etag = format!("\"{}\"", hex::encode(Sha256::digest(&body)));
            documents.insert(path, Document { content_type, etag, body });
        };
        let text = |value: &Value| Bytes::from(value.to_string());
        add("/api".to_owned(), JSON, text(&discovery.api_versions()));
        add("/apis".to_owned(), JSON, text(&discovery.group_list()));
        for (content_type, version) in AGGREGATED {
            add(format!("/api aggregated {version}"), content_type, text(&discovery.aggregated_core(version)));
            add(format!("/apis aggregated {version}"), content_type, text(&discovery.aggregated_groups(version)));
        }
        let groups = discovery.group_list();
        add("/api/v1".to_owned(), JSON, text(&discovery.resource_list("", "v1").unwrap_or_default()));
        for group in groups["groups"].as_array().into_iter().flatten() {
            let name = group["name"].as_str().unwrap_or("");
            add(format!("/apis/{name}"), JSON, text(&discovery.group(name).unwrap_or_default()));
            for version in
                group["versions"].as_array().into_iter().flatten().filter_map(|version| version["version"].as_str())
            {
                let list = discovery.resource_list(name, version).unwrap_or_default();
                add(format!("/apis/{name}/{version}"), JSON, text(&list));
            }
        }
        let schemas = openapi::documents();
        add("/openapi/v3".to_owned(), JSON, text(&openapi::index(&schemas)));
        for schema in &schemas {
            add(format!("/openapi/v3/{}", schema.path), JSON, text(&schema.body));
        }
        add("/openapi/v2".to_owned(), openapi::V2_TYPE, Bytes::from_static(&openapi::V2));
        Self(documents)
    }

    /// Paths of all documents.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|path| !path.contains(' '))
    }

    /// The document at a path, or the news that the client's copy is still good.
    ///
    /// # Errors
    /// 404.
    pub fn answer(&self, path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let aggregated = match negotiate::discovery(headers) {
            negotiate::Discovery::Aggregated(version) => self.0.get(&format!("{path} aggregated {version}")),
            negotiate::Discovery::Listed => None,
        };
        let document = aggregated.or_else(|| self.0.get(path)).ok_or_else(Status::no_such_path)?;
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known =
            known.flat_map(|value| value.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == document.etag);
        let mut response = Response::new(if known { axum::body::Body::empty() } else { document.body.clone().into() });
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(document.content_type));
        fields.insert(VARY, HeaderValue::from_static("Accept"));
        if let Ok(etag) = HeaderValue::from_str(&document.etag) {
            fields.insert(ETAG, etag);
        }
        Ok(response)
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self::new()
    }
}
