//! Namespaces: those every installation has, and the end of one that was deleted.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Error, Key, Object, Objects, Preconditions, Query, Resource};

/// Between two looks at every namespace, in case a change was not heard of.
const SCAN: Duration = Duration::from_secs(30);

/// Label of a namespace that holds its name, so that selectors can choose by it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Sets an entry of a map in metadata. A map that is something else is left to validation.
pub fn put(metadata: &mut Value, map: &str, key: &str, value: Value) {
    if matches!(metadata[map], Value::Null | Value::Object(_)) {
        metadata[map][key] = value;
    }
}

/// A namespace's object, as the server completes it.
pub fn object(name: &str, mut body: Value) -> Value {
    body["apiVersion"] = json!("v1");
    body["kind"] = json!("Namespace");
    body["metadata"]["name"] = json!(name);
    put(&mut body["metadata"], "labels", NAME_LABEL, json!(name));
    body["spec"] = json!({"finalizers": ["kubernetes"]});
    body["status"] = json!({"phase": "Active"});
    body
}

/// Makes namespaces that are not there.
///
/// # Errors
/// The database failed.
pub async fn ensure(objects: &Objects, names: &[&str]) -> Result<(), Error> {
    for name in names {
        let mut write = objects.begin().await?;
        match write.create(Resource::NAMESPACES, object(name, json!({"metadata": {}}))).await {
            Ok(_) => {
                write.commit().await?;
            }
            Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Empties and then removes namespaces that were deleted, until told to stop. Replicas may all do it.
pub async fn collect(objects: Objects, stop: CancellationToken) {
    let mut changes = objects.changes();
    let mut scans = tokio::time::interval(SCAN);
    loop {
        let wanted = tokio::select! {
            () = stop.cancelled() => return,
            _ = scans.tick() => None,
            change = changes.recv() => match change {
                Ok(key) if key.resource == Resource::NAMESPACES => Some(key.name),
                Ok(key) if key.resource.namespaced() => Some(key.namespace),
                Ok(_) => continue,
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
        };
        let done = match wanted {
            Some(name) => finish(&objects, &name).await,
            None => finish_all(&objects).await,
        };
        if let Err(error) = done {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not end a deleted namespace; looking again within {SCAN:?}"
            );
        }
    }
}

async fn finish_all(objects: &Objects) -> Result<(), Error> {
    for namespace in objects.list(Resource::NAMESPACES, None).await?.items {
        if namespace.deleting() {
            finish(objects, namespace.name()).await?;
        }
    }
    Ok(())
}

/// Asks for the deletion of all that is in a deleted namespace; with nothing left removes it.
///
/// # Errors
/// The database failed.
pub async fn finish(objects: &Objects, name: &str) -> Result<(), Error> {
    let namespace = Key::cluster(Resource::NAMESPACES, name);
    if !objects.get(&namespace).await?.is_some_and(|object| object.deleting()) {
        return Ok(());
    }
    let mut left = 0;
    // Events go last, so that what happens on the way out can still be told.
    for resource in [
        Resource::LEASES,
        Resource::MACHINES,
        Resource::SERVICE_ACCOUNTS,
        Resource::SECRETS,
        Resource::ROLE_BINDINGS,
        Resource::ROLES,
        Resource::EVENTS,
    ] {
        if resource == Resource::EVENTS && left > 0 {
            break;
        }
        let list = objects.query(&Query { namespace: Some(name.to_owned()), ..Query::all(resource) }).await?;
        for object in list.items {
            if object.deleting() {
                left += 1;
                continue;
            }
            let mut write = objects.begin().await?;
            match write.delete(&Key::new(resource, name, object.name()), &Preconditions::default()).await {
                Ok(super::Deletion::Marked(_)) => left += 1,
                Ok(super::Deletion::Removed(_)) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            write.commit().await?;
        }
    }
    if left > 0 {
        return Ok(());
    }
    let mut write = objects.begin().await?;
    let Some(object) = write.lock(&namespace).await?.filter(Object::deleting) else { return Ok(()) };
    // Ours was the last word but for finalizers of others in its metadata: with none it is gone.
    let mut body = object.body;
    body["spec"]["finalizers"] = json!([]);
    write.update(&namespace, body, &Preconditions::default()).await?;
    write.commit().await?;
    Ok(())
}
