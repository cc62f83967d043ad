//! `torch-remote` against a server whose answers the test chooses.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::Api;

/// When watches were asked for.
type Asked = Arc<Mutex<Vec<Instant>>>;

/// The API, but that each watch is answered by `answer` as long as it has one for its number.
async fn answering(answer: fn(usize) -> Option<Response>) -> (Api, Asked) {
    let (mut api, asked) = (Api::start().await, Asked::default());
    let counted = asked.clone();
    let layer = from_fn(move |request: Request, next: Next| {
        let counted = counted.clone();
        async move {
            if !request.uri().query().unwrap_or_default().contains("watch=true") {
                return next.run(request).await;
            }
            let number = {
                let mut counted = counted.lock().unwrap();
                counted.push(Instant::now());
                counted.len()
            };
            match answer(number) {
                Some(response) => response,
                None => next.run(request).await,
            }
        }
    });
    api.router = api.router.clone().layer(layer);
    (api, asked)
}

/// `torch-remote get ns -w`, ended with the value.
struct Watch {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    async fn start(api: &Api) -> Self {
        let config = api.serve().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_torch-remote"));
        command.env_clear().env("HOME", api.folder.path()).env("KUBECONFIG", config).args(["get", "ns", "-w"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, lines }
    }

    /// The lines up to the one that begins so, which is left out.
    async fn until(&mut self, start: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.starts_with(start) {
                    return true;
                }
                seen.push(line);
            }
            false
        };
        let found = tokio::time::timeout(Duration::from_secs(60), read).await;
        assert!(matches!(found, Ok(true)), "no line begins with {start}: {seen:?}");
        seen
    }
}

fn expired() -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"})
}

async fn starts_over(answer: fn(usize) -> Option<Response>) {
    let (api, asked) = answering(answer).await;
    let mut watch = Watch::start(&api).await;
    watch.until("kube-system").await;
    let again = watch.until("kube-system").await;
    assert!(again.iter().any(|line| line.starts_with("default")), "the state as it is now: {again:?}");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    watch.until("later").await;
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_watch_whose_history_is_forgotten_starts_over_and_goes_on() {
    starts_over(|number| {
        let event = json!({"type": "ERROR", "object": expired()});
        (number == 1).then(|| Body::from(format!("{event}\n")).into_response())
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_is_refused_because_its_history_is_forgotten_starts_over_and_goes_on() {
    starts_over(|number| (number == 1).then(|| (StatusCode::GONE, expired().to_string()).into_response())).await;
}

#[tokio::test]
async fn a_watch_that_is_closed_at_once_is_opened_again_after_a_pause() {
    let (api, asked) = answering(|number| (number <= 3).then(|| Body::empty().into_response())).await;
    let mut watch = Watch::start(&api).await;
    watch.until("kube-system").await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "meanwhile"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    watch.until("meanwhile").await;
    let asked = asked.lock().unwrap().clone();
    let shortest = asked.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(asked.len() == 4 && shortest >= Duration::from_millis(400), "{asked:?}");
}

#[tokio::test]
async fn an_address_is_read_over_tls_and_where_it_points_on_to() {
    let mut api = Api::start().await;
    let pages = from_fn(|request: Request, next: Next| async move {
        match request.uri().path() {
            "/pages/moved.yaml" => (StatusCode::FOUND, [("location", "team.yaml")]).into_response(),
            "/pages/team.yaml" => "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n".into_response(),
            "/pages/endless.yaml" => (StatusCode::FOUND, [("location", "/pages/endless.yaml")]).into_response(),
            "/pages/large.yaml" => vec![b'#'; 9 << 20].into_response(),
            "/pages/none.yaml" => StatusCode::NOT_FOUND.into_response(),
            _ => next.run(request).await,
        }
    });
    api.router = api.router.clone().layer(pages);
    let config = api.serve().await;
    let parsed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    let cluster = &parsed["clusters"][0]["cluster"];
    let authority = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        cluster["certificate-authority-data"].as_str().unwrap(),
    );
    let trusted = api.folder.path().join("authority.pem");
    std::fs::write(&trusted, authority.unwrap()).unwrap();
    let apply = async |page: &str| {
        let address = format!("{}/pages/{page}.yaml", cluster["server"].as_str().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_torch-remote"));
        command.env_clear().env("HOME", api.folder.path()).env("KUBECONFIG", &config).env("SSL_CERT_FILE", &trusted);
        let output = command.args(["apply", "-f", &address]).stdin(Stdio::null()).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    assert_eq!(apply("moved").await, ("namespace/team created\n".to_owned(), String::new()));
    for (page, why) in [("endless", "more than 5 redirects"), ("large", "at most 8 MiB"), ("none", "404 Not Found")] {
        let (out, err) = apply(page).await;
        assert!(out.is_empty() && err.contains(why) && err.contains("CannotFetch"), "{page}: {out}{err}");
    }
}

#[tokio::test]
async fn a_user_who_acts_as_another_may_do_what_that_one_may() {
    let api = Api::start().await;
    api.grant("ana", "viewer", "default").await;
    let config = api.serve().await;
    let mut parsed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    let token = api.folder.path().join("token");
    std::fs::write(&token, &api.token).unwrap();
    let program = api.folder.path().join("credential");
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": api.token},
    });
    std::fs::write(&program, credential.to_string()).unwrap();
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [program], "interactiveMode": "Never"});
    for user in [json!({"token": api.token}), json!({"tokenFile": token}), json!({"exec": exec})] {
        parsed["users"][0]["user"] = user.clone();
        parsed["users"][0]["user"]["as"] = json!("ana");
        std::fs::write(&config, parsed.to_string()).unwrap();
        let get = async |kind: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_torch-remote"));
            command.env_clear().env("HOME", api.folder.path()).env("KUBECONFIG", &config);
            command.env("PATH", std::env::var_os("PATH").unwrap());
            let output = command.args(["get", kind, "-n", "default"]).stdin(Stdio::null()).output().await.unwrap();
            (output.status.success(), String::from_utf8(output.stderr).unwrap())
        };
        let (fine, err) = get("leases").await;
        assert!(fine, "{user}: {err}");
        let (fine, err) = get("secrets").await;
        assert!(!fine && err.contains("\"ana\" cannot list"), "{user}: {err}");
    }
}
