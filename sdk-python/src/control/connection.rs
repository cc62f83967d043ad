//! One API server: calls with a deadline, a second try with fresh credentials on 401, and following an object.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Method, Request};
use kube::Client;
use kube::api::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, RwLock};

use super::config::{self, Settings};
use super::error::{Error, chain};

/// How long `follow` waits out a control plane that does not answer.
const OUTAGE: Duration = Duration::from_secs(60);
/// Between two tries while it does not.
const PAUSE: Duration = Duration::from_millis(500);
/// Deadline of a single call inside `follow`.
const CALL: Duration = Duration::from_secs(10);
/// The server ends a watch after this; it is then opened again.
const WATCH_SECONDS: u32 = 50;

/// One call.
pub(super) struct Question {
    pub(super) method: Method,
    /// From the first slash, with the query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// W3C trace context.
    pub(super) traceparent: Option<String>,
}

/// A server and the client that speaks to it.
pub(super) struct Connection {
    pub(super) server: String,
    pub(super) source: String,
    pub(super) namespace: String,
    ready: RwLock<Ready>,
    /// Held by the one who reads the settings again, and so runs the program of a user who has one.
    reading: Mutex<()>,
}

/// A client, until when its token is good where that is known, and which reading of the settings it is of.
#[derive(Clone)]
struct Ready {
    client: Client,
    until: Option<Instant>,
    reading: u64,
}

impl Ready {
    fn new(settings: Settings, reading: u64) -> Result<Self, Error> {
        let Settings { config, source, until } = settings;
        let client = Client::try_from(config).map_err(|error| Error::unusable(&source, &error))?;
        Ok(Self { client, until, reading })
    }
}

impl Connection {
    /// Reads the settings and makes the client; makes no call.
    ///
    /// # Errors
    /// No settings, or unusable ones.
    pub(super) fn open(namespace: Option<String>) -> Result<Self, Error> {
        super::wait::runtime().block_on(async {
            let settings = config::load().await?;
            let server = settings.config.cluster_url.to_string().trim_end_matches('/').to_owned();
            let namespace = namespace.unwrap_or_else(|| settings.config.default_namespace.clone());
            let source = settings.source.clone();
            let ready = RwLock::new(Ready::new(settings, 0)?);
            Ok(Self { server, source, namespace, ready, reading: Mutex::default() })
        })
    }

    /// One call, its answer's text.
    ///
    /// # Errors
    /// The server's refusal, or that it cannot be reached before `deadline`.
    pub(super) async fn ask(&self, question: &Question, deadline: Duration) -> Result<String, Error> {
        let answer = tokio::time::timeout(deadline, self.ask_twice(question)).await;
        answer.unwrap_or_else(|_| Err(self.unreachable(format!("no answer within {} s", deadline.as_secs_f64()))))
    }

    /// Sends the object's present state and each later one, `null` when it is gone; ends when the receiver is dropped.
    ///
    /// # Errors
    /// A refusal that will not pass, or an outage of a minute.
    pub(super) async fn follow(
        &self,
        collection: &str,
        name: &str,
        sender: UnboundedSender<String>,
    ) -> Result<(), Error> {
        let mut last_answer = Instant::now();
        while !sender.is_closed() {
            match self.follow_once(collection, name, &sender).await {
                Ok(()) => last_answer = Instant::now(),
                Err(error) if error.passing() && last_answer.elapsed() < OUTAGE => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn follow_once(&self, collection: &str, name: &str, sender: &UnboundedSender<String>) -> Result<(), Error> {
        let question =
            Question { method: Method::GET, path: format!("{collection}/{name}"), body: Vec::new(), traceparent: None };
        let text = match self.ask(&question, CALL).await {
            Err(error) if error.code() == 404 => {
                // A receiver that is gone ends `follow`.
                drop(sender.send("null".to_owned()));
                tokio::time::sleep(PAUSE).await;
                return Ok(());
            }
            other => other?,
        };
        let object: Value = serde_json::from_str(&text).map_err(|error| self.malformed(&error))?;
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        if sender.send(text).is_err() {
            return Ok(());
        }
        let path = format!(
            "{collection}?watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        );
        let request = self.request(&Question { method: Method::GET, path, body: Vec::new(), traceparent: None })?;
        let client = self.ready().await?.client;
        let mut events: BoxStream<'_, kube::Result<WatchEvent<Value>>> =
            Box::pin(client.request_events(request).await.map_err(|error| self.failed(error))?);
        while let Some(event) = tokio::select! {
            () = sender.closed() => None,
            event = events.next() => event,
        } {
            let seen = match event.map_err(|error| self.failed(error))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => object.to_string(),
                WatchEvent::Deleted(_) => "null".to_owned(),
                WatchEvent::Bookmark(_) => continue,
                // Expired resource version and the like: look again.
                WatchEvent::Error(_) => return Ok(()),
            };
            if sender.send(seen).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask_twice(&self, question: &Question) -> Result<String, Error> {
        let ready = self.ready().await?;
        match self.ask_once(&ready.client, question).await {
            Err(error) if error.code() == 401 => {
                let next = self.after(ready.reading).await?;
                self.ask_once(&next.client, question).await
            }
            other => other,
        }
    }

    /// A client whose token has not ended, as far as that is known.
    async fn ready(&self) -> Result<Ready, Error> {
        let ready = self.ready.read().await.clone();
        if ready.until.is_some_and(|until| until <= Instant::now()) {
            self.after(ready.reading).await
        } else {
            Ok(ready)
        }
    }

    /// What comes after a reading whose token is of no use any more: of all who ask, one reads again.
    async fn after(&self, reading: u64) -> Result<Ready, Error> {
        let _one = self.reading.lock().await;
        let ready = self.ready.read().await.clone();
        if ready.reading != reading {
            return Ok(ready);
        }
        let fresh = Ready::new(config::load().await?, reading + 1)?;
        *self.ready.write().await = fresh.clone();
        Ok(fresh)
    }

    async fn ask_once(&self, client: &Client, question: &Question) -> Result<String, Error> {
        client.request_text(self.request(question)?).await.map_err(|error| self.failed(error))
    }

    fn request(&self, question: &Question) -> Result<Request<Vec<u8>>, Error> {
        let mut request =
            Request::builder().method(question.method.clone()).uri(&question.path).header("accept", "application/json");
        if !question.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(traceparent) = &question.traceparent {
            request = request.header("traceparent", traceparent);
        }
        request.body(question.body.clone()).map_err(|error| self.malformed(&error))
    }

    fn failed(&self, error: kube::Error) -> Error {
        match error {
            kube::Error::Api(status) => Error::Refused(status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => self.malformed(&error),
            kube::Error::Auth(_) => Error::unusable(&self.source, &error),
            other => self.unreachable(chain(&other)),
        }
    }

    fn unreachable(&self, why: String) -> Error {
        Error::Unreachable { server: self.server.clone(), origin: self.source.clone(), why }
    }

    fn malformed(&self, error: &dyn std::error::Error) -> Error {
        Error::Malformed { server: self.server.clone(), why: chain(error) }
    }
}
