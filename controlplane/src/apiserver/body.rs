//! Request bodies: read within bounds, and parsed as what their Content-Type says.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use torch_remote_api::status::Status;

use super::failure::Failure;
use super::protobuf;
use crate::document::Document;

/// Largest body taken, bytes: none makes an object that the store would not take.
pub use crate::store::bounds::LARGEST;

/// Bytes read of what is too large, so that the client hears it.
const DRAINED: usize = 4 * LARGEST;

/// Longest time a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Longest time for what is read of one that is too large, and thrown away.
const LINGER: Duration = Duration::from_secs(5);

/// Reads the whole body.
///
/// # Errors
/// It is too large, too slow, or broke off.
pub async fn read(body: Body) -> Result<Bytes, Failure> {
    read_within(body, ARRIVAL, LINGER).await
}

async fn read_within(mut body: Body, arrival: Duration, linger: Duration) -> Result<Bytes, Failure> {
    match timeout(arrival, Limited::new(&mut body, LARGEST).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            drop(timeout(linger, drain(body)).await);
            Err(Status::too_large(LARGEST).into())
        }
        Ok(Err(_)) => Err(Failure::bad_request("the request's body broke off".to_owned())),
        Err(_) => Err(Status::timeout("the request's body did not arrive within 30 s", 1).into()),
    }
}

/// Reads on and keeps nothing: a connection that is closed on a client that still sends takes the answer with it.
async fn drain(mut body: Body) {
    let mut left = DRAINED;
    while left > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len).max(1));
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_too_large_is_taken_to_its_end_so_that_the_answer_is_heard() {
        let sent = Arc::new(AtomicUsize::new(0));
        let body = |parts: usize| {
            let (sent, part) = (sent.clone(), Bytes::from(vec![b' '; LARGEST / 4]));
            Body::from_stream(stream::iter(0..parts).map(move |_| {
                sent.fetch_add(part.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(part.clone())
            }))
        };
        let refused = read(body(8)).await.unwrap_err();
        assert_eq!((refused.status().http_code(), sent.swap(0, Ordering::Relaxed)), (413, 2 * LARGEST));
        assert_eq!(read(body(1000)).await.unwrap_err().status().http_code(), 413);
        assert!(sent.load(Ordering::Relaxed) < 6 * LARGEST, "not for ever");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_and_does_not_end_is_refused_for_its_size() {
        let whole = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b' '; LARGEST + 1]))]);
        let body = Body::from_stream(whole.chain(stream::pending()));
        let refused = read_within(body, Duration::ZERO, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.status().http_code(), 413);
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up_with_a_status() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let refused = read_within(body, Duration::ZERO, LINGER).await.unwrap_err();
        assert_eq!(refused.status().http_code(), 504);
        assert_eq!(refused.status().message, "Timeout: the request's body did not arrive within 30 s");
    }
}
