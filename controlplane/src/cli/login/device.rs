//! The device flow of RFC 8628: a code that a person enters elsewhere, and the wait for it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Error;
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
        // A terminal shows what it is sent: nothing of an issuer's answer may move its cursor.
        let plain = |text: &str| text.chars().filter(|character| !character.is_control()).collect::<String>();
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
            if answer.code == 200 {
                return tokens(&endpoints.issuer, &answer);
            }
            match error_code(&answer).as_str() {
                "authorization_pending" => {}
                "slow_down" => interval = (interval + INTERVAL).min(LONGEST_INTERVAL),
                "access_denied" => return Err(Error::Denied),
                "expired_token" => return Err(Error::CodeExpired),
                _ if answer.code >= 500 => interval = (interval * 2).min(LONGEST_INTERVAL),
                _ => return Err(refusal(&endpoints.issuer, &answer)),
            }
        }
    };
    let limit = Duration::from_secs(started.expires_in.min(3600));
    match tokio::time::timeout(limit, poll).await {
        Ok(ended) => ended,
        Err(_) => Err(silence.map_or(Error::CodeExpired, unreachable)),
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
