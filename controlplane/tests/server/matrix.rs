//! Every route × every method × every built-in role × two teams, read off the route table. A route without a row here fails: add what each role may do there,
//! to `api/src/rbac/builtin.rs` and to `docs/roles.md`.

use std::collections::HashMap;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use torch_remote::apiserver::asks::Asks;
use torch_remote::apiserver::routes::{Access, Route, routes};

use crate::harness::Api;

const NONE: &[&str] = &[];
const READ: &[&str] = &["get", "list", "watch"];
const ALL: &[&str] = &["get", "list", "watch", "create", "delete", "deletecollection", "patch", "update"];
const LOOK: &[&str] = &["get", "list"];
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];

/// What viewer, user, team-admin and operator may do with it.
type Row = (&'static str, [&'static [&'static str]; 4]);

const TABLE: &[Row] = &[
    ("apiextensions.k8s.io/customresourcedefinitions", [READ, READ, READ, READ]),
    ("apiextensions.k8s.io/customresourcedefinitions/status", [READ, READ, READ, READ]),
    ("authentication.k8s.io/selfsubjectreviews", [CREATE, CREATE, CREATE, CREATE]),
    ("authentication.k8s.io/tokenreviews", [NONE, NONE, NONE, CREATE]),
    ("authorization.k8s.io/localsubjectaccessreviews", [NONE, NONE, CREATE, CREATE]),
    ("authorization.k8s.io/selfsubjectaccessreviews", [CREATE, CREATE, CREATE, CREATE]),
    ("authorization.k8s.io/selfsubjectrulesreviews", [CREATE, CREATE, CREATE, CREATE]),
    ("authorization.k8s.io/subjectaccessreviews", [NONE, NONE, NONE, CREATE]),
    ("events", [READ, READ, READ, &["get", "list", "watch", "create", "patch", "update"]]),
    ("events.k8s.io/events", [READ, READ, READ, READ]),
    ("namespaces", [READ, READ, READ, ALL]),
    ("namespaces/status", [READ, READ, READ, READ]),
    ("rbac.authorization.k8s.io/clusterrolebindings", [NONE, NONE, NONE, ALL]),
    ("rbac.authorization.k8s.io/clusterroles", [NONE, NONE, NONE, ALL]),
    ("rbac.authorization.k8s.io/rolebindings", [NONE, NONE, ALL, ALL]),
    ("rbac.authorization.k8s.io/roles", [NONE, NONE, ALL, ALL]),
    ("secrets", [NONE, NONE, ALL, ALL]),
    ("serviceaccounts", [READ, READ, ALL, ALL]),
    ("serviceaccounts/token", [NONE, NONE, CREATE, CREATE]),
    ("services", [READ, READ, READ, READ]),
    ("torchremote.dev/auditevents", [NONE, NONE, NONE, LOOK]),
    ("torchremote.dev/deviceleases", [READ, ALL, ALL, ALL]),
    ("torchremote.dev/deviceleases/renew", [NONE, CREATE, CREATE, CREATE]),
    ("torchremote.dev/deviceleases/status", [READ, READ, READ, READ]),
    ("torchremote.dev/deviceleases/token", [NONE, CREATE, CREATE, CREATE]),
    ("torchremote.dev/devices", [READ, READ, READ, READ]),
    ("torchremote.dev/gpuquotas", [READ, READ, READ, ALL]),
    ("torchremote.dev/gpuquotas/status", [READ, READ, READ, READ]),
    ("torchremote.dev/machinepools", [READ, READ, ALL, ALL]),
    (
        "torchremote.dev/machinepools/scale",
        [READ, READ, &["get", "list", "watch", "patch", "update"], &["get", "list", "watch", "patch", "update"]],
    ),
    ("torchremote.dev/machinepools/status", [READ, READ, READ, READ]),
    ("torchremote.dev/providers", [READ, READ, READ, ALL]),
    ("torchremote.dev/providers/status", [READ, READ, READ, READ]),
    ("torchremote.dev/remotemachines", [READ, READ, ALL, ALL]),
    ("torchremote.dev/remotemachines/status", [READ, READ, READ, READ]),
    ("torchremote.dev/tensors", [READ, READ, READ, READ]),
];

const ROLES: [&str; 4] = ["viewer", "user", "team-admin", "operator"];

fn row(asks: Asks) -> Option<[&'static [&'static str]; 4]> {
    let Asks::Resource { group, resource, subresource } = asks else { return None };
    let whole: Vec<&str> = [group, resource, subresource].into_iter().filter(|part| !part.is_empty()).collect();
    TABLE.iter().find(|(name, _)| *name == whole.join("/")).map(|(_, row)| *row)
}

/// What a path that is no resource allows: the documents to anybody with a token, the figures to operators.
fn of_path(path: &str, verb: &str, operator: bool) -> bool {
    let document = ["/api", "/openapi", "/version"].iter().any(|start| path.starts_with(start));
    verb == "get" && (document || (operator && GET.contains(&verb) && path == "/metrics"))
}

/// A caller: its role, and whether it has it everywhere or in the namespace `vision` alone.
#[derive(Debug, Clone, Copy)]
struct Someone {
    role: usize,
    everywhere: bool,
}

impl Someone {
    fn name(self) -> String {
        format!("{}-{}", ROLES[self.role], if self.everywhere { "everywhere" } else { "vision" })
    }

    fn may(self, route: &Route, asks: Asks, verb: &str, namespace: &str) -> bool {
        let Asks::Resource { .. } = asks else { return of_path(&route.path, verb, self.role == 3 && self.everywhere) };
        let allowed = row(asks).expect("judged before")[self.role].contains(&verb);
        // What every caller with a token may ask about itself.
        let about_oneself = row(asks) == Some([CREATE; 4]) && verb == "create";
        let here = self.everywhere || (route.path.contains("{namespace}") && namespace == "vision");
        about_oneself || (allowed && here)
    }
}

fn verbs(asks: Asks, route: &Route, method: &str) -> Vec<(&'static str, bool)> {
    let method = http::Method::from_bytes(method.as_bytes()).unwrap();
    let named = route.path.contains("{name}");
    let mut verbs = vec![(asks.verb(&method, named, false), false)];
    if method == "GET" && !named && asks != Asks::Path {
        verbs.push((asks.verb(&method, named, true), true));
    }
    verbs
}

#[tokio::test]
async fn each_role_may_do_in_its_namespace_what_the_table_says_and_elsewhere_nothing() {
    let api = Api::start().await;
    for team in ["vision", "audio"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}});
        assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    }
    let everybody = (0..ROLES.len()).flat_map(|role| [true, false].map(|everywhere| Someone { role, everywhere }));
    let mut tokens = HashMap::new();
    for someone in everybody.clone() {
        api.grant(&someone.name(), ROLES[someone.role], if someone.everywhere { "" } else { "vision" }).await;
        tokens.insert(someone.name(), api.token_of(&someone.name()));
    }
    let table = routes(&api.server);
    let (mut allowed, mut denied) = (0, 0);
    for route in &table {
        let Access::Guarded(asks) = route.access else { continue };
        assert!(asks == Asks::Path || row(asks).is_some(), "{} has no row in this table", route.path);
        for (team, method) in
            ["vision", "audio"].into_iter().flat_map(|team| route.methods.iter().map(move |method| (team, *method)))
        {
            for (verb, watch) in verbs(asks, route, method) {
                let uri = route.path.replace("{namespace}", team).replace("{name}", "x");
                let uri = format!("{uri}?dryRun=All{}", if watch { "&watch=true&timeoutSeconds=1" } else { "" });
                for someone in everybody.clone() {
                    let may = someone.may(route, asks, verb, team);
                    let refused = refused(&api, &tokens[&someone.name()], method, &uri).await;
                    let says = format!("User {:?} cannot {verb} ", someone.name());
                    match refused {
                        None => assert!(may, "{} may not {verb} {uri}", someone.name()),
                        Some(text) => assert!(!may && text.contains(&says), "{} {verb} {uri}: {text}", someone.name()),
                    }
                    *if may { &mut allowed } else { &mut denied } += 1;
                }
            }
        }
    }
    assert!(allowed > 400 && denied > 400, "{allowed} {denied}");
}

/// The text of a 403 that is for want of a role; none of other answers.
async fn refused(api: &Api, token: &str, method: &str, uri: &str) -> Option<String> {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let response = api.raw(method, uri, &headers, Body::empty()).await;
    assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{method} {uri}");
    assert!(response.status().as_u16() < 500, "{method} {uri}: {}", response.status());
    if response.status() != StatusCode::FORBIDDEN {
        return None;
    }
    let status: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("Forbidden")), "{status}");
    let text = status["message"].as_str().unwrap();
    text.contains(" cannot ").then(|| text.to_owned())
}

/// What discovery lists can be listed, and watched where it says so, by a role that only reads.
#[tokio::test]
async fn every_listed_kind_can_be_read_with_a_read_only_role() {
    let api = Api::start().await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "read-all"},
        "rules": [{"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}],
    });
    assert_eq!(api.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await.0, StatusCode::CREATED);
    api.grant("argo", "read-all", "").await;
    let (_, groups) = api.send_as("argo", "GET", "/apis", Value::Null).await;
    let mut roots = vec!["/api/v1".to_owned()];
    for group in groups["groups"].as_array().unwrap() {
        roots.push(format!("/apis/{}", group["preferredVersion"]["groupVersion"].as_str().unwrap()));
    }
    let mut seen = 0;
    for root in roots {
        let (_, list) = api.send_as("argo", "GET", &root, Value::Null).await;
        for resource in list["resources"].as_array().unwrap() {
            let verbs: Vec<&str> =
                resource["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap()).collect();
            let uri = format!("{root}/{}", resource["name"].as_str().unwrap());
            if verbs.contains(&"list") && !uri.contains("/status") {
                let (code, body) = api.send_as("argo", "GET", &uri, Value::Null).await;
                assert_eq!(code, StatusCode::OK, "{uri}: {body}");
                seen += 1;
            }
            if verbs.contains(&"watch") {
                let refused =
                    refused(&api, &api.token_of("argo"), "GET", &format!("{uri}?watch=true&timeoutSeconds=1")).await;
                assert_eq!(refused, None, "{uri}");
            }
        }
    }
    assert!(seen > 8, "{seen}");
}
