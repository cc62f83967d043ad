//! Discovery, the route table and the server say the same of every kind and every verb.

use std::collections::BTreeMap;

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};
use torch_remote::apiserver::asks::Asks;
use torch_remote::apiserver::routes::{Access, routes};

use crate::harness::Api;

/// Each verb, its method, and whether it is about one object.
const VERBS: [(&str, &str, bool); 8] = [
    ("create", "POST", false),
    ("delete", "DELETE", true),
    ("deletecollection", "DELETE", false),
    ("get", "GET", true),
    ("list", "GET", false),
    ("patch", "PATCH", true),
    ("update", "PUT", true),
    ("watch", "GET", false),
];

/// A resource as discovery lists it.
struct Listed {
    root: String,
    resource: Value,
}

impl Listed {
    fn name(&self) -> &str {
        self.resource["name"].as_str().unwrap()
    }

    fn allows(&self, verb: &str) -> bool {
        self.resource["verbs"].as_array().unwrap().contains(&json!(verb))
    }

    /// Of the collection, or of one object in it.
    fn uri(&self, one: bool) -> String {
        let place = if self.resource["namespaced"] == json!(true) { "/namespaces/default" } else { "" };
        match self.name().split_once('/') {
            Some((plural, part)) => format!("{}{place}/{plural}/x/{part}", self.root),
            None if one => format!("{}{place}/{}/x", self.root, self.name()),
            None => format!("{}{place}/{}", self.root, self.name()),
        }
    }
}

async fn listed(api: &Api) -> Vec<Listed> {
    let (_, groups) = api.get("/apis").await;
    let versions = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["versions"].as_array().unwrap());
    let roots = versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
    let mut all = Vec::new();
    for root in std::iter::once("/api/v1".to_owned()).chain(roots) {
        let (code, list) = api.get(&root).await;
        assert_eq!(code, StatusCode::OK, "{root}");
        let resources = list["resources"].as_array().unwrap().iter();
        all.extend(resources.map(|resource| Listed { root: root.clone(), resource: resource.clone() }));
    }
    all
}

/// What discovery lists is served, what it does not list is refused as such: 405, or, where there is no such path at all, 404.
#[tokio::test]
async fn a_verb_is_served_if_and_only_if_discovery_lists_it() {
    let api = Api::start().await;
    let (mut served, mut refused) = (0, 0);
    for resource in listed(&api).await {
        for (verb, method, one) in VERBS {
            // A part is always of one object: there is nothing to list or watch.
            let part = resource.name().contains('/');
            if part && matches!(verb, "list" | "watch" | "deletecollection") {
                assert!(!resource.allows(verb), "{} {verb}", resource.name());
                continue;
            }
            let uri = resource.uri(one);
            let query = if verb == "watch" { "watch=true&timeoutSeconds=1" } else { "dryRun=All&fieldManager=test" };
            let uri = format!("{uri}?{query}");
            let headers = [("content-type", "application/merge-patch+json")];
            let (code, answer) = if verb == "watch" {
                // Goes on for as long as it may.
                let authorization = format!("Bearer {}", api.token);
                let answer = api.raw(method, &uri, &[("authorization", &authorization)], Body::empty()).await;
                (answer.status(), Value::Null)
            } else {
                let (code, _, answer) = api.ask(method, &uri, &headers, "{}").await;
                (code, answer)
            };
            assert!(code.as_u16() < 500, "{verb} {uri}: {code} {answer}");
            if resource.allows(verb) {
                assert_ne!(code, StatusCode::METHOD_NOT_ALLOWED, "discovery lists {verb} of {}", resource.name());
                let nowhere = json!("the server could not find the requested resource");
                assert_ne!(
                    answer["message"],
                    nowhere,
                    "discovery lists {verb} of {}, {uri} is no path",
                    resource.name()
                );
                if matches!(verb, "list" | "watch") {
                    assert_eq!(code, StatusCode::OK, "{verb} {uri}");
                }
                served += 1;
            } else {
                let pathless = one && !resource.allows("get") && code == StatusCode::NOT_FOUND;
                let text = format!("discovery does not list {verb} of {}, {uri} answers {code}", resource.name());
                assert!(code == StatusCode::METHOD_NOT_ALLOWED || pathless, "{text}");
                refused += 1;
            }
        }
    }
    assert!(served > 120 && refused > 60, "{served} {refused}");
}

#[tokio::test]
async fn each_route_of_a_resource_is_one_that_discovery_lists() {
    let api = Api::start().await;
    let mut verbs: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for resource in listed(&api).await {
        let group = resource.root.strip_prefix("/apis/").and_then(|root| root.split('/').next()).unwrap_or_default();
        let names = resource.resource["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap().to_owned());
        verbs.insert((group.to_owned(), resource.name().to_owned()), names.collect());
    }
    let mut seen = 0;
    for route in routes(&api.server) {
        let Access::Guarded(asks @ Asks::Resource { group, resource, subresource }) = route.access else { continue };
        let name = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        let listed = verbs.get(&(group.to_owned(), name.clone()));
        let listed =
            listed.unwrap_or_else(|| panic!("{} is of {group} {name}, which discovery does not list", route.path));
        for method in &route.methods {
            let method = http::Method::from_bytes(method.as_bytes()).unwrap();
            let verb = asks.verb(&method, route.path.contains("{name}"), false);
            assert!(
                listed.iter().any(|listed| listed == verb),
                "{method} {} is {verb} of {name}: {listed:?}",
                route.path
            );
            seen += 1;
        }
    }
    assert!(seen > 130, "{seen}");
}
