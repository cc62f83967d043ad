//! Request bodies: read within bounds, and parsed as what their Content-Type says.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use torch_remote_api::status::Status;

use super::failure::Failure;
use super::protobuf;
use crate::document::Document;

/// Largest body taken, bytes: none makes an object that the store would not take.
pub use crate::store::bounds::LARGEST;

/// Longest time a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Reads the whole body.
///
/// # Errors
/// It is too large, too slow, or broke off.
pub async fn read(body: Body) -> Result<Bytes, Failure> {
    read_within(body, ARRIVAL).await
}

async fn read_within(body: Body, limit: Duration) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(limit, Limited::new(body, LARGEST).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::too_large(LARGEST).into()),
        Ok(Err(_)) => Err(Failure::bad_request("the request's body broke off".to_owned())),
        Err(_) => Err(Status::timeout("the request's body did not arrive within 30 s", 1).into()),
    }
}

/// The media type of the body, without parameters; JSON when nothing is said.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    value.split(';').next().unwrap_or("").trim()
}

/// Parses an object.
///
/// # Errors
/// It is not what its Content-Type says, or that is nothing we read.
pub fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Document, Failure> {
    match media_type(headers) {
        "application/json" => json(bytes),
        "application/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(bytes).map_err(|error| Failure::bad_request(error.to_string()))?;
            Ok(Document { value, duplicates: Vec::new() })
        }
        _ => Err(Status::unsupported_media_type(&["application/json", "application/yaml"]).into()),
    }
}

/// Parses JSON.
///
/// # Errors
/// It is not JSON.
pub fn json(bytes: &[u8]) -> Result<Document, Failure> {
    Document::json(bytes).map_err(|error| Failure::bad_request(format!("the body is not valid JSON: {error}")))
}

/// Parses what is to be applied: JSON is YAML too, but for tabs between its words.
///
/// # Errors
/// It is not YAML, or no object.
pub fn configuration(bytes: &[u8]) -> Result<Document, Failure> {
    let json = bytes.trim_ascii_start().starts_with(b"{").then(|| Document::json(bytes).ok()).flatten();
    let read = json.map_or_else(|| Document::yaml(bytes), Ok);
    read.map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))
}

/// Parses YAML.
///
/// # Errors
/// It is not YAML.
pub fn yaml(bytes: &[u8]) -> Result<Document, Failure> {
    Document::yaml(bytes).map_err(|error| Failure::bad_request(format!("the body is not valid YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up_with_a_status() {
        let body = Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>());
        let refused = read_within(body, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.status().http_code(), 504);
        assert_eq!(refused.status().message, "Timeout: the request's body did not arrive within 30 s");
    }
}
