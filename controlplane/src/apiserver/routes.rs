//! The route table: every path there is, what it is about, and what answers. Tests read it to ask each route without a token and in every role.

use std::collections::HashMap;
use std::future::Future;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use axum::{Json, RequestExt};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use torch_remote_api::status::{Reason, Status};
use torch_remote_api::{Kind, kinds};

use super::asks::Asks;
use super::audit::Record;
use super::failure::Failure;
use super::objects::Call;
use super::parameters::Parameters;
use super::render::answer;
use super::virtual_kind::Look;
use super::{Server, body, health, review, token_review};
use crate::auth::Caller;
use crate::store::Resource;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Whoever has a role that allows it.
    Guarded(Asks),
}

/// One path.
pub struct Route {
    /// As axum writes it.
    pub path: String,
    /// What can be done there.
    pub methods: Vec<&'static str>,
    /// Who may.
    pub access: Access,
    /// What answers; also, with a Status, other methods.
    pub(super) handler: MethodRouter<Server>,
}

/// All of them.
pub fn routes(server: &Server) -> Vec<Route> {
    let mut routes = public();
    let documents = server.documents().paths().map(str::to_owned);
    // Generated clients end the paths of discovery with a slash.
    let documents = documents.flat_map(|path| match path.starts_with("/openapi") {
        true => vec![path],
        false => vec![format!("{path}/"), path],
    });
    routes.extend(documents.map(|path| Route::new(path, &["GET"], Asks::Path, get(document))));
    routes.extend([
        Route::new("/metrics", &["GET"], Asks::Path, get(metrics)),
        Route::new("/api/v1/services", &["GET"], SERVICES, get(no_services)),
        Route::new("/api/v1/namespaces/{namespace}/services", &["GET"], SERVICES, get(no_services)),
        Route::new("/api/v1/namespaces/{namespace}/services/{name}", &["GET"], SERVICES, get(no_service)),
    ]);
    routes.extend(reviews());
    routes.extend(kinds().iter().filter(|kind| kind.served).flat_map(of_kind));
    routes
}

const SERVICES: Asks = Asks::Resource { group: "", resource: "services", subresource: "" };

impl Route {
    fn new(path: impl Into<String>, methods: &[&'static str], asks: Asks, handler: MethodRouter<Server>) -> Self {
        Self { path: path.into(), methods: methods.to_vec(), access: Access::Guarded(asks), handler }
    }
}

fn reviews() -> Vec<Route> {
    let review = |group: &'static str, place: &str, resource: &'static str, handler| {
        let path = format!("/apis/{group}/v1/{place}{resource}");
        Route::new(path, &["POST"], Asks::Resource { group, resource, subresource: "" }, handler)
    };
    let (authentication, authorization) = ("authentication.k8s.io", "authorization.k8s.io");
    let local = "namespaces/{namespace}/";
    vec![
        review(authentication, "", "selfsubjectreviews", any(ask_myself)),
        review(authentication, "", "tokenreviews", any(token_review::answer)),
        review(authorization, "", "selfsubjectaccessreviews", any(ask_access)),
        review(authorization, "", "selfsubjectrulesreviews", any(ask_rules)),
        review(authorization, "", "subjectaccessreviews", any(ask_access_of)),
        review(authorization, local, "localsubjectaccessreviews", any(ask_access_of)),
    ]
}

fn public() -> Vec<Route> {
    let routes = [
        ("/livez", get(async |_: Server, request: Request| Ok(health::live(verbose(&request))))),
        ("/healthz", get(ready)),
        ("/readyz", get(ready)),
        ("/version", get(async |_: Server, _: Request| Ok(health::version()))),
        ("/version/", get(async |_: Server, _: Request| Ok(health::version()))),
        ("/openid/v1/jwks", get(async |server: Server, _: Request| Ok(Json(server.keys().jwks()).into_response()))),
        ("/.well-known/openid-configuration", get(openid)),
        ("/.well-known/torch-remote-login", get(login)),
    ];
    routes
        .into_iter()
        .map(|(path, handler)| Route { access: Access::Public, ..Route::new(path, &["GET"], Asks::Path, handler) })
        .collect()
}

/// GET alone; other methods are refused with a Status.
fn get<F, R>(handler: F) -> MethodRouter<Server>
where
    F: Fn(Server, Request) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response, Failure>> + Send,
{
    any(move |State(server): State<Server>, request: Request| {
        let handler = handler.clone();
        async move {
            match *request.method() {
                Method::GET | Method::HEAD => handler(server, request).await,
                _ => Err(Status::method_not_allowed_here().into()),
            }
        }
    })
}

fn of_kind(kind: &'static Kind) -> Vec<Route> {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let all = format!("{root}/{}", kind.plural);
    let collection =
        if kind.namespaced { format!("{root}/namespaces/{{namespace}}/{}", kind.plural) } else { all.clone() };
    let handler = || any(move |State(server): State<Server>, request: Request| objects(server, kind, request));
    let (on_many, on_one): (&[_], &[_]) = match kind.read_only {
        true => (&["GET"], &["GET"]),
        false => (&["GET", "POST", "DELETE"], &["GET", "PUT", "PATCH", "DELETE"]),
    };
    let mut routes = vec![
        Route::new(collection.clone(), on_many, Asks::of(kind), handler()),
        Route::new(format!("{collection}/{{name}}"), on_one, Asks::of(kind), handler()),
    ];
    if kind.namespaced {
        routes.push(Route::new(
            all,
            if kind.read_only { &["GET"] } else { &["GET", "DELETE"] },
            Asks::of(kind),
            handler(),
        ));
    }
    if kind.has_status {
        routes.push(subresource(kind, &collection, "status", &["GET", "PUT", "PATCH"]));
    }
    for part in kind.subresources {
        let methods: Vec<&str> = part.verbs.iter().map(|verb| method(verb)).collect();
        routes.push(subresource(kind, &collection, part.name, &methods));
    }
    routes
}

fn method(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "update" => "PUT",
        "patch" => "PATCH",
        _ => "POST",
    }
}

fn subresource(kind: &'static Kind, collection: &str, name: &'static str, methods: &[&'static str]) -> Route {
    let handler = any(move |State(server): State<Server>, mut request: Request| {
        request.extensions_mut().insert(Subresource(name));
        objects(server, kind, request)
    });
    Route::new(format!("{collection}/{{name}}/{name}"), methods, Asks::part(kind, name), handler)
}

#[derive(Debug, Clone, Copy)]
struct Subresource(&'static str);

async fn objects(server: Server, kind: &'static Kind, mut request: Request) -> Result<Response, Failure> {
    let parts: Path<HashMap<String, String>> =
        request.extract_parts().await.map_err(|_| Failure::bad_request("the path is malformed".to_owned()))?;
    // No name holds a NUL, and Postgres takes none.
    if parts.values().any(|part| part.contains('\0')) {
        return Err(Status::no_such_path().into());
    }
    let namespace = parts.get("namespace").cloned();
    let name = parts.get("name").cloned().unwrap_or_default();
    let parameters = Parameters::parse(request.uri())?;
    let (parts, body) = request.into_parts();
    let Some(resource) = Resource::find(kind.group, kind.plural) else {
        let source = server.virtual_kind(kind).ok_or_else(|| Status::method_not_allowed(kind, "list"))?;
        let caller = caller(&parts.extensions)?;
        let (parameters, headers) = (&parameters, &parts.headers);
        let look = Look { server: &server, caller: &caller, kind, namespace, name: &name, parameters, headers };
        return look.answer(&parts.method, &*source).await;
    };
    let call = Call {
        caller: caller(&parts.extensions)?,
        record: parts.extensions.get::<Record>().cloned(),
        server,
        kind,
        resource,
        namespace,
        name,
        subresource: parts.extensions.get::<Subresource>().map(|part| part.0.to_owned()).unwrap_or_default(),
        method: parts.method,
        parameters,
        headers: parts.headers,
    };
    call.answer(body).await
}

fn caller(extensions: &http::Extensions) -> Result<Caller, Failure> {
    // Put there by the guard over all routes that are not public.
    extensions.get::<Caller>().cloned().ok_or_else(|| Status::unauthorized().into())
}

async fn document(server: Server, request: Request) -> Result<Response, Failure> {
    server.documents().answer(request.uri().path(), request.headers())
}

fn verbose(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.contains("verbose"))
}

async fn ready(server: Server, request: Request) -> Result<Response, Failure> {
    Ok(health::ready(&server, verbose(&request)).await)
}

async fn openid(server: Server, _: Request) -> Result<Response, Failure> {
    let issuer = server.keys().issuer();
    Ok(Json(json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["EdDSA"],
    }))
    .into_response())
}

async fn login(server: Server, _: Request) -> Result<Response, Failure> {
    match server.authentication().issuers.login() {
        Some(document) => Ok(Json(document).into_response()),
        None => Err(Status::failure(
            Reason::NotFound,
            "nobody logs in to this control plane: its configuration names no issuer with a login; use the kubeconfig that its owner gives you",
        )
        .into()),
    }
}

async fn metrics(server: Server, _: Request) -> Result<Response, Failure> {
    match server.metrics() {
        Some(text) => Ok(([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()),
        None => Err(Status::no_such_path().into()),
    }
}

async fn no_services(server: Server, request: Request) -> Result<Response, Failure> {
    if Parameters::parse(request.uri())?.flag("watch") {
        return Err(Status::method_not_allowed_here().into());
    }
    let version = server.cache().version().to_string();
    let list =
        json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": []});
    Ok(answer(StatusCode::OK, &list, &[]))
}

async fn no_service(_: Server, mut request: Request) -> Result<Response, Failure> {
    let parts: Path<HashMap<String, String>> =
        request.extract_parts().await.map_err(|_| Failure::bad_request("the path is malformed".to_owned()))?;
    let name = parts.get("name").map(String::as_str).unwrap_or_default();
    Err(Status::failure(Reason::NotFound, format!("services {name:?} not found")).into())
}

async fn ask_myself(request: Request) -> Result<Response, Failure> {
    let (caller, _) = question(request).await?;
    Ok(review::created(&review::myself(&caller)))
}

async fn ask_access(State(server): State<Server>, request: Request) -> Result<Response, Failure> {
    let (caller, question) = question(request).await?;
    review::access(&server.policies().current(), &caller, &question).map(|answer| review::created(&answer))
}

async fn ask_access_of(State(server): State<Server>, mut request: Request) -> Result<Response, Failure> {
    let place = request.extract_parts::<Path<HashMap<String, String>>>().await;
    let mut place = place.map_err(|_| Failure::bad_request("the path is malformed".to_owned()))?;
    let (_, question) = question(request).await?;
    let namespace = place.remove("namespace");
    let answered = review::access_of(&server.policies().current(), namespace.as_deref(), &question);
    answered.map(|answer| review::created(&answer))
}

async fn ask_rules(State(server): State<Server>, request: Request) -> Result<Response, Failure> {
    let (caller, question) = question(request).await?;
    review::rules(server.policies(), &caller, &question).map(|answer| review::created(&answer))
}

pub(super) async fn question(request: Request) -> Result<(Caller, Value), Failure> {
    let (parts, stream) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Status::method_not_allowed_here().into());
    }
    let bytes = body::read(stream).await?;
    Ok((caller(&parts.extensions)?, body::object(&parts.headers, &bytes)?.value))
}
