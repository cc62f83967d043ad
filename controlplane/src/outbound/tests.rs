//! What is asked, and how much of an answer is taken.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn plain_http_goes_to_this_machine_alone() {
    for good in [
        "https://a.example",
        "https://a.example:8443/x?y=1",
        "http://127.0.0.1:80/",
        "http://[::1]:8080/k",
        "http://localhost/",
    ] {
        assert!(address(good).is_ok(), "{good}");
    }
    for bad in [
        "http://a.example",
        "http://127.0.0.1.evil.example/",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "ftp://x",
        "x",
        "",
        "https://u:p@h/",
        "//h/x",
    ] {
        assert!(matches!(address(bad), Err(Error::Address { .. })), "{bad}");
    }
    let parts = address("https://a.example/p?q=1").unwrap();
    assert_eq!(
        (parts.secure, parts.host.as_str(), parts.port, parts.path.as_str()),
        (true, "a.example", 443, "/p?q=1")
    );
}

#[test]
fn what_is_asked_over_tls_leads_nowhere_in_the_open() {
    assert!(as_safe("https://a.example", "https://b.example/keys").is_ok());
    assert!(as_safe("http://127.0.0.1:1", "http://127.0.0.1:1/keys").is_ok());
    assert!(matches!(as_safe("https://a.example", "http://127.0.0.1:80/keys"), Err(Error::Address { .. })));
}

#[test]
fn forms_are_encoded() {
    assert_eq!(encoded("urn:a b&c=ü"), "urn%3Aa%20b%26c%3D%C3%BC");
}

/// Says this to the first who connects, then keeps the connection open or closes it; returns its address, and what it was asked.
async fn saying(text: Vec<u8>, close: bool) -> (String, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/first", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap();
        // A client that has heard enough hangs up.
        drop(stream.write_all(&text).await);
        if !close {
            std::future::pending::<()>().await;
        }
        drop(stream);
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await {
            return "asked twice".to_owned();
        }
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    (url, asked)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[tokio::test]
async fn an_answer_is_taken_up_to_a_size_and_whole_or_not_at_all() {
    let outbound = Outbound::new(None).unwrap();
    let (url, asked) = saying(answer("200 OK", &vec![b'x'; LARGEST]), true).await;
    assert_eq!(outbound.get(&url).await.unwrap().body.len(), LARGEST);
    assert!(asked.await.unwrap().starts_with("GET /first HTTP/1.1\r\n"));
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; LARGEST + 1]].concat();
    for text in [answer("200 OK", &vec![b'x'; LARGEST + 1]), endless] {
        let (url, _asked) = saying(text, true).await;
        let refused = outbound.get(&url).await.unwrap_err();
        assert!(matches!(refused, Error::Answer { .. }), "{refused}");
    }
    for text in ["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "SSH-2.0-x\r\n", ""] {
        let (url, _asked) = saying(text.into(), true).await;
        let refused = outbound.get(&url).await.unwrap_err();
        assert!(matches!(refused, Error::Answer { .. } | Error::Http { .. }), "{text:?}: {refused}");
    }
}

#[tokio::test]
async fn whoever_does_not_answer_in_time_is_given_up() {
    let outbound = Outbound::new(None).unwrap();
    let texts = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"];
    let calls = texts.map(async |text| {
        let (url, _asked) = saying(text.into(), false).await;
        let refused = outbound.get(&url).await.unwrap_err();
        assert!(matches!(refused, Error::Slow { .. }), "{text:?}: {refused}");
    });
    let all = futures::future::join_all(calls);
    tokio::time::timeout(2 * DEADLINE, all).await.expect("each of them, and at the same time");
}

#[tokio::test]
async fn nobody_is_led_elsewhere_by_an_answer() {
    let outbound = Outbound::new(None).unwrap();
    let (elsewhere, not_asked) = saying(answer("200 OK", b"{}"), true).await;
    let (url, asked) = saying(answer(&format!("302 Found\r\nlocation: {elsewhere}"), b""), true).await;
    assert_eq!(outbound.get(&url).await.unwrap().code, 302);
    assert!(asked.await.unwrap().starts_with("GET /first"));
    assert!(!not_asked.is_finished());
}
