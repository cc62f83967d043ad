use serde_json::json;

use super::*;
use crate::postgres::Postgres;
use crate::store::namespace;

async fn collector() -> Collector {
    let pool = Postgres::scratch().await.expect("a database").pool().await.expect("a pool");
    crate::store::migrate(&pool).await.expect("the schema");
    let objects = Objects::new(pool);
    namespace::ensure(&objects, &["default", "vision"]).await.expect("namespaces");
    let (recorder, _) = Recorder::new(objects.clone(), "garbage");
    Collector { objects, recorder }
}

impl Collector {
    /// A quota: of all kinds that can be owned the one that nothing else holds.
    async fn quota(&self, (namespace, name): (&str, &str), owners: &[Value], finalizers: &[&str]) -> Object {
        let body = json!({
            "apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota", "spec": {},
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners, "finalizers": finalizers},
        });
        let mut write = self.objects.begin().await.expect("a transaction");
        write.create(Resource::QUOTAS, body).await.expect("new");
        write.commit().await.expect("written");
        self.get(namespace, name).await.expect("there")
    }

    async fn get(&self, namespace: &str, name: &str) -> Option<Object> {
        self.objects.get(&Key::new(Resource::QUOTAS, namespace, name)).await.expect("an answer")
    }

    async fn delete(&self, object: &Object, propagation: Propagation) {
        let mut write = self.objects.begin().await.expect("a transaction");
        let key = object.key(Resource::QUOTAS);
        write.delete_as(&key, &Preconditions::default(), propagation).await.expect("deleted");
        write.commit().await.expect("written");
    }

    /// Looks at everything until nothing is left to do.
    async fn settle(&self) {
        for _ in 0..10 {
            self.look(vec![], true).await.expect("no failure");
        }
    }
}

fn of(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.body["apiVersion"], "kind": owner.body["kind"], "name": owner.name(), "uid": owner.uid(),
        "blockOwnerDeletion": true,
    })
}

fn never() -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota", "name": "never", "uid": "11111111-2222-4333-8444-555555555555",
    })
}

#[tokio::test]
async fn only_what_may_have_lost_an_owner_is_looked_at() {
    let collector = collector().await;
    let owner = collector.quota(("default", "owner"), &[], &[]).await;
    collector.quota(("default", "fine"), &[of(&owner)], &[]).await;
    collector.quota(("default", "gone"), &[never()], &[]).await;
    collector.quota(("vision", "elsewhere"), &[of(&owner)], &[]).await;
    let mut other = of(&owner);
    other["name"] = json!("other");
    collector.quota(("default", "misnamed"), &[other], &[]).await;
    let names = |keys: Vec<Key>| keys.into_iter().map(|key| key.name).collect::<Vec<_>>();
    let pool = collector.objects.pool();
    assert_eq!(names(owner::all_concerned(pool).await.expect("keys")), ["gone", "misnamed", "elsewhere"]);
    let changed = ["owner", "fine", "gone", "misnamed"].map(|name| Key::new(Resource::QUOTAS, "default", name));
    let (mut found, gone) = owner::concerned(pool, &changed).await.expect("keys");
    found.sort();
    assert_eq!((names(found), gone), (vec!["gone".to_owned(), "misnamed".to_owned()], false));
    collector.delete(&owner, Propagation::Foreground).await;
    let (found, _) = owner::concerned(pool, &changed[1..2]).await.expect("keys");
    assert_eq!(names(found).len(), 2, "it and its owner");
}

#[tokio::test]
async fn one_that_is_on_its_way_out_is_not_looked_at_again_whatever_became_of_its_owner() {
    let collector = collector().await;
    let held = collector.quota(("default", "held"), &[never()], &["example.org/archive"]).await;
    let pool = collector.objects.pool();
    assert_eq!(owner::left_behind(pool).await.expect("keys").len(), 1);
    collector.delete(&held, Propagation::Background).await;
    assert_eq!(owner::left_behind(pool).await.expect("keys"), []);
    assert_eq!(owner::all_concerned(pool).await.expect("keys"), []);
}

#[tokio::test]
async fn one_that_fails_holds_up_no_other() {
    let collector = collector().await;
    for name in ["a", "b", "c"] {
        collector.quota(("default", name), &[never()], &[]).await;
    }
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
         create trigger refuse before delete on object for each row when (old.name = 'a') execute function refuse()",
    )
    .execute(collector.objects.pool())
    .await
    .expect("a trigger");
    assert!(collector.look(vec![], true).await.is_err(), "it is told");
    assert!(collector.get("default", "a").await.is_some());
    assert!(collector.get("default", "b").await.is_none() && collector.get("default", "c").await.is_none());
}

#[tokio::test]
async fn owners_in_a_circle_go_when_one_of_them_is_deleted_in_the_foreground() {
    let collector = collector().await;
    let first = collector.quota(("default", "first"), &[], &[]).await;
    let second = collector.quota(("default", "second"), &[of(&first)], &[]).await;
    let third = collector.quota(("default", "third"), &[of(&second)], &[]).await;
    let mut write = collector.objects.begin().await.expect("a transaction");
    let mut body = first.body.clone();
    body["metadata"]["ownerReferences"] = json!([of(&third)]);
    let key = first.key(Resource::QUOTAS);
    write.update(&key, body, &Preconditions::default()).await.expect("closed");
    write.commit().await.expect("written");
    collector.delete(&first, Propagation::Foreground).await;
    collector.settle().await;
    for name in ["first", "second", "third"] {
        assert!(collector.get("default", name).await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_finalizer_is_taken_from_the_object_that_was_judged_and_from_no_other_of_its_name() {
    let collector = collector().await;
    let old = collector.quota(("default", "a"), &[], &[]).await;
    collector.delete(&old, Propagation::Background).await;
    let new = collector.quota(("default", "a"), &[], &[ORPHAN]).await;
    let refused = collector.let_go(&old.key(Resource::QUOTAS), &old, ORPHAN).await;
    assert!(matches!(refused, Err(Error::OtherUid { .. })), "{refused:?}");
    assert_eq!(collector.get("default", "a").await, Some(new));
}

#[tokio::test]
async fn a_namespaced_owner_of_an_object_of_the_cluster_keeps_and_takes_nothing() {
    let collector = collector().await;
    let owner = collector.quota(("default", "owner"), &[], &[]).await;
    let mut write = collector.objects.begin().await.expect("a transaction");
    let body = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "Provider", "spec": {"type": "Local"},
        "metadata": {"name": "here", "ownerReferences": [of(&owner)]},
    });
    write.create(Resource::PROVIDERS, body).await.expect("new");
    write.commit().await.expect("written");
    collector.delete(&owner, Propagation::Foreground).await;
    collector.settle().await;
    assert!(collector.get("default", "owner").await.is_none(), "nothing holds it");
    let there = collector.objects.get(&Key::cluster(Resource::PROVIDERS, "here")).await.expect("an answer");
    assert!(there.is_some_and(|provider| !provider.deleting()));
}

#[tokio::test]
async fn two_that_collect_at_once_do_what_one_does() {
    let collector = collector().await;
    let owner = collector.quota(("default", "owner"), &[], &[]).await;
    for number in 0..20 {
        collector.quota(("default", &format!("of-{number}")), &[of(&owner)], &[]).await;
    }
    collector.delete(&owner, Propagation::Foreground).await;
    for _ in 0..5 {
        let (a, b) = tokio::join!(collector.look(vec![], true), collector.look(vec![], true));
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    }
    let left = collector.objects.list(Resource::QUOTAS, Some("default")).await.expect("a list").items;
    assert_eq!(left, []);
}
