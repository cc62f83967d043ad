//! [`Api`]: the control plane of a kubeconfig, and [`Connection`]s to it.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the machines of the load are.
pub const MACHINES: &str = "/apis/torchremote.dev/v1alpha1";

/// A control plane. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    tls: TlsConnector,
    host: String,
    port: u16,
    token: Arc<str>,
}

impl Api {
    /// The one of the current context; its user has a token file, as `torch-remote up` writes it.
    pub fn open(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
        let config: Value = serde_yaml::from_str(&text).expect("YAML");
        let cluster = &config["clusters"][0]["cluster"];
        let server: hyper::Uri = cluster["server"].as_str().and_then(|url| url.parse().ok()).expect("a server");
        let authority = cluster["certificate-authority-data"].as_str().expect("an authority");
        let authority = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, authority).expect("base64");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let token = config["users"][0]["user"]["tokenFile"].as_str().expect("a token file");
        let token = std::fs::read_to_string(token).expect("a token");
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
            host: server.host().expect("a host").to_owned(),
            port: server.port_u16().unwrap_or(443),
            token: token.trim().into(),
        }
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Connection {
        let (sender, connection) = http1::handshake(TokioIo::new(self.stream().await)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection { sender, api: self.clone() }
    }

    /// An answer without an end, on a connection of its own: what follows its head, its chunks as they are. Reading it takes one task and no copy.
    pub async fn endless(&self, path: &str) -> (TlsStream<TcpStream>, Vec<u8>) {
        let mut stream = self.stream().await;
        let (host, token) = (&self.host, &self.token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: application/json\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut answer = Vec::with_capacity(4096);
        loop {
            assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "the connection has ended");
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = answer.split_off(end + 4);
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
                return (stream, rest);
            }
        }
    }

    async fn stream(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let name = ServerName::try_from(self.host.clone()).expect("a name");
        self.tls.connect(name, stream).await.expect("TLS")
    }
}

/// One connection, for one request at a time.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    api: Api,
}

impl Connection {
    /// The answer, its body still to come.
    async fn open(&mut self, method: Method, path: &str, content: &str, body: Vec<u8>) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.api.host)
            .header("authorization", format!("Bearer {}", self.api.token))
            .header("accept", "application/json")
            .header("content-type", content)
            .body(Full::new(body.into()))
            .expect("a request");
        self.sender.ready().await.expect("the connection stays");
        self.sender.send_request(request).await.expect("an answer")
    }

    /// The whole answer.
    pub async fn send(&mut self, method: Method, path: &str, content: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let answer = self.open(method, path, content, body).await;
        let code = answer.status();
        (code, answer.into_body().collect().await.expect("all of it").to_bytes())
    }

    pub async fn get(&mut self, path: &str) -> Bytes {
        let (code, body) = self.send(Method::GET, path, "application/json", vec![]).await;
        assert_eq!(code, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    pub async fn post(&mut self, path: &str, body: &Value) {
        let (code, said) = self.send(Method::POST, path, "application/json", body.to_string().into()).await;
        assert_eq!(code, StatusCode::CREATED, "{path}: {}", String::from_utf8_lossy(&said));
    }

    /// A merge patch.
    pub async fn patch(&mut self, path: &str, body: &Value) {
        let content = "application/merge-patch+json";
        let (code, said) = self.send(Method::PATCH, path, content, body.to_string().into()).await;
        assert_eq!(code, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&said));
    }
}
