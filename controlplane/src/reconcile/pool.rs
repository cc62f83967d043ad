//! Pools: what is observed, and how a plan is applied. All of it in one transaction that holds the pool's row, so that of several replicas one at a time
//! counts the machines and makes what is missing.

use std::collections::BTreeSet;

use serde_json::{Value, json, to_value};
use sha2::{Digest, Sha256};
use torch_remote_api::condition::{self, Truth};
use torch_remote_api::machine::{EXPIRED, FAILED, MachinePhase, READY, RemoteMachine, SUSPENDED};
use torch_remote_api::object::{API_VERSION, MACHINE_FINALIZER};
use torch_remote_api::pool::{MachinePool, MachineTemplate, POOL_LABEL, TEMPLATE_ANNOTATION, label};
use torch_remote_plan::pool::{self, Action, Cause, Desired, Member, Observation, Standing};
use torch_remote_plan::{Observed, Uid};
use uuid::Uuid;

use super::{Again, Error, Shared};
use crate::store::{self, Key, Object, Preconditions, Resource, Write, machine as rows, owner};

/// When an action's precondition was gone.
const OVERTAKEN: std::time::Duration = std::time::Duration::from_secs(1);

/// The kind, as owner references name it.
pub(super) const KIND: &str = "MachinePool";

/// What is to be told when it is true.
enum News {
    Made(Object),
    Deleted(Object, Cause),
}

pub(super) async fn reconcile(shared: &Shared, key: &Key) -> Result<Again, Error> {
    let mut write = shared.parts.objects.begin().await?;
    let Some(object) = write.lock(key).await? else { return Ok(None) };
    let pool: MachinePool = object.parse()?;
    let desired = Desired {
        name: key.name.clone(),
        generation: object.generation(),
        deleting: object.deleting(),
        min: pool.spec.replicas.min,
        max: pool.spec.replicas.max,
        template: template_hash(&pool.spec.template)?,
    };
    let observed = observe(&mut write, &object, pool.status).await?;
    let now = write.now().await?;
    let (mut news, mut overtaken) = (vec![], false);
    let mut actions = pool::plan(&desired, &observed, now);
    // Several objects are locked in the order of their keys.
    actions.sort_by(|a, b| named(a).cmp(&named(b)));
    for action in &actions {
        match apply(&mut write, (&object, &desired), action).await? {
            Some(done) => news.extend(done),
            None => overtaken = true,
        }
    }
    write.commit().await?;
    let done = news.len();
    for news in news {
        tell(shared, &object, news);
    }
    Ok(match overtaken {
        true => Some(OVERTAKEN),
        // There may be more to do than one transaction takes.
        false => (done >= pool::MOST).then_some(std::time::Duration::ZERO),
    })
}

fn named(action: &Action) -> Option<&str> {
    match action {
        Action::Create { name } | Action::Delete { name, .. } => Some(name),
        Action::Report(_) => None,
    }
}

/// Of all that a machine is made from.
fn template_hash(template: &MachineTemplate) -> Result<String, Error> {
    let template = to_value(template).map_err(Error::Json)?;
    Ok(hex::encode(&Sha256::digest(template.to_string())[..5]))
}

async fn observe(
    write: &mut Write,
    pool: &Object,
    status: torch_remote_api::pool::MachinePoolStatus,
) -> Result<Observation, Error> {
    let uid = pool.id()?;
    let dependents = owner::dependents(write.sql(), uid).await?;
    let machines = dependents.into_iter().filter(|(key, object)| {
        key.resource == Resource::MACHINES && owner::controller(&object.body, KIND) == Some(uid)
    });
    let machines: Vec<(Key, Object)> = machines.collect();
    let uids: Vec<Uuid> = machines.iter().filter_map(|(_, object)| Uuid::parse_str(object.uid()).ok()).collect();
    let leased = rows::leased(write.sql(), &uids).await?;
    let mut members = Vec::with_capacity(machines.len());
    for (_, object) in &machines {
        let machine: RemoteMachine = object.parse()?;
        let held = Uuid::parse_str(object.uid()).is_ok_and(|uid| leased.contains(&uid));
        members.push(member(object, &machine, held));
    }
    let stem = format!("{}-", pool::stem(pool.name()));
    let taken = owner::names(write.sql(), Resource::MACHINES, pool.namespace(), &stem).await?;
    Ok(Observation { members, taken: taken.into_iter().collect::<BTreeSet<_>>(), status })
}

fn member(object: &Object, machine: &RemoteMachine, held: bool) -> Member {
    let over = |kind: &str| condition::find(&machine.status.conditions, kind).filter(|fact| fact.status == Truth::True);
    let standing = match machine.status.phase {
        _ if over(FAILED).is_some() => Standing::Failed,
        _ if over(EXPIRED).is_some_and(|fact| fact.reason == "Expired") => Standing::Over,
        _ if over(EXPIRED).is_some() || over(SUSPENDED).is_some() => Standing::Resting,
        Some(MachinePhase::Ready | MachinePhase::Unreachable) => Standing::Ready,
        _ => Standing::Starting,
    };
    // An agent that is not heard may have work on it that is not known here.
    let silent = condition::find(&machine.status.conditions, READY).is_some_and(|fact| fact.status == Truth::Unknown);
    Member {
        name: object.name().to_owned(),
        uid: Uid(object.uid().to_owned()),
        template: machine.metadata.annotations.get(TEMPLATE_ANNOTATION).cloned().unwrap_or_default(),
        deleting: object.deleting(),
        standing,
        leased: if silent && !held { Observed::Unknown } else { Observed::Known(held) },
        created_at: machine.metadata.creation_timestamp.map(|time| time.get()).unwrap_or_default(),
    }
}

/// What there is to tell of it; `None` when its precondition did not hold any more.
async fn apply(
    write: &mut Write,
    (pool, desired): (&Object, &Desired),
    action: &Action,
) -> Result<Option<Option<News>>, Error> {
    let key = |name: &str| Key::new(Resource::MACHINES, pool.namespace(), name);
    match action {
        Action::Create { name } => match write.create(Resource::MACHINES, body(pool, desired, name)).await {
            Ok(machine) => Ok(Some(Some(News::Made(machine)))),
            Err(store::Error::AlreadyExists { .. }) => Ok(None),
            Err(store::Error::NamespaceTerminating { .. }) => Ok(Some(None)),
            Err(error) => Err(error.into()),
        },
        Action::Delete { name, uid, cause } => {
            let key = key(name);
            let there = write.lock(&key).await?.filter(|object| object.uid() == uid.0);
            let (Some(machine), Ok(uid)) = (there, Uuid::parse_str(&uid.0)) else { return Ok(None) };
            if !rows::retire(write.sql(), uid, "its pool does not need it any more").await? {
                return Ok(None);
            }
            write.delete(&key, &Preconditions::default()).await?;
            Ok(Some(Some(News::Deleted(machine, *cause))))
        }
        Action::Report(status) => {
            let status = to_value(status).map_err(Error::Json)?;
            let pool = Key::new(Resource::POOLS, pool.namespace(), pool.name());
            write.update_status(&pool, status, &Preconditions::default()).await?;
            Ok(Some(None))
        }
    }
}

fn body(pool: &Object, desired: &Desired, name: &str) -> Value {
    let template = &pool.body["spec"]["template"];
    let map = |field: &str| template["metadata"][field].as_object().cloned().unwrap_or_default();
    let (mut labels, mut annotations) = (map("labels"), map("annotations"));
    labels.insert(POOL_LABEL.to_owned(), label(pool.name()).into());
    annotations.insert(TEMPLATE_ANNOTATION.to_owned(), desired.template.clone().into());
    let owner = json!({
        "apiVersion": API_VERSION, "kind": KIND, "name": pool.name(), "uid": pool.uid(), "controller": true, "blockOwnerDeletion": true,
    });
    json!({
        "apiVersion": API_VERSION,
        "kind": "RemoteMachine",
        "metadata": {
            "name": name, "namespace": pool.namespace(), "labels": labels, "annotations": annotations,
            "ownerReferences": [owner], "finalizers": [MACHINE_FINALIZER],
        },
        "spec": template["spec"],
    })
}

fn tell(shared: &Shared, pool: &Object, news: News) {
    let recorder = &shared.parts.recorder;
    match news {
        News::Made(machine) => recorder.normal(pool, "MachineMade", format!("made machine {}", machine.name())),
        News::Deleted(machine, cause) => {
            let why = match cause {
                Cause::Surplus => "there are more than the pool wants",
                Cause::Outdated => "the template is another by now",
                Cause::Over => "its time is over",
            };
            recorder.normal(pool, "MachineDeleted", format!("deleted machine {}: {why}", machine.name()));
        }
    }
}
