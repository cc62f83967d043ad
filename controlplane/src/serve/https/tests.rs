use std::net::Ipv4Addr;

use axum::routing::get;
use http::Version;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::{Authority, names};

const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    authority: Authority,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn serve(router: Router, connections: usize, drain: Duration) -> Running {
    let authority = Authority::generate().expect("an authority");
    let leaf = authority.leaf(&names(Ipv4Addr::LOCALHOST.into(), &[])).expect("a leaf");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
    let address = listener.local_addr().expect("it is bound");
    let https = Https { tls: leaf.server_config().expect("a configuration"), router, connections, drain };
    let stop = CancellationToken::new();
    let served = tokio::spawn(https.serve(listener, stop.clone()));
    Running { address, authority, stop, served }
}

async fn connect(running: &Running, protocol: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = running.authority.certificate.as_bytes();
    roots.add(rustls_pemfile::certs(&mut &*pem).next().expect("one").expect("readable")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(running.address).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the certificate is good")
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("https://127.0.0.1/").header("host", "127.0.0.1").body(Empty::new()).expect("a request")
}

#[tokio::test]
async fn both_http_versions_are_spoken_and_handlers_see_the_peer() {
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }));
    let running = serve(router, 10, DEADLINE).await;
    let io = TokioIo::new(connect(&running, "h2").await);
    let (mut h2, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
    tokio::spawn(driver);
    let answer = h2.send_request(request()).await.expect("an answer");
    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "127.0.0.1");
    let io = TokioIo::new(connect(&running, "http/1.1").await);
    let (mut h1, driver) = hyper::client::conn::http1::handshake(io).await.expect("a handshake");
    tokio::spawn(driver);
    let answer = h1.send_request(request()).await.expect("an answer");
    assert_eq!(answer.version(), Version::HTTP_11);
}

#[tokio::test]
async fn a_running_request_finishes_after_stop_and_no_new_connection_is_taken() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, release) = (entered.clone(), go.clone());
    let slow = move || {
        let (entered, go) = (inside.clone(), release.clone());
        async move {
            entered.notify_one();
            go.notified().await;
            "done"
        }
    };
    let running = serve(Router::new().route("/", get(slow)), 10, DEADLINE).await;
    let io = TokioIo::new(connect(&running, "http/1.1").await);
    let (mut client, driver) = hyper::client::conn::http1::handshake(io).await.expect("a handshake");
    tokio::spawn(driver);
    let answer = tokio::spawn(async move { client.send_request(request()).await });
    entered.notified().await;
    running.stop.cancel();
    let closed = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.expect("the listener closes at once");
    assert!(!running.served.is_finished(), "the request still runs");
    go.notify_one();
    let answer = answer.await.expect("no panic").expect("the request is answered");
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "done");
    tokio::time::timeout(DEADLINE, running.served).await.expect("it ends").expect("no panic");
}

#[tokio::test]
async fn a_request_that_never_ends_is_abandoned_after_the_drain() {
    let entered = Arc::new(Notify::new());
    let inside = entered.clone();
    let endless = move || {
        let entered = inside.clone();
        async move {
            entered.notify_one();
            std::future::pending::<&str>().await
        }
    };
    let running = serve(Router::new().route("/", get(endless)), 10, Duration::from_millis(50)).await;
    let io = TokioIo::new(connect(&running, "http/1.1").await);
    let (mut client, driver) = hyper::client::conn::http1::handshake(io).await.expect("a handshake");
    tokio::spawn(driver);
    let answer = tokio::spawn(async move { client.send_request(request()).await });
    entered.notified().await;
    running.stop.cancel();
    tokio::time::timeout(DEADLINE, running.served).await.expect("it ends all the same").expect("no panic");
    answer.await.expect("no panic").expect_err("the connection was cut");
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_ends() {
    let running = serve(Router::new().route("/", get(|| async { "ok" })), 1, DEADLINE).await;
    let first = connect(&running, "http/1.1").await;
    let second = connect(&running, "http/1.1");
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(200), second.as_mut()).await;
    assert!(early.is_err(), "there is no place for a second one");
    drop(first);
    tokio::time::timeout(DEADLINE, second).await.expect("the first one's place is free");
}

#[tokio::test]
async fn a_client_without_tls_is_cut_off_and_others_go_on() {
    let running = serve(Router::new().route("/", get(|| async { "ok" })), 10, DEADLINE).await;
    let mut plain = TcpStream::connect(running.address).await.expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it takes bytes");
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, plain.read_to_end(&mut answer)).await.expect("it ends").ok();
    assert!(!answer.starts_with(b"HTTP"), "no HTTP is spoken in the clear");
    connect(&running, "h2").await;
}
