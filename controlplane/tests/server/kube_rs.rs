//! kube-rs against the API: watchers that resume, reflectors, discovery, and every way to write.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::{Event as CoreEvent, Namespace};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::discovery::Scope;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, reflector, wait, watcher};
use kube::{Api as Resources, Client, Discovery, ResourceExt};
use serde_json::json;

use crate::harness::Api;
use crate::sample::machine;

const SOON: Duration = Duration::from_secs(30);

async fn client(api: &Api) -> Client {
    let config = Kubeconfig::read_from(api.serve().await).unwrap();
    Client::try_from(kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap())
        .unwrap()
}

fn kind() -> ApiResource {
    let named = GroupVersionKind::gvk("torchremote.dev", "v1alpha1", "RemoteMachine");
    ApiResource::from_gvk_with_plural(&named, "remotemachines")
}

fn machines(client: &Client) -> Resources<DynamicObject> {
    Resources::namespaced_with(client.clone(), "default", &kind())
}

async fn create(machines: &Resources<DynamicObject>, name: &str) -> DynamicObject {
    let object = serde_json::from_value(machine(name)).unwrap();
    machines.create(&PostParams::default(), &object).await.unwrap()
}

/// The next item, which must come soon.
async fn next<T>(stream: &mut (impl Stream<Item = Result<T, watcher::Error>> + Unpin)) -> T {
    tokio::time::timeout(SOON, stream.try_next()).await.expect("something within 30 s").unwrap().expect("no end")
}

#[tokio::test]
async fn objects_are_listed_in_pages_written_and_deleted() {
    let api = Api::start().await;
    let client = client(&api).await;
    let machines = machines(&client);
    for name in ["a", "b", "c"] {
        assert!(create(&machines, name).await.uid().is_some());
    }
    let page = machines.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (2, Some(1)));
    let rest = machines.list(&ListParams::default().limit(2).continue_token(&page.metadata.continue_.unwrap())).await;
    assert_eq!(rest.unwrap().items[0].name_any(), "c");
    let partial = machines.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(partial.items.len(), 3);

    let merged = json!({"metadata": {"labels": {"team": "vision"}}, "spec": {"timeout": "3h"}});
    let merged = machines.patch("a", &PatchParams::default(), &Patch::Merge(&merged)).await.unwrap();
    assert_eq!((merged.labels()["team"].as_str(), &merged.data["spec"]["timeout"]), ("vision", &json!("3h")));
    let operations = json!([{"op": "replace", "path": "/spec/timeout", "value": "4h"}]);
    let operations = Patch::<()>::Json(serde_json::from_value(operations).unwrap());
    let patched = machines.patch("a", &PatchParams::default(), &operations).await.unwrap();
    assert_eq!(patched.data["spec"]["timeout"], "4h");
    let mut replaced = machines.get("a").await.unwrap();
    replaced.data["spec"]["timeout"] = json!("5h");
    machines.replace("a", &PostParams::default(), &replaced).await.unwrap();
    let stale = machines.replace("a", &PostParams::default(), &replaced).await.unwrap_err();
    assert!(matches!(&stale, kube::Error::Api(status) if status.reason == "Conflict"), "{stale}");
    let selected = machines.list(&ListParams::default().labels("team=vision").fields("spec.gpu.type=CPU")).await;
    assert_eq!(selected.unwrap().items.len(), 1);
    assert!(machines.get_opt("nobody").await.unwrap().is_none());

    let dry = DeleteParams::default().dry_run();
    machines.delete("a", &dry).await.unwrap();
    machines.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    for object in machines.list(&ListParams::default()).await.unwrap() {
        assert!(object.metadata.deletion_timestamp.is_some(), "its finalizer keeps it");
    }
}

#[tokio::test]
async fn a_controller_applies_what_it_owns_and_hears_of_conflicts() {
    let api = Api::start().await;
    let machines = machines(&client(&api).await);
    let configuration = |timeout: &str| {
        let mut body = machine("box");
        body["spec"]["timeout"] = json!(timeout);
        Patch::Apply(body)
    };
    let ours = PatchParams::apply("controller");
    let made = machines.patch("box", &ours, &configuration("2h")).await.unwrap();
    let again = machines.patch("box", &ours, &configuration("2h")).await.unwrap();
    assert_eq!(again.resource_version(), made.resource_version(), "to apply again is no write");
    assert_eq!(made.managed_fields()[0].manager.as_deref(), Some("controller"));
    let theirs = PatchParams::apply("other");
    let refused = machines.patch("box", &theirs, &configuration("3h")).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "controller": .spec.timeout"#);
    let forced = machines.patch("box", &theirs.force(), &configuration("3h")).await.unwrap();
    assert_eq!(forced.data["spec"]["timeout"], "3h");
    let through_status = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "status": {"phase": "Ready"},
    });
    let shown = machines.patch_status("box", &ours, &Patch::Apply(through_status)).await.unwrap();
    assert_eq!(shown.data["status"]["phase"], "Ready");
}

#[tokio::test]
async fn what_is_there_is_discovered() {
    let api = Api::start().await;
    let client = client(&api).await;
    let discovery = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let named = GroupVersionKind::gvk("torchremote.dev", "v1alpha1", "RemoteMachine");
    let (resource, capabilities) = discovery.resolve_gvk(&named).unwrap();
    assert_eq!((resource.plural.as_str(), capabilities.scope.clone()), ("remotemachines", Scope::Namespaced));
    let (resource, capabilities) = kube::discovery::pinned_kind(&client, &named).await.unwrap();
    assert_eq!(resource.plural, "remotemachines");
    assert!(capabilities.supports_operation("watch"));
    assert!(client.apiserver_version().await.unwrap().git_version.contains("torchremote"));
    let namespaces: Resources<Namespace> = Resources::all(client);
    assert!(namespaces.list(&ListParams::default()).await.unwrap().iter().any(|found| found.name_any() == "default"));
}

#[tokio::test]
async fn a_reflector_holds_what_the_server_holds_however_it_lists() {
    for streaming in [false, true] {
        let api = Api::start().await;
        let machines = machines(&client(&api).await);
        create(&machines, "before").await;
        let config = if streaming { Config::default().streaming_lists() } else { Config::default().page_size(1) };
        let writer = reflector::store::Writer::new(kind());
        let store = writer.as_reader();
        let mut changes = pin!(reflector(writer, watcher(machines.clone(), config)).touched_objects());
        assert_eq!(next(&mut changes).await.name_any(), "before");
        create(&machines, "after").await;
        assert_eq!(next(&mut changes).await.name_any(), "after");
        let merged = json!({"metadata": {"finalizers": null}});
        machines.patch("before", &PatchParams::default(), &Patch::Merge(&merged)).await.unwrap();
        assert_eq!(next(&mut changes).await.name_any(), "before");
        machines.delete("before", &DeleteParams::default()).await.unwrap();
        assert_eq!(next(&mut changes).await.name_any(), "before");
        let names: Vec<String> = store.state().iter().map(|object| object.name_any()).collect();
        assert_eq!(names, ["after"], "streaming: {streaming}");
    }
}

#[tokio::test]
async fn a_watcher_whose_watch_ends_goes_on_where_it_ended() {
    let mut api = Api::start().await;
    let watches = Arc::new(AtomicUsize::new(0));
    let counted = watches.clone();
    api.router = api.router.clone().layer(from_fn(move |request: Request, next: Next| {
        if request.uri().query().unwrap_or_default().contains("watch=true") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        next.run(request)
    }));
    let machines = machines(&client(&api).await);
    create(&machines, "first").await;
    let mut events = pin!(watcher(machines.clone(), Config::default().timeout(1)));
    let mut seen = Vec::new();
    let mut follow = async |until: &str| loop {
        match next(&mut events).await {
            Event::Init | Event::InitDone => {}
            Event::InitApply(object) | Event::Apply(object) => {
                seen.push(object.name_any());
                if object.name_any() == until {
                    return;
                }
            }
            Event::Delete(object) => panic!("{} was not deleted", object.name_any()),
        }
    };
    follow("first").await;
    let later = async {
        let asked = watches.load(Ordering::SeqCst);
        while watches.load(Ordering::SeqCst) < asked + 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        create(&machines, "second").await;
    };
    tokio::join!(follow("second"), later);
    assert_eq!(seen, ["first", "second"], "nothing is repeated and nothing is missed");
}

#[tokio::test]
async fn metadata_alone_is_watched_and_conditions_are_waited_for() {
    let api = Api::start().await;
    let client = client(&api).await;
    let machines = machines(&client);
    let uid = create(&machines, "box").await.uid().unwrap();
    let partial: Resources<PartialObjectMeta<DynamicObject>> = Resources::namespaced_with(client, "default", &kind());
    let mut metadata = pin!(watcher(partial, Config::default()).touched_objects());
    assert_eq!(next(&mut metadata).await.name_any(), "box");
    let free = json!({"metadata": {"finalizers": null}});
    machines.patch("box", &PatchParams::default(), &Patch::Merge(&free)).await.unwrap();
    let gone = wait::await_condition(machines.clone(), "box", wait::conditions::is_deleted(&uid));
    let at_once = DeleteParams::default();
    let (gone, deleted) = tokio::join!(tokio::time::timeout(SOON, gone), machines.delete("box", &at_once));
    gone.expect("it is seen to go").unwrap();
    deleted.unwrap();
}

#[tokio::test]
async fn events_are_listed_with_types_of_their_own() {
    let api = Api::start().await;
    let client = client(&api).await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"}, "type": "Normal", "reason": "Seen", "message": "m",
        "involvedObject": {"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "name": "box", "namespace": "default"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1, "source": {"component": "test"},
    });
    let events: Resources<CoreEvent> = Resources::namespaced(client, "default");
    let event: CoreEvent = serde_json::from_value(event).unwrap();
    events.create(&PostParams::default(), &event).await.unwrap();
    let found = events.list(&ListParams::default().fields("involvedObject.name=box,reason=Seen")).await.unwrap();
    assert_eq!(found.items[0].involved_object.kind.as_deref(), Some("RemoteMachine"));
}

#[tokio::test]
async fn fields_are_applied_at_the_server_and_owned() {
    let api = Api::start().await;
    let machines = machines(&client(&api).await);
    let wanted = |timeout: &str| {
        let mut wanted = machine("box");
        wanted["spec"]["timeout"] = json!(timeout);
        Patch::Apply(wanted)
    };
    let made = machines.patch("box", &PatchParams::apply("alice"), &wanted("2h")).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let again = machines.patch("box", &PatchParams::apply("alice"), &wanted("2h")).await.unwrap();
    assert_eq!(again.resource_version(), made.resource_version(), "what is so already is not written");
    let refused = machines.patch("box", &PatchParams::apply("bob"), &wanted("3h")).await.unwrap_err();
    let text = "Apply failed with 1 conflict: conflict with \"alice\": .spec.timeout";
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409 && status.message == text), "{refused}");
    let forced = machines.patch("box", &PatchParams::apply("bob").force(), &wanted("3h")).await.unwrap();
    assert_eq!(forced.data["spec"]["timeout"], "3h");
    let owners = forced
        .managed_fields()
        .iter()
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:timeout").is_some()));
    let owners: Vec<_> = owners.map(|entry| entry.manager.clone().unwrap_or_default()).collect();
    assert_eq!(owners, ["bob"]);
}
