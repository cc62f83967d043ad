//! The device flow of RFC 8628: a code that a person enters elsewhere, and the wait for it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::explain::plain;
use crate::outbound::{self, Answer, Outbound};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Between two questions when the issuer does not say, and what is added when it says they come too fast, seconds.
const INTERVAL: u64 = 5;
/// Longest time between two questions, seconds.
const LONGEST_INTERVAL: u64 = 60;

/// Where the issuer is asked.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) issuer: String,
    pub(super) device: String,
    pub(super) token: String,
}

/// A code that waits for a person.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// What the issuer gives.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) refresh_token: Option<String>,
}

impl Endpoints {
    /// Asks the issuer for them.
    pub(super) async fn find(outbound: &Outbound, issuer: &str) -> Result<Self, Error> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let answer = outbound.get(&url).await;
        let answer = answer.map_err(|source| Error::Unreachable { server: issuer.to_owned(), source })?;
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if document["issuer"] != issuer {
            return Err(Error::Answer { server: issuer.to_owned(), what: "another issuer's description".to_owned() });
        }
        let endpoint = |name: &str| document[name].as_str().map(str::to_owned);
        match (endpoint("device_authorization_endpoint"), endpoint("token_endpoint")) {
            (Some(device), Some(token)) => {
                for url in [&device, &token] {
                    let safe = outbound::as_safe(issuer, url);
                    safe.map_err(|source| Error::Unreachable { server: issuer.to_owned(), source })?;
                }
                Ok(Self { issuer: issuer.to_owned(), device, token })
            }
            _ => Err(Error::NoDeviceFlow { issuer: issuer.to_owned() }),
        }
    }
}

impl Started {
    /// What a person does now.
    pub(super) fn instructions(&self) -> String {
        let (uri, code) = (plain(&self.verification_uri), plain(&self.user_code));
        match &self.verification_uri_complete {
            Some(complete) => {
                let complete = plain(complete);
                format!("Open {complete}\nand check that it shows the code {code}  (or open {uri} and enter it)")
            }
            None => format!("Open {uri}\nand enter the code {code}"),
        }
    }
}

/// Asks for a code.
pub(super) async fn start(
    outbound: &Outbound,
    endpoints: &Endpoints,
    client_id: &str,
    scopes: &[String],
) -> Result<Started, Error> {
    let scope = scopes.join(" ");
    let answer = outbound.post(&endpoints.device, &[("client_id", client_id), ("scope", &scope)]).await;
    let answer = answer.map_err(|source| Error::Unreachable { server: endpoints.issuer.clone(), source })?;
    match answer.code {
        200 => serde_json::from_slice(&answer.body).map_err(|_| Error::Answer {
            server: endpoints.issuer.clone(),
            what: "no code to the request for one".to_owned(),
        }),
        _ => Err(refusal(&endpoints.issuer, &answer)),
    }
}

/// Waits until the person has entered the code.
pub(super) async fn wait(
    outbound: &Outbound,
    endpoints: &Endpoints,
    client_id: &str,
    started: &Started,
) -> Result<Tokens, Error> {
    let form = [("grant_type", DEVICE_GRANT), ("device_code", &started.device_code), ("client_id", client_id)];
    let mut interval = started.interval.unwrap_or(INTERVAL).clamp(1, LONGEST_INTERVAL);
    let unreachable = |source| Error::Unreachable { server: endpoints.issuer.clone(), source };
    let mut silence = None;
    let poll = async {
        loop {
            tokio::time::sleep(Duration::from_secs(interval)).await;
            let answer = match outbound.post(&endpoints.token, &form).await {
                Ok(answer) => answer,
                Err(source @ outbound::Error::Address { .. }) => return Err(unreachable(source)),
                // An issuer that does not answer is asked less often, as the standard says.
                Err(source) => {
                    silence = Some(source);
                    interval = (interval * 2).min(LONGEST_INTERVAL);
                    continue;
                }
            };
            silence = None;
            match after(&endpoints.issuer, &answer, interval)? {
                After::Ask(later) => interval = later,
                After::Take(tokens) => return Ok(tokens),
            }
        }
    };
    let limit = Duration::from_secs(started.expires_in.min(3600));
    match tokio::time::timeout(limit, poll).await {
        Ok(ended) => ended,
        Err(_) => Err(silence.map_or(Error::CodeExpired, unreachable)),
    }
}

/// What comes after an answer.
#[derive(Debug)]
enum After {
    /// The same question, so many seconds later.
    Ask(u64),
    /// The end.
    Take(Tokens),
}

/// Judges an answer to the question whether the code was entered, asked `interval` seconds after the one before.
fn after(issuer: &str, answer: &Answer, interval: u64) -> Result<After, Error> {
    if answer.code == 200 {
        return tokens(issuer, answer).map(After::Take);
    }
    match error_code(answer).as_str() {
        "authorization_pending" => Ok(After::Ask(interval)),
        "slow_down" => Ok(After::Ask((interval + INTERVAL).min(LONGEST_INTERVAL))),
        "access_denied" => Err(Error::Denied),
        "expired_token" => Err(Error::CodeExpired),
        _ if answer.code >= 500 => Ok(After::Ask((interval * 2).min(LONGEST_INTERVAL))),
        _ => Err(refusal(issuer, answer)),
    }
}

/// Trades a refresh token for new tokens.
pub(super) async fn refresh(
    outbound: &Outbound,
    (issuer, endpoint): (&str, &str),
    client_id: &str,
    refresh_token: &str,
) -> Result<Tokens, Error> {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", client_id)];
    let answer = outbound.post(endpoint, &form).await;
    let answer = answer.map_err(|source| Error::Unreachable { server: issuer.to_owned(), source })?;
    match answer.code {
        200 => tokens(issuer, &answer),
        400 | 401 if error_code(&answer) == "invalid_grant" => Err(Error::Over { issuer: issuer.to_owned() }),
        _ => Err(refusal(issuer, &answer)),
    }
}

fn tokens(issuer: &str, answer: &Answer) -> Result<Tokens, Error> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| Error::Answer { server: issuer.to_owned(), what: "no id_token with its tokens".to_owned() })
}

fn error_code(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["error"].as_str().unwrap_or_default().to_owned()
}

fn refusal(issuer: &str, answer: &Answer) -> Error {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let why = [format!("code {}", answer.code), text("error"), text("error_description")];
    let why = why.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    Error::Refused { issuer: issuer.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_asked_as_often_as_it_likes_until_it_says_the_end() {
        let said = |code: u16, body: Value| Answer { code, body: body.to_string().into() };
        let next = |code, error: &str, interval| {
            after("i", &said(code, serde_json::json!({"error": error, "error_description": "why"})), interval)
        };
        for (code, error, interval, later) in [
            (400, "authorization_pending", 1, 1),
            (400, "slow_down", 1, 6),
            (400, "slow_down", 58, 60),
            (429, "slow_down", 5, 10),
            (503, "", 7, 14),
            (500, "server_error", 40, 60),
        ] {
            let next = next(code, error, interval).unwrap();
            assert!(matches!(next, After::Ask(seconds) if seconds == later), "{code} {error}: {next:?}");
        }
        assert!(matches!(next(400, "access_denied", 5), Err(Error::Denied)));
        assert!(matches!(next(400, "expired_token", 5), Err(Error::CodeExpired)));
        let refused = next(400, "invalid_client", 5).unwrap_err();
        assert_eq!(refused.to_string(), "the issuer i refused: code 400: invalid_client: why");
        assert!(matches!(after("i", &said(200, serde_json::json!({"id_token": "t"})), 5), Ok(After::Take(_))));
        assert!(matches!(after("i", &said(200, serde_json::json!({})), 5), Err(Error::Answer { .. })));
    }

    #[tokio::test]
    async fn an_issuer_that_never_answered_is_not_taken_for_a_code_that_nobody_entered() {
        let started = Started {
            device_code: "d".into(),
            user_code: "u".into(),
            verification_uri: "https://x".into(),
            verification_uri_complete: None,
            expires_in: 2,
            interval: Some(1),
        };
        let outbound = Outbound::new(None).unwrap();
        // Nobody listens there; nobody is asked there.
        for (token, refused) in [("http://127.0.0.1:9/token", false), ("http://a.example/token", true)] {
            let endpoints = Endpoints { issuer: "i".into(), device: String::new(), token: token.into() };
            let error = wait(&outbound, &endpoints, "c", &started).await.unwrap_err();
            let Error::Unreachable { source, .. } = error else { panic!("{token}: {error}") };
            assert_eq!(matches!(source, outbound::Error::Address { .. }), refused, "{token}: {source}");
        }
    }
}
