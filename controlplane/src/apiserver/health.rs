//! Whether the server lives, whether it can serve, and which version it is.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::Server;

/// Longest time the database may take to answer a probe.
const PROBE: Duration = Duration::from_secs(2);

/// Lives: needs nothing but this process.
pub fn live(verbose: bool) -> Response {
    if verbose { "[+]ping ok\nlivez check passed\n" } else { "ok" }.into_response()
}

/// Can serve: the database answers, and this replica's cache is at most a little behind it.
pub async fn ready(server: &Server, verbose: bool) -> Response {
    let newest = tokio::time::timeout(PROBE, server.objects().version()).await;
    let database = matches!(newest, Ok(Ok(_)));
    let cache = match newest {
        Ok(Ok(version)) => server.cache().reach(version).await.is_ok(),
        _ => false,
    };
    let checks = [("database", database), ("watch-cache", cache), ("not-stopping", !server.stopping())];
    let fine = checks.iter().all(|(_, fine)| *fine);
    let mut text = String::new();
    if verbose || !fine {
        for (name, fine) in checks {
            text.push_str(&format!(
                "[{}]{name} {}\n",
                if fine { '+' } else { '-' },
                if fine { "ok" } else { "failed" }
            ));
        }
        text.push_str(if fine { "readyz check passed\n" } else { "readyz check failed\n" });
    } else {
        text.push_str("ok");
    }
    let code = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text).into_response()
}

/// As kubectl reads it: the minor version of Kubernetes whose protocol this speaks.
pub fn version() -> Response {
    Json(json!({
        "major": "1", "minor": "32", "gitVersion": concat!("v1.32.0+torchremote.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
    .into_response()
}
