//! Callers whom an issuer vouches for: their tokens, logging in, and staying so.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use torch_remote::auth::Clock;
use torch_remote::auth::issuer::Pace;
use torch_remote::cli::login::Credentials;

use crate::harness::Api;
use crate::issuer::Issuer;
use crate::sample::{LEASES, lease};

const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const HOUR: Duration = Duration::from_secs(3600);
const OFTEN: Pace = Pace { soonest: Duration::ZERO, kept: HOUR };
const ONCE: Pace = Pace { soonest: HOUR, kept: HOUR };

/// Who the API takes the bearer of a token for, or the code and text of its refusal.
async fn whoami(api: &Api, token: &str) -> Result<Value, (StatusCode, String)> {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let response = api.raw("POST", REVIEW, &headers, Body::from("{}")).await;
    let code = response.status();
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    if code == StatusCode::CREATED {
        Ok(body["status"]["userInfo"].clone())
    } else {
        Err((code, body["message"].as_str().unwrap_or_default().to_owned()))
    }
}

/// A POST with that token.
async fn post(api: &Api, token: &str, uri: &str, body: Value) -> (StatusCode, Value) {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let response = api.raw("POST", uri, &headers, Body::from(body.to_string())).await;
    let (code, body) = (response.status(), response.into_body().collect().await.unwrap().to_bytes());
    (code, serde_json::from_slice(&body).unwrap())
}

async fn started(pace: Pace) -> (Issuer, Api) {
    let issuer = Issuer::start(Clock::default()).await;
    let api = Api::start_with(issuer.trusted(pace)).await;
    (issuer, api)
}

#[tokio::test]
async fn an_issuer_s_user_is_known_by_name_and_groups_with_each_algorithm() {
    let (issuer, api) = started(Pace::default()).await;
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let user = whoami(&api, &issuer.token("ana", algorithm)).await.unwrap();
        assert_eq!(user, json!({"username": "oidc:ana", "groups": ["vision", "system:authenticated"]}));
    }
    assert_eq!(issuer.state.key_reads.load(Ordering::Relaxed), 1, "keys are kept");
    let review = async |audiences: Value| {
        let spec = json!({"token": issuer.token("ana", Algorithm::ES256), "audiences": audiences});
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        api.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await.1["status"]["authenticated"]
            .clone()
    };
    assert_eq!(review(json!([])).await, true);
    assert_eq!(review(json!(["registry"])).await, false, "it is not for whoever asks");
    let mut expired = issuer.claims("ana");
    expired["exp"] = json!(issuer.state.clock.now());
    let (code, why) = whoami(&api, &issuer.sign(&expired, Algorithm::ES256)).await.unwrap_err();
    assert_eq!((code, why.contains("expired")), (StatusCode::UNAUTHORIZED, true), "{why}");
}

#[tokio::test]
async fn a_lease_is_held_by_the_issuer_s_user_or_the_account_that_asked_for_it() {
    let (issuer, api) = started(Pace::default()).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    api.send("POST", "/api/v1/namespaces/default/serviceaccounts", account).await;
    let (_, answer) = api.send("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token", json!({})).await;
    let robot = answer["status"]["token"].as_str().unwrap().to_owned();
    for user in ["oidc:ana", "system:serviceaccount:default:robot"] {
        api.grant(user, "user", "default").await;
    }
    let ana = issuer.token("ana", Algorithm::ES256);
    for (name, token, holder) in
        [("of-ana", &ana, "oidc:ana"), ("of-robot", &robot, "system:serviceaccount:default:robot")]
    {
        let (code, made) = post(&api, token, LEASES, lease(name)).await;
        assert_eq!((code, &made["status"]["holder"]), (StatusCode::CREATED, &json!(holder)), "{made}");
    }
    let (code, _) = post(&api, &ana, &format!("{LEASES}/of-robot/renew"), json!({})).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_issuer_that_is_not_configured_is_not_asked() {
    let (issuer, api) = started(OFTEN).await;
    let stranger = Issuer::start(Clock::default()).await;
    let (code, _) = whoami(&api, &stranger.token("ana", Algorithm::ES256)).await.unwrap_err();
    assert_eq!(code, StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.state.key_reads.load(Ordering::Relaxed), 0);
    // Its token under the name of the one that is.
    let mut claims = stranger.claims("ana");
    claims["iss"] = json!(issuer.url);
    let (code, _) = whoami(&api, &stranger.sign(&claims, Algorithm::ES256)).await.unwrap_err();
    assert_eq!(code, StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.state.key_reads.load(Ordering::Relaxed), 0);
}

/// Tokens under the issuer's name with keys that are not its.
async fn strangers(issuer: &Issuer, count: usize) -> Vec<String> {
    let other = Issuer::start(Clock::default()).await;
    let token = |number| {
        other.rotate();
        let mut claims = other.claims(&format!("user-{number}"));
        claims["iss"] = json!(issuer.url);
        other.sign(&claims, Algorithm::ES256)
    };
    (0..count).map(token).collect()
}

/// Waits until the issuer was asked what it is, so often.
async fn asked(issuer: &Issuer, times: usize) {
    let so = async {
        while issuer.state.discoveries.load(Ordering::Relaxed) < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), so).await.expect("it is asked");
}

#[tokio::test]
async fn few_wait_for_an_issuer_at_a_time_and_the_others_are_told_to_come_again() {
    use futures::StreamExt;
    let (issuer, api) = started(ONCE).await;
    let strangers = strangers(&issuer, 40).await;
    let gate = issuer.state.gate.write().await;
    let mut calls: futures::stream::FuturesUnordered<_> = strangers.iter().map(|token| whoami(&api, token)).collect();
    for _ in 0..24 {
        assert_eq!(calls.next().await.unwrap().unwrap_err().0, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(whoami(&api, &api.token).await.is_ok(), "who needs no issuer is not held up");
    drop(gate);
    while let Some(answer) = calls.next().await {
        assert_eq!(answer.unwrap_err().0, StatusCode::UNAUTHORIZED, "who waited has an answer");
    }
    assert_eq!(issuer.state.discoveries.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_use_up_the_look_at_the_keys() {
    let (issuer, api) = started(ONCE).await;
    let token = issuer.token("ana", Algorithm::ES256);
    let gate = issuer.state.gate.write().await;
    tokio::select! {
        answer = whoami(&api, &token) => panic!("the issuer is silent: {answer:?}"),
        () = asked(&issuer, 1) => {}
    }
    drop(gate);
    whoami(&api, &token).await.expect("the keys are known");
    assert_eq!(issuer.state.discoveries.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn known_keys_stay_in_use_while_the_issuer_is_away_and_end_when_it_takes_them_back() {
    let (issuer, api) = started(OFTEN).await;
    let token = issuer.token("ana", Algorithm::ES256);
    assert!(whoami(&api, &token).await.is_ok());
    issuer.state.away.store(true, Ordering::Relaxed);
    let strangers = strangers(&issuer, 2).await;
    assert_eq!(whoami(&api, &strangers[0]).await.unwrap_err().0, StatusCode::UNAUTHORIZED);
    assert_eq!(issuer.state.discoveries.load(Ordering::Relaxed), 2, "it was asked, and was away");
    assert!(whoami(&api, &token).await.is_ok());
    issuer.state.away.store(false, Ordering::Relaxed);
    issuer.withdraw();
    assert_eq!(whoami(&api, &strangers[1]).await.unwrap_err().0, StatusCode::UNAUTHORIZED);
    assert_eq!(whoami(&api, &token).await.unwrap_err().0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn keys_that_nobody_has_confirmed_for_long_are_not_used() {
    let (issuer, api) = started(Pace { soonest: Duration::ZERO, kept: Duration::from_secs(2) }).await;
    let token = issuer.token("ana", Algorithm::ES256);
    assert!(whoami(&api, &token).await.is_ok());
    issuer.state.away.store(true, Ordering::Relaxed);
    let ended = async {
        loop {
            match whoami(&api, &token).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err((code, _)) => break code,
            }
        }
    };
    let code = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("they end");
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    issuer.state.away.store(false, Ordering::Relaxed);
    assert!(whoami(&api, &token).await.is_ok());
}

#[tokio::test]
async fn two_hundred_calls_with_unknown_keys_ask_the_issuer_once() {
    let (issuer, api) = started(ONCE).await;
    let strangers = strangers(&issuer, 200).await;
    let calls = strangers.iter().map(|token| whoami(&api, token));
    for answer in futures::future::join_all(calls).await {
        let (code, why) = answer.unwrap_err();
        assert!([StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE].contains(&code), "{code} {why}");
    }
    assert_eq!(issuer.state.key_reads.load(Ordering::Relaxed), 1);
    assert!(whoami(&api, &issuer.token("ana", Algorithm::ES256)).await.is_ok(), "who has a known key is not held up");
}

#[tokio::test]
async fn an_issuer_s_new_keys_are_found_and_its_old_ones_forgotten() {
    let (issuer, api) = started(OFTEN).await;
    let old = issuer.token("ana", Algorithm::ES256);
    assert!(whoami(&api, &old).await.is_ok());
    issuer.rotate();
    assert!(whoami(&api, &issuer.token("ana", Algorithm::ES256)).await.is_ok());
    assert_eq!(whoami(&api, &old).await.unwrap_err().0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_makes_its_users_try_again_and_no_others() {
    let issuer = Issuer::start(Clock::default()).await;
    let mut settings = issuer.settings();
    // Nobody listens there.
    settings.issuer = "http://127.0.0.1:9".into();
    let issuers = torch_remote::auth::Issuers::new(vec![settings], Pace::default()).unwrap();
    let api = Api::start_with(torch_remote::apiserver::Authentication { issuers, ..Default::default() }).await;
    let mut claims = issuer.claims("ana");
    claims["iss"] = json!("http://127.0.0.1:9");
    let (code, why) = whoami(&api, &issuer.sign(&claims, Algorithm::ES256)).await.unwrap_err();
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(whoami(&api, &api.token).await.is_ok());
}

/// `torch-remote` with a login of its own.
struct Client {
    home: PathBuf,
    config: PathBuf,
}

impl Client {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", &self.home).env("XDG_DATA_HOME", self.home.join("data"));
        command.env("KUBECONFIG", &self.config).env("PATH", std::env::var_os("PATH").unwrap());
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> (bool, String, String) {
        let output = tokio::time::timeout(Duration::from_secs(60), self.command(program, arguments).output());
        let output = output.await.expect("it ends").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn file_of_login(&self) -> PathBuf {
        let config = kube::config::Kubeconfig::read_from(&self.config).unwrap();
        let user = config.auth_infos.last().unwrap().auth_info.clone().unwrap();
        user.exec.unwrap().args.unwrap()[3].clone().into()
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_torch-remote");

/// Serves the API, and begins to log in with the program, whose output is returned.
async fn logging_in(api: &Api) -> (Client, Child, Lines<BufReader<ChildStdout>>) {
    let served = kube::config::Kubeconfig::read_from(api.serve().await).unwrap();
    let cluster = served.clusters[0].cluster.clone().unwrap();
    let (server, authority) = (cluster.server.unwrap(), cluster.certificate_authority_data.unwrap());
    let home = api.folder.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let ca = home.join("ca.pem");
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, authority).unwrap();
    std::fs::write(&ca, pem).unwrap();
    let client = Client { config: home.join("config"), home };
    let mut login = client.command(PROGRAM, &["login", &server, "--certificate-authority", ca.to_str().unwrap()]);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(login.stdout.take().unwrap()).lines();
    (client, login, lines)
}

/// Serves the API, and logs `user` in with the program.
async fn logged_in(issuer: &Issuer, api: &Api, user: &str) -> Client {
    api.grant(&format!("oidc:{user}"), "user", "").await;
    let (client, mut login, mut lines) = logging_in(api).await;
    let code = loop {
        let line = lines.next_line().await.unwrap().expect("a code is shown");
        if let Some((_, code)) = line.split_once("enter the code ") {
            break code.trim().to_owned();
        }
    };
    issuer.approve(&code, user);
    let said = lines.next_line().await.unwrap().expect("it says who is logged in");
    assert!(said.starts_with(&format!("Logged in as oidc:{user}.")), "{said}");
    assert!(login.wait().await.unwrap().success());
    client
}

#[tokio::test]
async fn a_person_logs_in_once_and_kubectl_and_our_client_are_logged_in() {
    use std::os::unix::fs::PermissionsExt;
    let (issuer, api) = started(Pace::default()).await;
    // Asked too often at first, as issuers do.
    issuer.state.odd_answers.lock().unwrap().push((503, json!({})));
    let client = logged_in(&issuer, &api, "ana").await;
    let file = client.file_of_login();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let config = std::fs::read_to_string(&client.config).unwrap();
    assert!(!config.contains("eyJ"), "the kubeconfig has no token: {config}");
    let (fine, out, err) = client.run(PROGRAM, &["get", "ns", "default"]).await;
    assert!(fine && out.contains("default"), "{out}{err}");
    let (fine, out, err) = client.run("kubectl", &["auth", "whoami", "-o", "jsonpath={.status.userInfo}"]).await;
    assert!(fine, "{out}{err}");
    let user: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(user, json!({"username": "oidc:ana", "groups": ["vision", "system:authenticated"]}));
    assert!(!client.home.join("config.lock").exists(), "the kubeconfig is free for others");
}

#[tokio::test]
async fn a_login_that_is_denied_or_not_entered_in_time_says_so_and_writes_nothing() {
    let (issuer, api) = started(Pace::default()).await;
    for (answer, says) in [
        ("access_denied", "the login was denied"),
        ("expired_token", "the code was not entered in time"),
        ("unauthorized_client", "code 400: unauthorized_client"),
    ] {
        issuer.state.odd_answers.lock().unwrap().push((400, json!({"error": answer})));
        let (client, login, _lines) = logging_in(&api).await;
        let ended = tokio::time::timeout(Duration::from_secs(60), login.wait_with_output()).await.unwrap().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && err.contains(says), "{answer}: {err}");
        assert!(!client.config.exists());
    }
}

#[tokio::test]
async fn many_processes_at_once_trade_a_refresh_token_once() {
    let (issuer, api) = started(Pace::default()).await;
    let client = logged_in(&issuer, &api, "ana").await;
    let file = client.file_of_login();
    let later = issuer.state.clock.now() + 31;
    // Time goes on while they wait for each other.
    let reads = std::sync::atomic::AtomicI64::new(0);
    let clock = || later + reads.fetch_add(1, Ordering::Relaxed) / 3;
    let asked = (0..20).map(|_| Credentials::token(&file, clock));
    let tokens: Vec<String> =
        futures::future::join_all(asked).await.into_iter().map(|fresh| fresh.unwrap().token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(issuer.state.refreshes.load(Ordering::Relaxed), 1);
    // An issuer that is away for a while is not noticed before the last token ends; one that has ended the session is.
    issuer.state.odd_answers.lock().unwrap().push((503, json!({})));
    assert!(Credentials::token(&file, || later + 42).await.is_ok());
    issuer.forget();
    let over = Credentials::token(&file, || later + 42).await.unwrap_err();
    assert!(over.to_string().contains("the login has ended"), "{over}");
}

#[tokio::test]
async fn ten_minutes_with_tokens_of_a_minute_are_never_noticed() {
    let issuer = Issuer::start(Clock::default()).await;
    let api = Api::start_with(issuer.trusted(Pace::default())).await;
    let client = logged_in(&issuer, &api, "ana").await;
    let (file, first) = (client.file_of_login(), issuer.state.clock.now());
    let stale = Credentials::token(&file, || first).await.unwrap().token;
    let authorization = format!("Bearer {stale}");
    let headers = [("authorization", authorization.as_str())];
    let watch = api.raw("GET", "/api/v1/namespaces?watch=1", &headers, Body::empty()).await;
    assert_eq!(watch.status(), StatusCode::OK);
    let mut watch = crate::harness::Events::of(watch);
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    // As the SDK does while it waits for a session: a lease that is renewed every ten seconds.
    assert_eq!(post(&api, &stale, LEASES, lease("training")).await.0, StatusCode::CREATED);
    for step in 0..60 {
        issuer.state.clock.pass(10);
        api.keys.clock().pass(10);
        let fresh = Credentials::token(&file, || issuer.state.clock.now()).await.unwrap();
        let (code, said) = post(&api, &fresh.token, &format!("{LEASES}/training/renew"), json!({})).await;
        assert_eq!(code, StatusCode::OK, "after {} s: {said}", (step + 1) * 10);
    }
    let refreshes = issuer.state.refreshes.load(Ordering::Relaxed);
    assert_eq!(refreshes, 20, "one at half of each token's life");
    let (code, why) = whoami(&api, &stale).await.unwrap_err();
    assert_eq!((code, why.contains("expired")), (StatusCode::UNAUTHORIZED, true), "who does not refresh is out: {why}");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    loop {
        let event = watch.next().await.expect("the watch goes on");
        if event["object"]["metadata"]["name"] == "later" {
            break;
        }
    }
}

#[tokio::test]
async fn programs_with_a_login_ask_for_a_new_token_when_theirs_ends() {
    let (issuer, api) = started(Pace::default()).await;
    // So short that each of these programs meets the end of one.
    issuer.state.life.store(4, Ordering::Relaxed);
    let client = logged_in(&issuer, &api, "ana").await;
    let mut watch = client.command("kubectl", &["get", "ns", "-w", "-o", "name"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let before = issuer.state.refreshes.load(Ordering::Relaxed);
    let began = std::time::Instant::now();
    // Real programs read the real clock: for two lives of a token.
    while began.elapsed() < Duration::from_secs(8) {
        for program in [PROGRAM, "kubectl"] {
            let (fine, out, err) = client.run(program, &["get", "ns", "default"]).await;
            assert!(fine, "{program}: {out}{err}");
        }
    }
    assert!(issuer.state.refreshes.load(Ordering::Relaxed) > before);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    let seen = async { while lines.next_line().await.unwrap().expect("kubectl goes on") != "namespace/later" {} };
    tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the watch that was open all the time sees it");
}

#[tokio::test]
async fn a_control_plane_without_a_login_says_so() {
    let api = Api::start().await;
    let response = api.raw("GET", "/.well-known/torch-remote-login", &[], Body::empty()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let served = kube::config::Kubeconfig::read_from(api.serve().await).unwrap();
    let server = served.clusters[0].cluster.clone().unwrap().server.unwrap();
    let home = api.folder.path().to_owned();
    let client = Client { config: home.join("config"), home };
    let (fine, _, err) = client.run(PROGRAM, &["login", &server]).await;
    assert!(!fine && err.contains("--certificate-authority"), "its certificate is of no known authority: {err}");
    let (fine, _, err) = client.run(PROGRAM, &["login", "http://control.example"]).await;
    assert!(!fine && err.contains("https://"), "{err}");
}
