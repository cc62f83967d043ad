//! [`Asks`]: what a route is about, as roles name it; [`Asked`]: what one call to it asks for.

use std::collections::HashMap;

use axum::RequestExt;
use axum::extract::{Path, Request};
use http::Method;
use torch_remote_api::Kind;
use torch_remote_api::rbac::{Action, Target};
use torch_remote_api::selector::FieldSelector;

use super::parameters::Parameters;

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// A path that is no resource.
    Path,
    /// Objects, or a part of one.
    Resource {
        /// API group; empty for core.
        group: &'static str,
        /// Plural.
        resource: &'static str,
        /// Empty for the object itself.
        subresource: &'static str,
    },
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Verb.
    pub verb: &'static str,
    /// On what.
    pub asks: Asks,
    /// Empty: all, or none.
    pub namespace: String,
    /// Empty: all, or none yet.
    pub name: String,
    /// Of the URL.
    pub path: String,
}

impl Asks {
    /// The objects of a kind.
    pub const fn of(kind: &Kind) -> Self {
        Self::Resource { group: kind.group, resource: kind.plural, subresource: "" }
    }

    /// A part of the objects of a kind.
    pub const fn part(kind: &Kind, subresource: &'static str) -> Self {
        Self::Resource { group: kind.group, resource: kind.plural, subresource }
    }

    /// The verb of a method here. `named`: it is about one object; `watch`: it asks for what changes.
    pub fn verb(self, method: &Method, named: bool, watch: bool) -> &'static str {
        let resource = matches!(self, Self::Resource { .. });
        match method.as_str() {
            "GET" | "HEAD" if !resource => "get",
            "GET" | "HEAD" if watch && !named => "watch",
            "GET" | "HEAD" if named => "get",
            "GET" | "HEAD" => "list",
            "POST" if resource => "create",
            "PUT" if resource => "update",
            "PATCH" => "patch",
            "DELETE" if resource && !named => "deletecollection",
            "DELETE" => "delete",
            "POST" => "post",
            "PUT" => "put",
            "OPTIONS" => "options",
            _ => "other",
        }
    }
}

impl Asked {
    /// By its route, method and URL.
    pub async fn of(asks: Asks, request: &mut Request) -> Self {
        let parts = request.extract_parts::<Path<HashMap<String, String>>>().await;
        // What cannot be read is refused by the handler, for whoever may call it at all.
        let mut parts = parts.map(|parts| parts.0).unwrap_or_default();
        let mut part = |name: &str| parts.remove(name).unwrap_or_default();
        let (mut namespace, mut name) = (part("namespace"), part("name"));
        let (mut named, mut watch) = (!name.is_empty(), false);
        if let Asks::Resource { group, resource, subresource } = asks {
            if (group, resource) == ("", "namespaces") {
                // So that a role in a namespace can allow to look at the namespace itself.
                namespace.clone_from(&name);
            }
            if let Ok(parameters) = Parameters::parse(request.uri()) {
                watch = parameters.flag("watch") && subresource.is_empty();
                let one = parameters.get("fieldSelector").and_then(|text| text.parse::<FieldSelector>().ok());
                if let Some(one) = one.as_ref().and_then(|one| one.exact("metadata.name")).filter(|_| !named) {
                    one.clone_into(&mut name);
                }
            }
            // A part is of one object, also where the path has no name for it.
            named |= !subresource.is_empty();
        }
        let verb = asks.verb(request.method(), named, watch);
        if verb == "create" && !named {
            name.clear();
        }
        Self { verb, asks, namespace, name, path: request.uri().path().to_owned() }
    }

    /// As roles judge it.
    pub fn action(&self) -> Action<'_> {
        let target = match self.asks {
            Asks::Path => Target::Path(&self.path),
            Asks::Resource { group, resource, subresource } => {
                Target::Resource { group, resource, subresource, namespace: &self.namespace, name: &self.name }
            }
        };
        Action { verb: self.verb, target }
    }

    /// Keeps a lease alive, or gives a token.
    pub fn keeps_alive(&self) -> bool {
        matches!(self.asks, Asks::Resource { subresource: "renew" | "token", .. })
    }

    /// Whether it changes something, or gives a token: then it is audited. Renewals are too many, and questions change nothing.
    pub fn writes(&self) -> bool {
        let question = match self.asks {
            Asks::Path => false,
            Asks::Resource { group, subresource, .. } => {
                subresource == "renew" || ["authorization.k8s.io", "authentication.k8s.io"].contains(&group)
            }
        };
        !question && matches!(self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const THINGS: Asks = Asks::Resource { group: "g", resource: "things", subresource: "" };

    #[test]
    fn each_method_has_the_verb_of_kubernetes() {
        for (method, named, watch, verb) in [
            ("GET", false, false, "list"),
            ("GET", false, true, "watch"),
            ("GET", true, false, "get"),
            ("GET", true, true, "get"),
            ("HEAD", true, false, "get"),
            ("POST", false, false, "create"),
            ("PUT", true, false, "update"),
            ("PATCH", true, false, "patch"),
            ("DELETE", true, false, "delete"),
            ("DELETE", false, false, "deletecollection"),
            ("OPTIONS", false, false, "options"),
            ("BREW", false, false, "other"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(THINGS.verb(&method, named, watch), verb, "{method} {named} {watch}");
        }
        assert_eq!(Asks::Path.verb(&Method::GET, false, true), "get");
        assert_eq!(Asks::Path.verb(&Method::POST, false, false), "post");
    }

    #[tokio::test]
    async fn a_selector_for_one_name_asks_for_that_object() {
        let asked = async |uri: &str| {
            let mut request = Request::builder().uri(uri).body(Body::empty()).expect("a request");
            Asked::of(THINGS, &mut request).await
        };
        let one = asked("/x?watch=true&fieldSelector=metadata.name%3Da").await;
        assert_eq!((one.verb, one.name.as_str()), ("watch", "a"));
        let several = asked("/x?fieldSelector=metadata.name!%3Da").await;
        assert_eq!((several.verb, several.name.as_str()), ("list", ""));
    }
}
