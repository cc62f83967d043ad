//! A control plane with reconcilers in this process, a scripted provider, and its agents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use torch_remote::apiserver::audit::Trail;
use torch_remote::apiserver::limit::Settings;
use torch_remote::apiserver::{Parts as ApiParts, Server, readings::readings};
use torch_remote::auth::{Keys, Sealer};
use torch_remote::postgres::Postgres;
use torch_remote::provider::{Fake, Providers};
use torch_remote::reconcile::{Parts, Reconcilers, Timing};
use torch_remote::store::event::Recorder;
use torch_remote::store::log::Tail;
use torch_remote::store::{self, Key, Object, Objects, Preconditions, Resource};
use torch_remote_api::agent::Listen;
use torch_remote_api::provider::ProviderType;

use crate::agent::Agent;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything; ends with the test.
pub struct World {
    pub pool: PgPool,
    pub objects: Objects,
    pub keys: Keys,
    pub provider: Fake,
    agents: Arc<Mutex<HashMap<String, Agent>>>,
    _folder: TempDir,
    stop: CancellationToken,
}

/// A control plane's reconcilers.
pub struct Replica {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    /// As by SIGTERM.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As by SIGKILL.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

impl World {
    /// Without reconcilers yet.
    pub async fn new() -> Self {
        let scratch = Postgres::scratch().await.unwrap();
        let pool = scratch.pool().await.unwrap();
        store::migrate(&pool).await.unwrap();
        let folder = tempfile::Builder::new().prefix("tr-").tempdir_in("/tmp").unwrap();
        let sealer = Sealer::open_or_make(&folder.path().join("key")).unwrap();
        let keys = Keys::load(pool.clone(), sealer, "https://control.test").await.unwrap();
        let objects = Objects::new(pool.clone());
        let agents: Arc<Mutex<HashMap<String, Agent>>> = Arc::default();
        let (started, ended, sockets) = (agents.clone(), agents.clone(), folder.path().to_owned());
        let provider = Fake::new(
            Box::new(move |request| {
                let path = sockets.join(&request.token[request.token.len() - 12..]).to_string_lossy().into_owned();
                let gpus: Vec<u32> = (0..request.spec.slots()).map(|slot| slot / request.spec.slots_per_gpu).collect();
                started.lock().unwrap().insert(request.token.clone(), Agent::start(&request.machine_uid, &path, &gpus));
                Listen::Unix(path)
            }),
            Box::new(move |token| {
                if let Some(agent) = ended.lock().unwrap().remove(token) {
                    agent.die();
                }
            }),
        );
        let stop = CancellationToken::new();
        let tail = Tail::start(objects.clone()).await.unwrap();
        tokio::spawn(tail.run(stop.clone()));
        let world = Self { pool, objects, keys, provider, agents, _folder: folder, stop };
        world.everybody_is("user").await;
        world.create(Resource::PROVIDERS, "", "Provider", "fake", json!({"type": "Static"}), json!({})).await;
        world
    }

    /// Gives every caller a role in the namespace default.
    async fn everybody_is(&self, role: &str) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "everybody", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}],
        });
        let mut write = self.objects.begin().await.unwrap();
        write.create(Resource::ROLE_BINDINGS, binding).await.unwrap();
        write.commit().await.unwrap();
    }

    /// With one replica.
    pub async fn running() -> (Self, Replica) {
        let world = Self::new().await;
        let replica = world.replica("a").await;
        (world, replica)
    }

    /// Starts reconcilers.
    pub async fn replica(&self, name: &str) -> Replica {
        let stop = self.stop.child_token();
        let (recorder, writer) = Recorder::new(self.objects.clone(), "reconcile");
        tokio::spawn(writer.run(stop.clone()));
        let (trail, audit) = Trail::new(self.pool.clone(), 90);
        tokio::spawn(audit.run(stop.clone()));
        let parts = Parts {
            objects: self.objects.clone(),
            recorder,
            trail,
            keys: self.keys.clone(),
            providers: Providers::default().with(ProviderType::Static, Arc::new(self.provider.clone())),
            replica: name.to_owned(),
            otlp: None,
            timing: Timing { heartbeat: Duration::from_millis(50), scan: Duration::from_secs(1), ..Timing::default() },
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move { Reconcilers::run(parts, stopped).await.unwrap() });
        Replica { stop, task }
    }

    pub async fn create(
        &self,
        resource: Resource,
        namespace: &str,
        kind: &str,
        name: &str,
        spec: Value,
        status: Value,
    ) -> Object {
        let mut metadata = json!({"name": name});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let body = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status});
        let mut write = self.objects.begin().await.unwrap();
        let object = write.create(resource, body).await.unwrap();
        write.commit().await.unwrap();
        object
    }

    /// A machine; `spec` adds to one CPU of the scripted provider.
    pub async fn machine(&self, name: &str, spec: Value) -> Object {
        let mut whole = json!({"provider": "fake", "gpu": {"type": "CPU"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.create(Resource::MACHINES, "default", "RemoteMachine", name, whole, json!({})).await
    }

    /// A lease of ana's; `spec` adds to one CPU.
    pub async fn lease(&self, name: &str, spec: Value) -> Object {
        let mut whole = json!({"gpu": [{"type": "CPU"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.create(Resource::LEASES, "default", "DeviceLease", name, whole, json!({"holder": "ana"})).await
    }

    pub async fn delete(&self, resource: Resource, name: &str) {
        let mut write = self.objects.begin().await.unwrap();
        write.delete(&Key::new(resource, "default", name), &Preconditions::default()).await.unwrap();
        write.commit().await.unwrap();
    }

    /// Changes a spec.
    pub async fn patch(&self, resource: Resource, name: &str, change: impl FnOnce(&mut Value)) {
        let key = Key::new(resource, "default", name);
        let mut write = self.objects.begin().await.unwrap();
        let mut body = write.lock(&key).await.unwrap().unwrap().body;
        change(&mut body["spec"]);
        write.update(&key, body, &Preconditions::default()).await.unwrap();
        write.commit().await.unwrap();
    }

    /// Changes the object, and nothing that is asked for.
    pub async fn touch(&self, resource: Resource, name: &str, count: u32) {
        let key = Key::new(resource, "default", name);
        let mut write = self.objects.begin().await.unwrap();
        let mut body = write.lock(&key).await.unwrap().unwrap().body;
        body["metadata"]["annotations"] = json!({"touched": count.to_string()});
        write.update(&key, body, &Preconditions::default()).await.unwrap();
        write.commit().await.unwrap();
    }

    /// The object as it is.
    pub async fn get(&self, resource: Resource, name: &str) -> Option<Value> {
        self.objects.get(&Key::new(resource, "default", name)).await.unwrap().map(|object| object.body)
    }

    /// The object, once it is in this phase.
    pub async fn phase(&self, resource: Resource, name: &str, phase: &str) -> Value {
        self.object(resource, name, phase, |body| body["status"]["phase"] == phase).await
    }

    /// The object, once it is so.
    pub async fn object(&self, resource: Resource, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                match self.get(resource, name).await {
                    Some(body) if so(&body) => return body,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(body) => body,
            Err(_) => panic!("{name} did not become {what}: {:#}", self.get(resource, name).await.unwrap_or_default()),
        }
    }

    /// Waits until there is no such object.
    pub async fn gone(&self, resource: Resource, name: &str) {
        until(&format!("{name} is gone"), async || self.get(resource, name).await.is_none()).await;
    }

    /// The agent of the one instance that runs.
    pub async fn agent(&self) -> Agent {
        until("an agent runs", async || !self.provider.running().is_empty()).await;
        let token = self.provider.running().pop().unwrap();
        self.agents.lock().unwrap()[&token].clone()
    }

    /// Moves the database's clock.
    pub async fn pass(&self, seconds: i64) {
        sqlx::query("update clock set offset_ms = offset_ms + $1")
            .bind(seconds * 1000)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Texts of all events about that object, by reason.
    pub async fn events(&self, name: &str, reason: &str) -> Vec<String> {
        let events = self.objects.list(Resource::EVENTS, None).await.unwrap().items;
        let about = events
            .iter()
            .filter(|event| event.body["involvedObject"]["name"] == name && event.body["reason"] == reason);
        about.filter_map(|event| event.body["message"].as_str().map(str::to_owned)).collect()
    }

    /// The API over the same store.
    pub async fn api(&self) -> axum::Router {
        let tail = Tail::start(self.objects.clone()).await.unwrap();
        let (trail, writer) = Trail::new(self.pool.clone(), 90);
        tokio::spawn(writer.run(self.stop.child_token()));
        let parts = ApiParts {
            objects: self.objects.clone(),
            cache: tail.cache(),
            keys: self.keys.clone(),
            virtual_kinds: readings(&self.pool),
            limits: Settings::default(),
            trail,
            metrics: None,
            stop: self.stop.child_token(),
        };
        Server::new(parts).router()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let look = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "did not happen: {what}");
}

/// Whether a condition is so, and why.
pub fn fact<'a>(body: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
    let facts = body["status"]["conditions"].as_array().unwrap();
    let fact = facts.iter().find(|fact| fact["type"] == kind).unwrap();
    (fact["status"].as_str().unwrap(), fact["reason"].as_str().unwrap(), fact["message"].as_str().unwrap())
}
