//! What leaves the process beside answers: traces to a collector, and a client that reads its token again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use torch_remote::kubeconfig::Kubeconfig;
use torch_remote::serve::https::Https;
use torch_remote::tls::{Authority, names};

use crate::harness::{PROGRAM, Up, command, folder, run};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that keeps the bytes it is sent.
async fn collector() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let export = async |State(kept): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
        kept.lock().unwrap().extend_from_slice(&body);
        // An empty message, and the status in front of it.
        ([("content-type", "application/grpc"), ("grpc-status", "0")], Bytes::from_static(&[0; 5]))
    };
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let router = Router::new().route(path, post(export)).with_state(kept.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_exported_within_the_callers_trace() {
    let dir = folder();
    let (collector, kept) = collector().await;
    let path = dir.path().to_owned();
    let start = move || {
        Up::start_with(&path, |up| {
            up.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
        })
    };
    let up = tokio::task::spawn_blocking(start).await.unwrap();
    let text = fs::read_to_string(&up.kubeconfig).unwrap();
    let config: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    let address: SocketAddr =
        config["clusters"][0]["cluster"]["server"].as_str().unwrap().trim_start_matches("https://").parse().unwrap();
    let token = fs::read_to_string(dir.path().join("data/admin.token")).unwrap();
    let code = ask(address, authority, &token, "/api/v1/namespaces").await;
    assert_eq!(code, StatusCode::OK);
    tokio::task::spawn_blocking(move || assert!(up.terminate().success())).await.unwrap();
    let kept = kept.lock().unwrap();
    let contains = |wanted: &[u8]| kept.windows(wanted.len()).any(|window| window == wanted);
    assert!(
        contains(&hex::decode(TRACE).unwrap()),
        "the caller's trace id is in what was exported ({} bytes)",
        kept.len()
    );
    assert!(contains(b"request") && contains(b"/api/v1/namespaces"), "and the request's span");
    assert!(!contains(token.as_bytes()), "and no token");
}

async fn ask(address: SocketAddr, authority: &str, token: &str, path: &str) -> StatusCode {
    use base64::Engine;
    let pem = base64::engine::general_purpose::STANDARD.decode(authority).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pemfile::certs(&mut pem.as_slice()).next().unwrap().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (mut client, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    let request = Request::get(format!("https://{address}{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    let code = answer.status();
    answer.into_body().collect().await.unwrap();
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_replaced_meanwhile_is_read_again() {
    let dir = folder();
    let token = dir.path().join("token");
    fs::write(&token, "old").unwrap();
    let file = token.clone();
    // As `up` does it at half a token's life: the old one is refused, and the new one is in the file.
    let version = async move |headers: HeaderMap| {
        if headers["authorization"] == "Bearer new" {
            return (StatusCode::OK, json!({"gitVersion": "v1.32.0"}).to_string());
        }
        fs::write(&file, "new\n").unwrap();
        (
            StatusCode::UNAUTHORIZED,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401})
                .to_string(),
        )
    };
    let router = Router::new().route("/version", get(version));
    let authority = Authority::generate().unwrap();
    let tls = authority.leaf(&names(Ipv4Addr::LOCALHOST.into(), &[])).unwrap().server_config().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let https = Https { tls, router, connections: 10, drain: std::time::Duration::from_secs(1) };
    let served = tokio::spawn(https.serve(listener, stop.clone()));
    let kubeconfig = dir.path().join("kubeconfig");
    Kubeconfig { server, authority: Some(authority.certificate), token_file: token }.write(&kubeconfig).unwrap();
    let mut client = command(PROGRAM, dir.path());
    client.arg("version").env("KUBECONFIG", &kubeconfig);
    let said = tokio::task::spawn_blocking(move || run(client)).await.unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.ends_with("Server Version: v1.32.0\n"), "{}", said.out);
    stop.cancel();
    served.await.unwrap();
}
