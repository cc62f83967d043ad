//! Query parameters of the verbs, parsed once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::USER_AGENT;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use torch_remote_api::field::{Cause, FieldError};

use super::failure::Failure;

/// The longest a watch lasts that names no time, and the shortest; in between by chance, so that watchers do not return all at once.
const WATCH_SECONDS: std::ops::Range<u64> = 1800..3600;
/// The longest a watch may ask for.
const LONGEST_WATCH: Duration = Duration::from_secs(24 * 3600);

/// All query parameters.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a URL's query.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(uri: &http::Uri) -> Result<Self, Failure> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        pairs
            .map(|pairs| Self(pairs.0))
            .map_err(|error| Failure::bad_request(format!("the query is malformed: {error}")))
    }

    /// The first value of that name; an empty one is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value.as_str()))
    }

    /// Every value of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// As Kubernetes reads truth: there, and not `false` or `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.all(name).next().is_some_and(|value| !matches!(value, "false" | "0"))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Failure::bad_request(format!("{name} must be a whole number and not negative, not {text:?}"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Whether nothing is to be kept of a write.
    ///
    /// # Errors
    /// A value that is not `All`.
    pub fn dry_run(&self, options: &str) -> Result<bool, Failure> {
        dry_run(options, &self.all("dryRun").filter(|value| !value.is_empty()).collect::<Vec<_>>())
    }

    /// What the writer calls itself: `fieldManager`, or else what its User-Agent begins with. `options` is how Kubernetes calls the
    /// parameters of the verb.
    ///
    /// # Errors
    /// The name is too long or cannot be printed.
    pub fn writer(&self, options: &str, headers: &HeaderMap) -> Result<String, Failure> {
        let Some(name) = self.get("fieldManager") else {
            let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
            let agent = agent.unwrap_or_default();
            let printable = agent.split('/').next().unwrap_or_default().chars().filter(|letter| !letter.is_control());
            return Ok(printable.take(LONGEST_WRITER).collect());
        };
        let mut wrong = Vec::new();
        if name.len() > LONGEST_WRITER {
            let most = format!("may not be more than {LONGEST_WRITER} bytes");
            wrong.push(FieldError::new(Cause::TooLong, "fieldManager", name.into(), most));
        }
        if let Some((place, letter)) = name.char_indices().find(|(_, letter)| letter.is_control()) {
            let detail = format!("invalid character U+{:04X} (at position {place})", u32::from(letter));
            wrong.push(FieldError::invalid("fieldManager", name.into(), detail));
        }
        if wrong.is_empty() { Ok(name.to_owned()) } else { Err(Failure::invalid_options(options, &wrong)) }
    }

    /// What becomes of fields that are unknown or given twice.
    ///
    /// # Errors
    /// A word that is none of the three.
    pub fn field_validation(&self, options: &str) -> Result<FieldValidation, Failure> {
        match self.get("fieldValidation") {
            None | Some("" | "Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some(other) => {
                let there = ["", "Ignore", "Strict", "Warn"];
                Err(Failure::invalid_options(options, &[unsupported("fieldValidation", other.into(), &there)]))
            }
        }
    }
}

/// Bytes that a writer's name may have.
const LONGEST_WRITER: usize = 128;

/// [`Parameters::dry_run`] for values from elsewhere.
///
/// # Errors
/// A value that is not `All`.
pub fn dry_run(options: &str, values: &[&str]) -> Result<bool, Failure> {
    if values.iter().all(|value| *value == "All") {
        return Ok(!values.is_empty());
    }
    Err(Failure::invalid_options(options, &[unsupported("dryRun", values.into(), &["All"])]))
}

fn unsupported(field: &str, value: serde_json::Value, there: &[&str]) -> FieldError {
    let there: Vec<String> = there.iter().map(|word| format!("{word:?}")).collect();
    FieldError::new(Cause::NotSupported, field, value, format!("supported values: {}", there.join(", ")))
}

/// What becomes of fields that are unknown or given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// The request is refused.
    Strict,
    /// They are dropped, and the answer says so.
    Warn,
    /// They are dropped.
    Ignore,
}

/// Which version of the store a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nothing said: the newest.
    Newest,
    /// `0`: whatever is at hand.
    Any,
    /// This or a newer one.
    AtLeast(i64),
    /// This one.
    Exactly(i64),
}

/// A list, or the collection a delete is for.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// At most this many.
    pub limit: Option<usize>,
    /// Where an earlier page ended.
    pub after: Option<Continue>,
    /// As of when.
    pub asked: Asked,
}

/// Where a page ended; opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continue {
    /// Version of the whole listing.
    pub rv: i64,
    /// Namespace of the last item.
    pub ns: String,
    /// Name of the last item.
    pub name: String,
}

impl Continue {
    /// As text for `metadata.continue`.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!({"rv": self.rv, "ns": self.ns, "name": self.name}).to_string())
    }

    fn parse(token: &str) -> Result<Self, Failure> {
        let decoded: Option<Self> =
            URL_SAFE_NO_PAD.decode(token).ok().and_then(|json| serde_json::from_slice(&json).ok());
        // No name holds a NUL, and Postgres takes none.
        decoded.filter(|at| !at.ns.contains('\0') && !at.name.contains('\0')).ok_or_else(|| {
            Failure::bad_request(
                "continue key is not valid: use the value of metadata.continue of the page before".to_owned(),
            )
        })
    }
}

impl ListOptions {
    /// Reads them.
    ///
    /// # Errors
    /// A parameter is malformed, or does not go with another.
    pub fn parse(parameters: &Parameters) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        if parameters.get("sendInitialEvents").is_some() {
            wrong.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        let after = parameters.get("continue").map(Continue::parse).transpose()?;
        let version = parameters.get("resourceVersion");
        let matching = parameters.get("resourceVersionMatch");
        if after.is_some() && version.is_some_and(|version| version != "0") {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue".to_owned(),
            ));
        }
        let asked = match (parse_version(version)?, matching) {
            (None, Some(_)) => {
                wrong.push(FieldError::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
                Asked::Newest
            }
            (None, None) => Asked::Newest,
            (Some(0), Some("Exact")) => {
                wrong.push(FieldError::forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
                Asked::Newest
            }
            (Some(0), _) => Asked::Any,
            (Some(version), Some("Exact")) => Asked::Exactly(version),
            (Some(version), None | Some("NotOlderThan")) => Asked::AtLeast(version),
            (Some(_), Some(other)) => {
                wrong.push(not_a_match(other));
                Asked::Newest
            }
        };
        if !wrong.is_empty() {
            return Err(Failure::invalid_options("ListOptions", &wrong));
        }
        let limit = parameters
            .number("limit")?
            .filter(|limit| *limit > 0)
            .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(Self { limit, after, asked })
    }
}

/// A watch.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Where to begin: at the present state, or after a version.
    pub from: Option<i64>,
    /// Whether the present state comes first.
    pub initial: Initial,
    /// Whether bookmarks are wanted.
    pub bookmarks: bool,
    /// When it ends.
    pub timeout: Duration,
}

/// Whether a watch begins with the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// As synthetic ADDED events when no version is named, as watches always did.
    Old,
    /// Yes, and a bookmark that says when it is complete.
    Marked,
    /// No.
    No,
}

impl WatchOptions {
    /// Reads them.
    ///
    /// # Errors
    /// A parameter is malformed, or does not go with another.
    pub fn parse(parameters: &Parameters) -> Result<Self, Failure> {
        let matching = parameters.get("resourceVersionMatch");
        let initial = match parameters.get("sendInitialEvents") {
            None => Initial::Old,
            Some(_) if parameters.flag("sendInitialEvents") => Initial::Marked,
            Some(_) => Initial::No,
        };
        let mut wrong = Vec::new();
        match (initial, matching) {
            (Initial::Old, None) | (Initial::Marked | Initial::No, Some("NotOlderThan")) => {}
            (Initial::Old, Some(_)) => wrong.push(FieldError::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            (_, None) => wrong.push(FieldError::forbidden(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
            (_, Some(other)) => wrong.push(not_a_match(other)),
        }
        let bookmarks = parameters.flag("allowWatchBookmarks");
        if initial == Initial::Marked && !bookmarks {
            wrong.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden unless allowWatchBookmarks is set",
            ));
        }
        if !wrong.is_empty() {
            return Err(Failure::invalid_options("ListOptions", &wrong));
        }
        let seconds = parameters.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        let seconds = seconds.unwrap_or_else(|| rand::random_range(WATCH_SECONDS));
        let from = parse_version(parameters.get("resourceVersion"))?.filter(|version| *version > 0);
        let timeout = Duration::from_secs(seconds).min(LONGEST_WATCH);
        Ok(Self { from, initial, bookmarks, timeout })
    }
}

fn not_a_match(word: &str) -> FieldError {
    unsupported("resourceVersionMatch", word.into(), &["Exact", "NotOlderThan"])
}

fn parse_version(text: Option<&str>) -> Result<Option<i64>, Failure> {
    let parse = |text: &str| text.parse::<i64>().ok().filter(|version| *version >= 0);
    match text {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or_else(|| {
            Failure::bad_request(format!(
                "Invalid value: {text:?}: resourceVersion must be a whole number that this server gave"
            ))
        }),
    }
}
