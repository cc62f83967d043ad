//! One control plane, as the kubeconfig names it: requests, watches, and the token that is read again when it is refused.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;

use futures::{Stream, StreamExt};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::{ConnectionArgs, Error, exec, kubeconfig_files};
use crate::explain::plain;

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    accept: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

/// What a list is asked for as.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

impl Call {
    /// Reads `path`.
    pub fn get(path: impl Into<String>) -> Self {
        let (accept, content_type) = ("application/json", "application/json");
        Self { method: Method::GET, path: path.into(), accept, content_type, body: Vec::new() }
    }

    /// Creates `body` under `path`.
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self { method: Method::POST, body: body.to_string().into_bytes(), ..Self::get(path) }
    }

    /// Merges `body` into the object at `path`.
    pub fn merge(path: impl Into<String>, body: &Value) -> Self {
        let content_type = "application/merge-patch+json";
        Self { method: Method::PATCH, content_type, body: body.to_string().into_bytes(), ..Self::get(path) }
    }

    /// Applies `body` to the object at `path`: the server merges.
    pub fn apply(path: impl Into<String>, body: &Value) -> Self {
        Self { content_type: "application/apply-patch+yaml", ..Self::merge(path, body) }
    }

    /// Deletes the object at `path`.
    pub fn delete(path: impl Into<String>, options: &Value) -> Self {
        Self { method: Method::DELETE, body: options.to_string().into_bytes(), ..Self::get(path) }
    }

    /// Asks for another form of the answer.
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    fn request(&self) -> Result<Request<Body>, kube::Error> {
        let request = Request::builder()
            .method(&self.method)
            .uri(&self.path)
            .header(http::header::ACCEPT, self.accept)
            .header(http::header::ACCEPT_ENCODING, "identity")
            .header(http::header::CONTENT_TYPE, self.content_type);
        request.body(Body::from(self.body.clone())).map_err(kube::Error::HttpError)
    }
}

/// A control plane, and who we are to it.
pub struct Connection {
    files: String,
    config: Config,
    merged: Kubeconfig,
    options: KubeConfigOptions,
    /// Made when a request needs it, with the token of then; and which one it is.
    client: tokio::sync::Mutex<Option<(u32, Client)>>,
    warned: Mutex<HashSet<String>>,
    /// Namespace of commands that name none.
    pub namespace: String,
    /// True when `--namespace` was given.
    pub namespace_given: bool,
}

impl Connection {
    /// Reads the kubeconfig. Sends nothing yet, and asks nobody for a token.
    ///
    /// # Errors
    /// The kubeconfig is missing or cannot be understood.
    pub async fn open(args: &ConnectionArgs) -> Result<Self, Error> {
        let paths = kubeconfig_files(args);
        let files = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
        let bad = |source| Error::Kubeconfig { path: files.clone(), source: Box::new(source) };
        let mut merged: Option<Kubeconfig> = None;
        for path in &paths {
            let next = Kubeconfig::read_from(path).map_err(bad)?;
            merged = Some(match merged {
                Some(first) => first.merge(next).map_err(bad)?,
                None => next,
            });
        }
        let merged = merged.ok_or(Error::NoKubeconfig)?;
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(merged.clone(), &options).await.map_err(bad)?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let namespace_given = args.namespace.is_some();
        Ok(Self {
            files,
            config,
            merged,
            options,
            client: tokio::sync::Mutex::default(),
            warned: Mutex::default(),
            namespace,
            namespace_given,
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// Nobody answers, the token is refused (also after it was read again), or the server refuses.
    pub async fn call(&self, call: Call) -> Result<Value, Error> {
        let response = self.send(&call).await?;
        response.headers().get_all(http::header::WARNING).iter().for_each(|warning| self.warn(warning));
        let bytes = response.into_body().collect_bytes().await.map_err(|source| self.explain(source))?;
        let parsed = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError);
        parsed.map_err(|source| self.explain(source))
    }

    /// Prints a warning of the server the first time: a dry run and the write after it say the same.
    fn warn(&self, warning: &http::HeaderValue) {
        // `299 - "text"`
        let text = warning.to_str().unwrap_or_default();
        let text = text.splitn(3, ' ').nth(2).unwrap_or(text).trim_matches('"').replace("\\\"", "\"");
        if self.warned.lock().expect("no panic while held").insert(text.clone()) {
            eprintln!("Warning: {}", plain(&text));
        }
    }

    /// Sends a request whose answer is one JSON object per line, until the server ends it.
    ///
    /// # Errors
    /// As [`Connection::call`]; later, the connection broke.
    pub async fn watch(&self, call: Call) -> Result<impl Stream<Item = Result<Value, Error>> + Unpin, Error> {
        let body = self.send(&call).await?.into_body();
        let bytes = Box::pin(body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)));
        let lines = FramedRead::new(StreamReader::new(bytes), LinesCodec::new());
        Ok(lines.map(|line| {
            let line = line.map_err(|error| kube::Error::ReadEvents(std::io::Error::other(error)));
            let value = line.and_then(|line| serde_json::from_str(&line).map_err(kube::Error::SerdeError));
            value.map_err(|error| self.explain(error))
        }))
    }

    /// The token requests carry now.
    ///
    /// # Errors
    /// The user has none, or its file cannot be read.
    pub async fn token(&self) -> Result<String, Error> {
        if let Some(program) = exec::of(&self.config.auth_info) {
            return exec::token(program).await;
        }
        if let Some(file) = self.token_file() {
            let read = std::fs::read_to_string(&file);
            let text = read.map_err(|source| Error::Read { path: file.display().to_string(), source })?;
            return Ok(text.trim().to_owned());
        }
        // The token's type shows itself only when it is written.
        let user = serde_json::to_value(&self.config.auth_info).expect("a user that was read can be written");
        user["token"].as_str().map(str::to_owned).ok_or_else(|| Error::NoToken { path: self.files.clone() })
    }

    /// The kubeconfig in use, cut to the context in use.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when there is no context.
    pub fn kubeconfig(&self) -> Result<String, Error> {
        let context = self.options.context.clone().or_else(|| self.merged.current_context.clone()).unwrap_or_default();
        let mut cut = self.merged.clone();
        cut.contexts.retain(|named| named.name == context);
        let chosen = cut.contexts.first().and_then(|named| named.context.clone());
        if let Some(chosen) = chosen {
            cut.clusters.retain(|named| named.name == chosen.cluster);
            cut.auth_infos.retain(|named| Some(&named.name) == chosen.user.as_ref());
        }
        cut.current_context = Some(context);
        Ok(serde_yaml::to_string(&cut).expect("a kubeconfig that was read can be written"))
    }

    /// Sends a request; once more, with the token as it is by then, when that is refused.
    async fn send(&self, call: &Call) -> Result<http::Response<Body>, Error> {
        let (which, client) = self.client(None).await?;
        let response = match send(&client, call).await {
            Err(error) if refused_token(&error) => {
                let (_, client) = self.client(Some(which)).await?;
                send(&client, call).await
            }
            other => other,
        };
        response.map_err(|error| self.explain(error))
    }

    /// The client of all requests, or, when its token was refused, the one after it. A client caches the token for a minute; `up` may have replaced it since.
    async fn client(&self, refused: Option<u32>) -> Result<(u32, Client), Error> {
        // Held while a program gives the token: of many requests at once, one asks it.
        let mut held = self.client.lock().await;
        let which = match &*held {
            Some((which, client)) if refused != Some(*which) => return Ok((*which, client.clone())),
            Some((which, _)) => which + 1,
            None => 0,
        };
        let fresh = client(&self.config, &self.files).await?;
        *held = Some((which, fresh.clone()));
        Ok((which, fresh))
    }

    fn token_file(&self) -> Option<PathBuf> {
        self.config.auth_info.token_file.as_ref().map(PathBuf::from)
    }

    fn server(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    fn explain(&self, error: kube::Error) -> Error {
        let server = self.server();
        match error {
            kube::Error::Api(status) if status.code == 401 => Error::Unauthorized { server, file: self.token_file() },
            kube::Error::Api(status) => Error::Server { context: None, status },
            error @ (kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) => {
                Error::Answer { server, source: Box::new(error) }
            }
            error => {
                let causes = causes(&error);
                let why = causes.last().map(ToString::to_string).unwrap_or_default();
                if causes.iter().any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
                {
                    return Error::Untrusted { server, why };
                }
                if causes.iter().any(|cause| cause.is::<std::io::Error>() || cause.is::<hyper::Error>()) {
                    return Error::NoControlPlane { server, why };
                }
                Error::Credentials { path: self.files.clone(), source: Box::new(error) }
            }
        }
    }
}

/// A client that sends the token as its file holds it now: the kube client would keep it for a minute, and take a line break for a part of it.
/// The token of a program is asked for here too, within a deadline.
async fn client(config: &Config, files: &str) -> Result<Client, Error> {
    let mut config = config.clone();
    if let Some(program) = exec::of(&config.auth_info) {
        let token = exec::token(program).await?;
        with_token(&mut config.auth_info, &token);
    }
    if let Some(file) = &config.auth_info.token_file {
        let token = std::fs::read_to_string(file);
        let token = token.map_err(|source| Error::Read { path: file.clone(), source })?;
        with_token(&mut config.auth_info, token.trim());
    }
    Client::try_from(config).map_err(|source| Error::Credentials { path: files.to_owned(), source: Box::new(source) })
}

/// The same user with this token, from wherever it came; whom it acts as stays.
fn with_token(user: &mut AuthInfo, token: &str) {
    let with: AuthInfo =
        serde_json::from_value(serde_json::json!({"token": token})).expect("a user with a token is a user");
    (user.token, user.token_file, user.exec) = (with.token, None, None);
}

async fn send(client: &Client, call: &Call) -> Result<http::Response<Body>, kube::Error> {
    let response = client.send(call.request()?).await?;
    let code = response.status();
    if !code.is_client_error() && !code.is_server_error() {
        return Ok(response);
    }
    let bytes = response.into_body().collect_bytes().await?;
    let status = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&bytes);
        kube::core::Status::failure(text.trim(), code.canonical_reason().unwrap_or_default()).with_code(code.as_u16())
    });
    Err(kube::Error::Api(Box::new(status)))
}

fn refused_token(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 401)
}

type Cause = dyn std::error::Error + 'static;

/// The error and all behind it, the first cause last. An IO error's `source` leaves out the error it was made of, so that is looked into.
fn causes(error: &kube::Error) -> Vec<&Cause> {
    let mut causes: Vec<&Cause> = Vec::new();
    let mut next: Option<&Cause> = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inside.map(|inside| inside as &Cause).or_else(|| cause.source());
    }
    causes
}
