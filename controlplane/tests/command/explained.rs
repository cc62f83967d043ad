//! What people read when something is in the way: one golden file with every text that needs a broken machine to be seen.

use std::fmt::Write;
use std::io::{Error as Io, ErrorKind};
use std::path::PathBuf;

use torch_remote::auth::issuer::config;
use torch_remote::cli::login;
use torch_remote::explain::{Explain, render};
use torch_remote::up::port;
use torch_remote::{cli, kubeconfig, outbound, postgres, serve, store, tls, up};

fn denied() -> Io {
    Io::from(ErrorKind::PermissionDenied)
}

#[test]
fn every_failure_of_a_start_says_what_why_and_what_to_do() {
    let path = || PathBuf::from("/data/postgres");
    let address = || "127.0.0.1:7443".parse().unwrap();
    let errors: Vec<Box<dyn Explain>> = vec![
        postgres::Error::NotFound { looked: vec!["/usr/lib/postgresql/*/bin".into(), "pg_config --bindir".into()] }
            .into(),
        postgres::Error::NotBinaries { path: path() }.into(),
        postgres::Error::Version { data: 14, found: vec!["15 in /usr/lib/postgresql/15/bin".into()] }.into(),
        postgres::Error::Directory { path: path(), source: denied() }.into(),
        postgres::Error::Unreachable { account: "postgres".into(), folder: "/root".into() }.into(),
        postgres::Error::NoAccount.into(),
        postgres::Error::Spawn { program: path(), source: denied() }.into(),
        postgres::Error::Command { what: "start Postgres", output: "FATAL: no space left".into() }.into(),
        postgres::Error::Undecided { path: path() }.into(),
        postgres::Error::Connect { source: sqlx::Error::PoolTimedOut }.into(),
        port::Error::InUse { address: address(), holder: Some("nginx (pid 7)".into()) }.into(),
        port::Error::InUse { address: address(), holder: None }.into(),
        port::Error::Bind { address: address(), source: denied() }.into(),
        kubeconfig::Error::Foreign { path: path() }.into(),
        kubeconfig::Error::Write { path: path(), source: denied() }.into(),
        tls::Error::Read { path: path(), source: denied() }.into(),
        tls::Error::Missing { what: "private key", path: path() }.into(),
        serve::Error::NoKeyFile.into(),
        serve::Error::Issuers(config::Error::Setting {
            issuer: "http://login.example.org".into(),
            problem: outbound::address("http://login.example.org").unwrap_err().to_string(),
        })
        .into(),
        serve::Error::Database { source: sqlx::Error::PoolTimedOut }.into(),
        serve::Error::Store(store::Error::Outgrown { newest: 23, floor: 31 }).into(),
        up::Error::NoHome.into(),
        up::Error::Directory { path: path(), source: denied() }.into(),
        up::Error::Running { path: path(), pid: "7".into(), address: "127.0.0.1:7443".into() }.into(),
        up::Error::Running { path: path(), pid: "7".into(), address: String::new() }.into(),
    ];
    check("explained.txt", &errors);
}

#[test]
fn every_failure_of_a_login_says_what_why_and_what_to_do() {
    let server = || "https://torch-remote.example.org".to_owned();
    let issuer = || "https://login.example.org".to_owned();
    let slow = || outbound::Error::Slow { host: "torch-remote.example.org:443".into() };
    let errors: Vec<Box<dyn Explain>> = vec![
        login::Error::Unreachable { server: server(), source: slow() }.into(),
        login::Error::Unreachable {
            server: "torch-remote".into(),
            source: outbound::address("torch-remote").unwrap_err(),
        }
        .into(),
        login::Error::Answer { server: server(), what: "code 500".into() }.into(),
        login::Error::NoIssuer { server: server() }.into(),
        login::Error::NoDeviceFlow { issuer: issuer() }.into(),
        login::Error::Refused { issuer: issuer(), why: "code 400: unauthorized_client".into() }.into(),
        login::Error::Denied.into(),
        login::Error::CodeExpired.into(),
        login::Error::NotAccepted { server: server(), why: "Unauthorized: the token is for another audience".into() }
            .into(),
        login::Error::Over { issuer: issuer() }.into(),
        login::Error::NotLoggedIn { path: "/home/ana/logins/a.json".into() }.into(),
        login::Error::Lock { path: "/home/ana/.kube/config.lock".into(), source: denied() }.into(),
        login::Error::Locked { path: "/home/ana/.kube/config".into(), lock: "/home/ana/.kube/config.lock".into() }
            .into(),
        login::Error::Kubeconfig { path: "/home/ana/.kube/config".into() }.into(),
        login::Error::OfUp { path: "/data/kubeconfig".into() }.into(),
        login::Error::NoHome.into(),
        cli::Error::Exec { program: "torch-remote".into(), why: "no answer within 60 s".into() }.into(),
    ];
    check("explained-login.txt", &errors);
}

fn check(golden: &str, errors: &[Box<dyn Explain>]) {
    let mut text = String::new();
    for error in errors {
        assert!(!error.fix().is_empty(), "{} says what to do", error.reason());
        writeln!(text, "{}\n", render(error.as_ref())).unwrap();
    }
    crate::golden::check(golden, &text);
}
