//! What happens to an object between its arrival and the store: told apart from other kinds, rid of what only the server says, completed, judged.

use serde_json::{Map, Value, json};
use torch_remote_api::Kind;
use torch_remote_api::lease::TRACEPARENT;
use torch_remote_api::managed::Given;
use torch_remote_api::object::{LEASE_FINALIZER, MACHINE_FINALIZER};
use torch_remote_api::secret;
use torch_remote_api::status::Status;

use super::failure::Failure;
use super::parameters::FieldValidation;
use crate::auth::Caller;
use crate::document::Document;
use crate::store::{Resource, namespace};

/// Characters of generated names: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Fields of metadata that a configuration may repeat and does not set.
const SERVER_OWNED: [&str; 6] =
    ["managedFields", "selfLink", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// Namespaces every installation needs.
const KEPT_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// An object that is of its kind and has only known fields, and what to warn of.
#[derive(Debug)]
pub struct Admitted {
    /// The object, without `managedFields`.
    pub body: Value,
    /// What it says of who owns its fields.
    pub given: Given,
    /// Fields that were dropped or given twice, in words.
    pub warnings: Vec<String>,
}

/// Takes a document as an object of this kind at this place.
///
/// # Errors
/// It is another kind, lies in another namespace, or has fields that strict validation refuses.
pub fn admit(
    kind: &Kind,
    namespace: Option<&str>,
    document: Document,
    validation: FieldValidation,
) -> Result<Admitted, Failure> {
    let mut given = Given::Nothing;
    let mut taken = Taken::of(kind, namespace, document, |metadata| {
        given = metadata.remove("managedFields").map_or(Given::Nothing, |fields| Given::read(&fields));
        metadata.remove("selfLink");
        Ok(())
    })?;
    let warnings = taken.judge(validation, |unknown, duplicates| Status::strict(kind, unknown, duplicates).into())?;
    kind.default(&mut taken.body);
    drop_empty(&mut taken.body);
    Ok(Admitted { body: taken.body, given, warnings })
}

/// Takes a document as the configuration that an apply lays over an object of this kind: without defaults, so that only what it says is owned.
///
/// # Errors
/// It is another kind, lies elsewhere, says who owns what, or has fields that strict validation refuses.
pub fn configuration(
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    document: Document,
    validation: FieldValidation,
) -> Result<Admitted, Failure> {
    let mut taken = Taken::of(kind, namespace, document, |metadata| {
        if metadata.get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(Failure::bad_request("metadata.managedFields must be nil".to_owned()));
        }
        match metadata.get("name").and_then(Value::as_str).filter(|given| !given.is_empty()) {
            Some(given) if given != name => return Err(other_name(given, name)),
            _ => metadata.insert("name".to_owned(), name.into()),
        };
        for server_owned in SERVER_OWNED {
            metadata.remove(server_owned);
        }
        Ok(())
    })?;
    let warnings = taken.judge(validation, |unknown, duplicates| match unknown {
        [] => Status::strict(kind, &[], duplicates).into(),
        unknown => {
            let place = namespace.map_or_else(String::new, |namespace| format!("{namespace}/")) + name;
            not_declared(kind, &place, unknown)
        }
    })?;
    drop_nulls(&mut taken.body);
    drop_empty(&mut taken.body);
    Ok(Admitted { body: taken.body, given: Given::Nothing, warnings })
}

/// A document as one of its kind at its place, and what of it is not.
struct Taken {
    body: Value,
    unknown: Vec<String>,
    duplicates: Vec<String>,
}

impl Taken {
    /// `own` takes out of the metadata what is not the client's to say, or refuses it.
    fn of(
        kind: &Kind,
        namespace: Option<&str>,
        document: Document,
        own: impl FnOnce(&mut Map<String, Value>) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut body = document.value;
        identify(kind, &mut body)?;
        place(kind, namespace, &mut body)?;
        own(body["metadata"].as_object_mut().expect("identified above"))?;
        let unknown = kind.prune(&mut body);
        take_in(kind, &mut body)?;
        Ok(Self { body, unknown, duplicates: document.duplicates })
    }

    /// What to warn of: fields that were dropped or given twice. Strict validation refuses them.
    fn judge(
        &self,
        validation: FieldValidation,
        refuse: impl FnOnce(&[String], &[String]) -> Failure,
    ) -> Result<Vec<String>, Failure> {
        let Self { unknown, duplicates, .. } = self;
        match validation {
            FieldValidation::Strict if !unknown.is_empty() || !duplicates.is_empty() => {
                Err(refuse(unknown, duplicates))
            }
            FieldValidation::Warn => {
                let unknown = unknown.iter().map(|field| format!("unknown field {field:?}"));
                Ok(unknown.chain(duplicates.iter().map(|field| format!("duplicate field {field:?}"))).collect())
            }
            FieldValidation::Strict | FieldValidation::Ignore => Ok(Vec::new()),
        }
    }
}

/// Lists and maps of metadata that are empty are as good as absent: a client that sends them changes nothing.
pub fn drop_empty(body: &mut Value) {
    let Some(metadata) = body["metadata"].as_object_mut() else { return };
    metadata.retain(|_, value| match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
}

/// Brings what may be written in several forms into the one that is stored.
fn take_in(kind: &Kind, body: &mut Value) -> Result<(), Failure> {
    if Resource::find(kind.group, kind.plural) != Some(Resource::SECRETS) {
        return Ok(());
    }
    secret::complete(body).map_err(|problem| {
        let (kind, version) = (kind.kind, kind.version);
        Failure::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {problem}"))
    })
}

/// In Kubernetes' words, which name each field in full.
fn not_declared(kind: &Kind, place: &str, unknown: &[String]) -> Failure {
    let each: Vec<String> = unknown.iter().map(|field| format!(".{field}: field not declared in schema")).collect();
    let all = match each.as_slice() {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    Failure::bad_request(format!(
        "failed to create typed patch object ({place}; {}, Kind={}): {all}",
        kind.api_version(),
        kind.kind
    ))
}

/// The name in the object is not that in the URL.
pub fn other_name(given: &str, name: &str) -> Failure {
    Failure::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({name})"))
}

/// A field set to null is one that the configuration does not speak of.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn identify(kind: &Kind, body: &mut Value) -> Result<(), Failure> {
    let Some(fields) = body.as_object_mut() else {
        return Err(Failure::bad_request(format!("the body must be an object of kind {}", kind.kind)));
    };
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        match fields.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            Some(given) if given == expected => {}
            Some(given) => {
                return Err(Failure::bad_request(format!(
                    "the {field} in the data ({given}) does not match the expected {field} ({expected})"
                )));
            }
            // Typed clients leave it out for the kinds they know.
            None if kind.group.is_empty() => {
                fields.insert(field.to_owned(), expected.into());
            }
            None => return Err(Failure::bad_request(format!("Object '{field}' is missing: it must be {expected:?}"))),
        }
    }
    match fields.get("metadata") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => {
            fields.insert("metadata".to_owned(), json!({}));
        }
        Some(_) => return Err(Failure::bad_request("metadata must be an object".to_owned())),
    }
    Ok(())
}

fn place(kind: &Kind, namespace: Option<&str>, body: &mut Value) -> Result<(), Failure> {
    let metadata = &mut body["metadata"];
    match (namespace, metadata["namespace"].as_str().filter(|text| !text.is_empty())) {
        (Some(url), Some(given)) if url != given => Err(Failure::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given:?} in the object, {url:?} in the URL"
        ))),
        (Some(url), _) => {
            metadata["namespace"] = url.into();
            Ok(())
        }
        (None, Some(given)) if !kind.namespaced => Err(Failure::bad_request(format!(
            "{} is not in a namespace, but the object's metadata.namespace is {given:?}: leave it out",
            kind.kind
        ))),
        (None, _) => {
            if let Some(metadata) = metadata.as_object_mut().filter(|_| !kind.namespaced) {
                metadata.remove("namespace");
            }
            Ok(())
        }
    }
}

/// Completes an object that is about to be created. `trace` is the `traceparent` of the call: what a lease leads to belongs to its trace.
///
/// # Errors
/// It has what only stored objects have.
pub fn complete(kind: &Kind, caller: &Caller, trace: Option<&str>, body: &mut Value) -> Result<(), Failure> {
    if body["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created".to_owned()));
    }
    if kind.has_status
        && let Some(fields) = body.as_object_mut()
    {
        fields.remove("status");
    }
    generate_name(&mut body["metadata"]);
    match Resource::find(kind.group, kind.plural) {
        Some(Resource::LEASES) => {
            body["status"] = json!({"holder": caller.name});
            hold(body, LEASE_FINALIZER);
            if let Some(trace) = trace {
                namespace::put(&mut body["metadata"], "annotations", TRACEPARENT, trace.into());
            }
        }
        Some(Resource::MACHINES) => hold(body, MACHINE_FINALIZER),
        Some(Resource::NAMESPACES) => {
            let name = body["metadata"]["name"].as_str().unwrap_or("").to_owned();
            *body = namespace::object(&name, std::mem::take(body));
        }
        _ => {}
    }
    Ok(())
}

/// Keeps what an update cannot change, so that leaving it out is no mistake.
pub fn keep(resource: Resource, old: &Value, new: &mut Value) {
    if resource == Resource::NAMESPACES {
        new["spec"] = old["spec"].clone();
        let name = old["metadata"]["name"].clone();
        namespace::put(&mut new["metadata"], "labels", namespace::NAME_LABEL, name);
    }
}

/// Judges what is about to be stored.
///
/// # Errors
/// It is not valid.
pub fn judge(kind: &Kind, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
    let wrong = kind.validate(new, old);
    if wrong.is_empty() {
        return Ok(());
    }
    let name = ["name", "generateName"].iter().find_map(|field| new["metadata"][field].as_str()).unwrap_or("");
    Err(Status::invalid(kind, name, &wrong).into())
}

/// Whether the object may be deleted at all.
///
/// # Errors
/// It is one that every installation needs.
pub fn may_delete(kind: &Kind, name: &str) -> Result<(), Failure> {
    if kind.group.is_empty() && kind.plural == "namespaces" && KEPT_NAMESPACES.contains(&name) {
        return Err(Status::forbidden(kind, name, "this namespace may not be deleted").into());
    }
    Ok(())
}

fn hold(body: &mut Value, finalizer: &str) {
    match &mut body["metadata"]["finalizers"] {
        Value::Array(list) if list.iter().any(|name| name == finalizer) => {}
        Value::Array(list) => list.push(finalizer.into()),
        absent @ Value::Null => *absent = json!([finalizer]),
        // Of the wrong type: validation says so.
        _ => {}
    }
}

/// Whether the server is to name the object.
pub fn nameless(body: &Value) -> bool {
    let given = |field: &str| body["metadata"][field].as_str().is_some_and(|text| !text.is_empty());
    !given("name") && given("generateName")
}

/// Gives an object that was named by [`complete`] another name: that one was taken.
pub fn rename(body: &mut Value) {
    body["metadata"]["name"] = Value::Null;
    generate_name(&mut body["metadata"]);
}

fn generate_name(metadata: &mut Value) {
    let given = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty());
    if given("name").is_some() {
        return;
    }
    let Some(prefix) = given("generateName") else { return };
    // 63 in all; what is cut away belongs to the prefix.
    let mut name: String = prefix.chars().take(58).collect();
    for _ in 0..5 {
        name.push(ALPHABET[rand::random_range(0..ALPHABET.len())].into());
    }
    metadata["name"] = name.into();
}
