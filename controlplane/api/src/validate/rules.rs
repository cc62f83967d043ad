//! Rules over several fields of a kind, and of what cannot be changed.

use serde_json::Value;

use crate::{
    field::{Cause, FieldError},
    machine::AGENT_TORCH,
    schema::check::not_supported,
};

/// A kind's rules: of the new object, over the old one if it is an update.
pub type Rule = fn(&Value, Option<&Value>) -> Vec<FieldError>;

/// No rules.
pub(crate) fn none(_: &Value, _: Option<&Value>) -> Vec<FieldError> {
    Vec::new()
}

fn immutable(path: &str, new: &Value, old: &Value) -> Option<FieldError> {
    (new != old).then(|| FieldError::invalid(path, new.clone(), "field is immutable"))
}

pub(crate) fn provider(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut errors = Vec::new();
    if let Some(old) = old {
        errors.extend(immutable("spec.type", &spec["type"], &old["spec"]["type"]));
    }
    let has_credentials = !spec["credentials"].is_null();
    if spec["type"] == "Modal" && !has_credentials {
        errors.push(FieldError::required(
            "spec.credentials",
            "a Modal provider needs credentials.secretRef: a Secret with token-id and token-secret",
        ));
    }
    if spec["type"] == "Local" && has_credentials {
        errors.push(FieldError::forbidden(
            "spec.credentials",
            "a Local provider starts processes on its own host and has no account",
        ));
    }
    if let Some(namespace) = has_credentials.then(|| &spec["credentials"]["secretRef"]["namespace"])
        && namespace.is_null()
    {
        errors.push(FieldError::required(
            "spec.credentials.secretRef.namespace",
            "a Provider has no namespace of its own",
        ));
    }
    errors.extend(image("spec.machineTemplate.image", &spec["machineTemplate"]["image"]));
    errors.extend(star("spec.machineTemplate.namespaces", &spec["machineTemplate"]["namespaces"]));
    errors
}

pub(crate) fn machine(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    machine_spec("spec", &new["spec"])
}

fn machine_spec(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(image(&format!("{path}.image"), &spec["image"]));
    errors.extend(star(&format!("{path}.allowedNamespaces"), &spec["allowedNamespaces"]));
    errors
}

fn image(path: &str, image: &Value) -> Option<FieldError> {
    let torch = image["torch"].as_str()?;
    let fits = torch == AGENT_TORCH || torch.strip_prefix(AGENT_TORCH).is_some_and(|rest| rest.starts_with('.'));
    (!fits).then(|| {
        let mut error = not_supported(&format!("{path}.torch"), &torch.into(), &[AGENT_TORCH]);
        error.detail.push_str("; the agent is built for this minor version of torch");
        error
    })
}

fn star(path: &str, list: &Value) -> Option<FieldError> {
    let list = list.as_array()?;
    (list.len() > 1 && list.contains(&"*".into()))
        .then(|| FieldError::invalid(path, list.clone().into(), r#""*" means all namespaces and must stand alone"#))
}

pub(crate) fn pool(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut errors = super::metadata::maps("spec.template.metadata", &spec["template"]["metadata"]);
    errors.extend(machine_spec("spec.template.spec", &spec["template"]["spec"]));
    let most = spec["replicas"]["max"].as_u64().unwrap_or_default();
    for (path, value) in [("spec.replicas.min", &spec["replicas"]["min"]), ("spec.warm", &spec["warm"])] {
        if value.as_u64().is_some_and(|number| number > most) {
            errors.push(FieldError::invalid(
                path,
                value.clone(),
                format!("must not be larger than spec.replicas.max ({most})"),
            ));
        }
    }
    errors
}

pub(crate) fn budget(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let budget = &new["spec"]["budget"];
    if budget.is_null() {
        return Vec::new();
    }
    match (budget["gpuHours"].is_null(), budget["amount"].is_null()) {
        (true, true) => vec![FieldError::required("spec.budget", "give gpuHours or amount")],
        (false, false) => vec![FieldError::forbidden("spec.budget.amount", "give gpuHours or amount, not both")],
        _ => Vec::new(),
    }
}

/// What of a lease's spec can be changed once it is made.
const LEASE_MUTABLE: [&str; 3] = ["duration", "idleTimeout", "priority"];
/// Of these, what its agent is told at the bind, and judges by from then on.
const UNTIL_BOUND: [&str; 2] = ["duration", "idleTimeout"];

pub(crate) fn holder_and_lease(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut errors = lease_spec(spec);
    let Some(old) = old else { return errors };
    let before = old["spec"].as_object();
    let now = spec.as_object();
    let mut fields: Vec<&String> = before.into_iter().chain(now).flat_map(|object| object.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    for field in fields.into_iter().filter(|field| !LEASE_MUTABLE.contains(&field.as_str())) {
        errors.extend(immutable(&format!("spec.{field}"), &spec[field], &old["spec"][field]));
    }
    let bound = !old["status"]["boundAt"].is_null();
    for field in UNTIL_BOUND.into_iter().filter(|field| bound && spec[*field] != old["spec"][*field]) {
        let detail =
            "field is immutable once the lease is bound: its agent keeps to what it was told then; ask for a new lease";
        errors.push(FieldError::invalid(format!("spec.{field}"), spec[field].clone(), detail));
    }
    if !old["status"]["holder"].is_null() {
        errors.extend(immutable("status.holder", &new["status"]["holder"], &old["status"]["holder"]));
    }
    errors
}

fn lease_spec(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let alternatives = spec["gpu"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (machine, pool) = (!spec["machineRef"].is_null(), !spec["poolRef"].is_null());
    if alternatives.is_empty() && !machine && !pool {
        let detail = "name the GPUs, such as [{type: A100-80GB}], or a machine with machineRef";
        errors.push(FieldError::required("spec.gpu", detail));
    }
    if machine && pool {
        errors.push(FieldError::forbidden("spec.poolRef", "give machineRef or poolRef, not both"));
    }
    for (index, alternative) in alternatives.iter().enumerate() {
        if alternatives[..index].contains(alternative) {
            errors.push(FieldError::new(Cause::Duplicate, format!("spec.gpu[{index}]"), alternative.clone(), ""));
        }
    }
    let memory = !spec["gpuMemory"].is_null();
    if spec["mode"] == "Shared" {
        if !memory {
            errors.push(FieldError::required(
                "spec.gpuMemory",
                "a Shared lease says how much memory it takes, such as \"8Gi\"",
            ));
        }
        for (index, _) in
            alternatives.iter().enumerate().filter(|(_, gpu)| gpu["count"].as_u64().is_some_and(|count| count > 1))
        {
            let path = format!("spec.gpu[{index}].count");
            errors.push(FieldError::invalid(
                path,
                alternatives[index]["count"].clone(),
                "a Shared lease takes a share of one GPU",
            ));
        }
    } else if memory {
        errors.push(FieldError::forbidden(
            "spec.gpuMemory",
            "only for mode Shared: an Exclusive lease has the whole GPU",
        ));
    }
    errors
}

pub(crate) fn namespace(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let finalizers = new["spec"]["finalizers"].as_array().into_iter().flatten().enumerate();
    finalizers
        .filter(|(_, finalizer)| *finalizer != "kubernetes")
        .filter(|(_, finalizer)| !finalizer.as_str().unwrap_or_default().contains('/'))
        .map(|(index, finalizer)| {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            FieldError::invalid(format!("spec.finalizers[{index}]"), finalizer.clone(), detail)
        })
        .collect()
}

pub(crate) fn event(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let object = new["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let own = new["metadata"]["namespace"].as_str().unwrap_or_default();
    let fits = object == own || (object.is_empty() && own == "default");
    if fits {
        Vec::new()
    } else {
        vec![FieldError::invalid("involvedObject.namespace", object.into(), "does not match event.namespace")]
    }
}
