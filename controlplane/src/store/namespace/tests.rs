use super::*;
use crate::postgres::Postgres;

async fn objects() -> Objects {
    let pool = Postgres::scratch().await.expect("a database").pool().await.expect("a pool");
    crate::store::migrate(&pool).await.expect("the schema");
    let objects = Objects::new(pool);
    ensure(&objects, &["vision"]).await.expect("a namespace");
    objects
}

async fn quota(objects: &Objects, name: &str, finalizers: &[&str]) {
    let body = json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota", "spec": {},
        "metadata": {"name": name, "namespace": "vision", "finalizers": finalizers},
    });
    let mut write = objects.begin().await.expect("a transaction");
    write.create(Resource::QUOTAS, body).await.expect("new");
    write.commit().await.expect("written");
}

async fn delete_namespace(objects: &Objects) {
    delete(objects, &Key::cluster(Resource::NAMESPACES, "vision"), &Preconditions::default()).await.expect("deleted");
}

async fn names(objects: &Objects) -> Vec<String> {
    let list = objects.list(Resource::QUOTAS, Some("vision")).await.expect("a list").items;
    list.iter().map(|object| object.name().to_owned()).collect()
}

async fn said(objects: &Objects, kind: &str) -> (String, String) {
    let namespace = objects.get(&Key::cluster(Resource::NAMESPACES, "vision")).await.expect("an answer");
    let body = namespace.expect("there").body;
    let conditions = body["status"]["conditions"].as_array().expect("conditions").clone();
    let found = conditions.iter().find(|condition| condition["type"] == kind).expect("written");
    (found["status"].as_str().unwrap_or_default().to_owned(), found["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_keeps_a_namespace_is_said_by_kind_and_by_finalizer() {
    let objects = objects().await;
    quota(&objects, "a", &["example.org/archive"]).await;
    quota(&objects, "b", &["example.org/archive", "example.org/bill"]).await;
    quota(&objects, "c", &[]).await;
    delete_namespace(&objects).await;
    finish(&objects, "vision").await.expect("no failure");
    assert_eq!(names(&objects).await, ["a", "b"]);
    let (truth, message) = said(&objects, "NamespaceContentRemaining").await;
    let says = "Some resources are remaining: gpuquotas.torchremote.dev has 2 resource instances";
    assert_eq!((truth.as_str(), message.as_str()), ("True", says));
    let (truth, message) = said(&objects, "NamespaceFinalizersRemaining").await;
    let says = "Some content in the namespace has finalizers remaining: example.org/archive in 2 resource instances, \
                example.org/bill in 1 resource instances";
    assert_eq!((truth.as_str(), message.as_str()), ("True", says));
}

#[tokio::test]
async fn one_object_that_cannot_be_deleted_holds_up_no_other() {
    let objects = objects().await;
    for name in ["a", "b", "c"] {
        quota(&objects, name, &[]).await;
    }
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
         create trigger refuse before delete on object for each row when (old.name = 'a') execute function refuse()",
    )
    .execute(objects.pool())
    .await
    .expect("a trigger");
    delete_namespace(&objects).await;
    assert!(finish(&objects, "vision").await.is_err(), "it is told");
    assert_eq!(names(&objects).await, ["a"]);
    let (truth, message) = said(&objects, "NamespaceDeletionContentFailure").await;
    assert!(truth == "True" && message.starts_with("Failed to delete all resource types, 1 remaining: "), "{message}");
}

#[tokio::test]
async fn nothing_goes_from_a_namespace_that_stays() {
    let objects = objects().await;
    quota(&objects, "a", &[]).await;
    finish(&objects, "vision").await.expect("no failure");
    assert_eq!(names(&objects).await, ["a"]);
}

#[test]
fn a_namespace_in_which_much_changes_is_looked_at_once_in_a_while() {
    let (mut agenda, start) = (Agenda::default(), Instant::now());
    let ask = |agenda: &mut Agenda| agenda.asked.extend(["vision".to_owned()]);
    ask(&mut agenda);
    assert_eq!(agenda.take(start).len(), 1, "at once");
    ask(&mut agenda);
    assert_eq!(agenda.take(start + PACE / 2).len(), 0);
    assert_eq!(agenda.next(), Some(start + PACE), "it is not forgotten");
    assert_eq!(agenda.take(start + PACE).len(), 1);
    assert_eq!(agenda.next(), None);
}
