//! Roles that every installation has: made, and brought up to date, at each start.

use serde_json::Value;
use torch_remote_api::rbac::builtin::{self, AUTOUPDATE};

use super::{Error, Key, Objects, Preconditions, Resource, Write};

/// Tries, should another replica start at the same time.
const TRIES: usize = 5;

/// Makes the built-in roles and bindings, and gives those that are there the rules of this release, but for those annotated
/// `rbac.authorization.kubernetes.io/autoupdate: "false"`. Subjects that were added stay.
///
/// # Errors
/// The database failed.
pub async fn ensure(objects: &Objects) -> Result<(), Error> {
    let mut tried = 1;
    loop {
        match ensure_once(objects).await {
            Err(Error::AlreadyExists { .. }) if tried < TRIES => tried += 1,
            done => return done,
        }
    }
}

async fn ensure_once(objects: &Objects) -> Result<(), Error> {
    let mut wanted: Vec<(Key, Value)> = builtin::objects().into_iter().map(|object| (key(&object), object)).collect();
    wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut write = objects.begin().await?;
    for (key, object) in wanted {
        put(&mut write, &key, object).await?;
    }
    write.commit().await.map(drop)
}

fn key(object: &Value) -> Key {
    let resource =
        if object["kind"] == "ClusterRole" { Resource::CLUSTER_ROLES } else { Resource::CLUSTER_ROLE_BINDINGS };
    Key::cluster(resource, object["metadata"]["name"].as_str().unwrap_or_default())
}

async fn put(write: &mut Write, key: &Key, wanted: Value) -> Result<(), Error> {
    let Some(there) = write.lock(key).await? else {
        return write.create(key.resource, wanted).await.map(drop);
    };
    let mut body = there.body.clone();
    if there.deleting() || body["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Ok(());
    }
    if key.resource == Resource::CLUSTER_ROLES {
        body["rules"] = wanted["rules"].clone();
    } else {
        let mut subjects = body["subjects"].as_array().cloned().unwrap_or_default();
        for subject in wanted["subjects"].as_array().into_iter().flatten() {
            if !subjects.contains(subject) {
                subjects.push(subject.clone());
            }
        }
        body["subjects"] = subjects.into();
    }
    write.update(key, body, &Preconditions::default()).await.map(drop)
}
