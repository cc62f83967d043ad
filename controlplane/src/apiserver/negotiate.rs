//! What form of an answer a client accepts.

use http::HeaderMap;
use http::header::ACCEPT;

use torch_remote_api::status::Status;

use super::failure::Failure;

/// The form objects are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Whole,
    /// As rows of a Table of this version of `meta.k8s.io`.
    Table(&'static str),
    /// Metadata alone.
    Metadata,
}

/// How discovery is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// Group lists, then a document for each version.
    Listed,
    /// All in one, in this version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
}

/// The form to show objects in.
///
/// # Errors
/// None of those accepted is one we make.
pub fn form(headers: &HeaderMap) -> Result<Form, Failure> {
    for range in ranges(headers) {
        if !range.json() {
            continue;
        }
        let version = match (range.parameter("g"), range.parameter("v")) {
            (None | Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
            (None | Some("meta.k8s.io"), _) => "v1",
            _ => continue,
        };
        match range.parameter("as") {
            None => return Ok(Form::Whole),
            Some("Table") => return Ok(Form::Table(version)),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if version == "v1" => {
                return Ok(Form::Metadata);
            }
            Some(_) => {}
        }
    }
    if ranges(headers).next().is_none() {
        Ok(Form::Whole)
    } else {
        Err(Status::not_acceptable(&["application/json"]).into())
    }
}

/// How to show discovery: what is not understood gets the form every client knows.
pub fn discovery(headers: &HeaderMap) -> Discovery {
    ranges(headers)
        .filter(|range| range.json())
        .find_map(|range| match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
            (None, _, _) => Some(Discovery::Listed),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                Some(Discovery::Aggregated("v2"))
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                Some(Discovery::Aggregated("v2beta1"))
            }
            _ => None,
        })
        .unwrap_or(Discovery::Listed)
}

struct Range<'a>(&'a str);

impl Range<'_> {
    fn json(&self) -> bool {
        let media = self.0.split(';').next().unwrap_or("").trim();
        ["application/json", "application/*", "*/*"].iter().any(|ours| media.eq_ignore_ascii_case(ours))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.0.split(';').skip(1).filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = Range<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty()).map(Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())])
    }

    #[test]
    fn the_first_form_we_make_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (accept, wanted) in [
            (kubectl, Form::Table("v1")),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json", Form::Table("v1beta1")),
            ("application/json", Form::Whole),
            ("*/*", Form::Whole),
            ("application/vnd.kubernetes.protobuf,application/json", Form::Whole),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Form::Metadata),
            ("application/json;as=Nonsense;g=meta.k8s.io;v=v1,application/json", Form::Whole),
        ] {
            assert_eq!(form(&accepting(accept)).unwrap(), wanted, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()).unwrap(), Form::Whole);
        assert!(form(&accepting("application/vnd.kubernetes.protobuf")).is_err());
    }

    #[test]
    fn discovery_is_aggregated_for_those_who_ask() {
        let new = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(discovery(&accepting(new)), Discovery::Aggregated("v2"));
        assert_eq!(discovery(&accepting("application/json")), Discovery::Listed);
        assert_eq!(discovery(&HeaderMap::new()), Discovery::Listed);
    }
}
