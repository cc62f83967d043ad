//! The audit, over HTTP and in the table.

use std::time::Duration;

use axum::body::Body;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::Api;
use crate::sample::{LEASES, MACHINES, lease, machine};

const AUDIT: &str = "/apis/torchremote.dev/v1alpha1/auditevents";

/// Rows, newest first, once there is one that `fits`.
pub async fn rows(api: &Api, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let look = async {
        loop {
            let (code, list) = api.get(AUDIT).await;
            assert_eq!(code, StatusCode::OK, "{list}");
            let items = list["items"].as_array().unwrap().clone();
            if items.iter().any(&fits) {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.expect("such a row within 30 s")
}

fn by<'a>(rows: &'a [Value], user: &str, verb: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["user"] == user && row["verb"] == verb).collect()
}

#[tokio::test]
async fn every_write_and_every_refusal_has_a_row_and_reads_have_none() {
    let api = Api::start().await;
    api.grant("ana", "user", "default").await;
    assert_eq!(api.send_as("ana", "POST", LEASES, lease("l1")).await.0, StatusCode::CREATED);
    assert_eq!(api.send_as("ana", "GET", LEASES, Value::Null).await.0, StatusCode::OK);
    assert_eq!(api.send_as("ana", "POST", &format!("{LEASES}/l1/renew"), json!({})).await.0, StatusCode::OK);
    assert_eq!(api.send_as("ana", "POST", MACHINES, machine("m")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(api.send_as("bob", "GET", &format!("{LEASES}/l1"), Value::Null).await.0, StatusCode::FORBIDDEN);
    let headers = [("impersonate-user", "ana"), ("content-type", "application/json")];
    let (code, _, _) = api.ask("DELETE", &format!("{LEASES}/l1"), &headers, "").await;
    assert_eq!(code, StatusCode::OK);
    let (code, _, _) = api.ask_with("rubbish", "GET", LEASES, &[], "").await;
    assert_eq!(code, StatusCode::UNAUTHORIZED);
    let rows = rows(&api, |row| row["code"] == 401).await;

    let made = by(&rows, "ana", "create");
    let lease = made.iter().find(|row| row["object"]["resource"] == "deviceleases").unwrap();
    assert_eq!(
        (&lease["decision"], &lease["code"], &lease["object"]["name"]),
        (&json!("Allow"), &json!(201), &json!("l1"))
    );
    assert_eq!(
        lease["reason"],
        "RBAC: allowed by RoleBinding \"ana-user/default\" of ClusterRole \"user\" to User \"ana\""
    );
    let refused = made.iter().find(|row| row["object"]["resource"] == "remotemachines").unwrap();
    assert_eq!((&refused["decision"], &refused["code"]), (&json!("Deny"), &json!(403)));
    assert!(refused["reason"].as_str().unwrap().contains("User \"ana\" cannot create resource"), "{refused}");
    assert_eq!(made.len(), 2, "a renewal has no row: {made:#?}");
    assert!(by(&rows, "ana", "list").is_empty(), "a read that is allowed has no row");
    assert_eq!(by(&rows, "bob", "get")[0]["object"]["name"], "l1", "a read that is refused has one");
    assert_eq!(by(&rows, "ana", "delete")[0]["impersonatedBy"], "admin");
    let stranger = rows.iter().find(|row| row["code"] == 401).unwrap();
    assert_eq!(
        (&stranger["user"], &stranger["decision"], &stranger["path"]),
        (&json!(""), &json!("Deny"), &json!(LEASES))
    );
}

#[tokio::test]
async fn the_audit_is_shown_newest_first_in_pages_to_those_who_may() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    }
    let all = rows(&api, |row| row["object"]["name"] == "c").await;
    let names: Vec<&str> = all.iter().map(|row| row["object"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "b", "a"]);
    let (_, page) = api.get(&format!("{AUDIT}?limit=2")).await;
    let next = page["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = api.get(&format!("{AUDIT}?limit=2&continue={next}")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
    assert_eq!(rest["items"][0], all[2]);
    let (_, one) = api.get(&format!("{AUDIT}?fieldSelector=object.name%3Db")).await;
    assert_eq!(one["items"], json!([all[1]]));
    let (_, others) = api.get(&format!("{AUDIT}?limit=1&fieldSelector=object.name!%3Dc,verb%3Dcreate")).await;
    assert_eq!(others["items"], json!([all[1]]), "a page is of what is selected");
    assert!(others["metadata"]["continue"].is_string(), "there is another");
    let (_, one) = api.get(&format!("{AUDIT}/{}", all[1]["metadata"]["name"].as_str().unwrap())).await;
    assert_eq!(one, all[1]);
    assert_eq!(api.get(&format!("{AUDIT}/0")).await.0, StatusCode::NOT_FOUND);
    for (role, code) in [("team-admin", StatusCode::FORBIDDEN), ("operator", StatusCode::OK)] {
        api.grant(role, role, "").await;
        assert_eq!(api.send_as(role, "GET", AUDIT, Value::Null).await.0, code, "{role}");
        assert_eq!(api.send_as(role, "DELETE", AUDIT, json!({})).await.0, StatusCode::FORBIDDEN, "{role}");
    }
}

#[tokio::test]
async fn rows_can_be_added_and_when_they_are_old_forgotten_and_nothing_else() {
    let pool = &crate::database::fresh().await;
    let add = "insert into audit (who, verb, decision, at) values ('old', 'get', 'Deny', clock_now() - interval '91 days'), ('young', 'get', 'Deny', clock_now())";
    sqlx::query(add).execute(pool).await.unwrap();
    for change in [
        "update audit set who = 'another'",
        "delete from audit",
        "truncate audit",
        "select set_config('torch_remote.audit_forgets', 'on', false); delete from audit",
    ] {
        let refused = sqlx::raw_sql(change).execute(pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{change}: {refused}");
    }
    assert_eq!(torch_remote::store::audit::forget(pool, 90).await.unwrap(), 1);
    assert_eq!(torch_remote::store::audit::forget(pool, 0).await.unwrap(), 0, "the last day stays whatever is asked");
    let page = torch_remote::store::audit::page(pool, i64::MAX, 10, &[]).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.entry.who.as_str()).collect::<Vec<_>>(), ["young"]);
}

/// All rows of the table: verb, name and code.
async fn table(api: &Api) -> Vec<(String, String, i32)> {
    let rows = sqlx::query_as("select verb, name, code from audit order by id");
    rows.fetch_all(api.objects.pool()).await.unwrap()
}

#[tokio::test]
async fn the_row_of_an_acknowledged_write_is_there_though_the_process_is_killed_at_once() {
    let api = Api::doomed().await;
    let m1 = format!("{MACHINES}/m1");
    assert_eq!(api.send("POST", MACHINES, machine("m1")).await.0, StatusCode::CREATED);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(api.send("PATCH", &m1, label.clone()).await.0, StatusCode::OK);
    assert_eq!(api.send("PATCH", &m1, label).await.0, StatusCode::OK, "changes nothing");
    assert_eq!(
        api.send("PATCH", &format!("{m1}?dryRun=All"), json!({"metadata": {"labels": {"a": "c"}}})).await.0,
        StatusCode::OK
    );
    let (_, object) = api.get(&m1).await;
    let mut put = object.clone();
    put["metadata"]["labels"] = json!({"c": "d"});
    assert_eq!(api.send("PUT", &m1, put).await.0, StatusCode::OK);
    let apply = [("content-type", "application/apply-patch+yaml")];
    for (name, code) in [("m2", StatusCode::CREATED), ("m2", StatusCode::OK)] {
        let uri = format!("{MACHINES}/{name}?fieldManager=me");
        assert_eq!(api.ask("PATCH", &uri, &apply, machine(name).to_string()).await.0, code);
    }
    let mut generated = machine("");
    generated["metadata"] = json!({"generateName": "g-"});
    let (_, generated) = api.send("POST", MACHINES, generated).await;
    assert_eq!(api.send("DELETE", &m1, json!({})).await.0, StatusCode::OK);
    let name = generated["metadata"]["name"].as_str().unwrap();
    let rows = [
        ("create", "m1", 201),
        ("patch", "m1", 200),
        ("update", "m1", 200),
        ("patch", "m2", 201),
        ("create", name, 201),
        ("delete", "m1", 200),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(verb, name, code)| (verb.to_owned(), name.to_owned(), code)).collect();
    assert_eq!(table(&api).await, rows, "one each, and of what changed nothing none that could not wait");
}

#[tokio::test]
async fn a_deletion_of_many_has_a_row_for_each_and_says_which_were_meant() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        let mut secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"of": "many"}}});
        if name == "c" {
            secret["metadata"]["labels"] = json!({});
        }
        assert_eq!(api.send("POST", "/api/v1/namespaces/default/secrets", secret).await.0, StatusCode::CREATED);
    }
    for selector in ["of%3Dmany", "of%3Dnone"] {
        let uri = format!("/api/v1/namespaces/default/secrets?labelSelector={selector}");
        assert_eq!(api.send("DELETE", &uri, json!({})).await.0, StatusCode::OK);
    }
    let all = rows(&api, |row| row["path"].as_str().unwrap().ends_with("none")).await;
    let all = by(&all, "admin", "deletecollection");
    let named: Vec<_> = all.iter().map(|row| (row["object"]["name"].as_str(), row["path"].as_str().unwrap())).collect();
    let path = "/api/v1/namespaces/default/secrets?labelSelector=of%3D";
    let [none, many] = ["none", "many"].map(|selector| format!("{path}{selector}"));
    assert_eq!(named, [(None, &*none), (Some("b"), &*many), (Some("a"), &*many)]);
}

#[tokio::test]
async fn a_dry_run_is_one_in_its_row_too() {
    let api = Api::start().await;
    assert_eq!(api.send("POST", &format!("{MACHINES}?dryRun=All"), machine("m1")).await.0, StatusCode::CREATED);
    assert_eq!(api.send("POST", MACHINES, machine("m1")).await.0, StatusCode::CREATED);
    let m1 = format!("{MACHINES}/m1");
    assert_eq!(api.send("DELETE", &m1, json!({"dryRun": ["All"]})).await.0, StatusCode::OK);
    assert_eq!(api.send("DELETE", &m1, json!({})).await.0, StatusCode::OK);
    // Those of dry runs wait in the queue; this is the last of them.
    let all = rows(&api, |row| row["verb"] == "delete" && row["dryRun"] == true).await;
    let dry: Vec<_> = all.iter().filter(|row| row["dryRun"] == true).map(|row| row["verb"].as_str().unwrap()).collect();
    assert_eq!(dry.len(), 2, "{all:#?}");
    assert_eq!(by(&all, "admin", "create").len() + by(&all, "admin", "delete").len(), 4);
}

#[tokio::test]
async fn a_token_is_given_whatever_is_asked_so_its_row_is_no_dry_run() {
    const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
    let api = Api::start().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    assert_eq!(api.send("POST", ACCOUNTS, account).await.0, StatusCode::CREATED);
    let (code, answer) = api.send("POST", &format!("{ACCOUNTS}/robot/token?dryRun=All"), json!({})).await;
    assert_eq!(code, StatusCode::CREATED);
    let token = answer["status"]["token"].as_str().unwrap();
    let whoami = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, _, _) = api.ask_with(token, "POST", path, &[("content-type", "application/json")], whoami).await;
    assert_eq!(code, StatusCode::CREATED, "it is good");
    let all = rows(&api, |row| row["object"]["subresource"] == "token").await;
    let row = all.iter().find(|row| row["object"]["subresource"] == "token").unwrap();
    assert_eq!((&row["code"], &row["dryRun"]), (&json!(201), &Value::Null), "{row}");
}

#[tokio::test]
async fn a_row_says_when_the_call_was_received_and_when_it_was_answered() {
    let api = Api::start().await;
    let now = async || sqlx::query_scalar("select clock_now()").fetch_one(api.objects.pool()).await.unwrap();
    let before: DateTime<Utc> = now().await;
    // The body comes once it is asked for, which is after the call was received; and not before two seconds more.
    let (asked, body_is_asked_for) = tokio::sync::oneshot::channel();
    let (give, given) = tokio::sync::oneshot::channel::<String>();
    let body = Body::from_stream(futures::stream::once(async move {
        asked.send(()).unwrap();
        given.await
    }));
    let authorization = format!("Bearer {}", api.token);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let sent = api.raw("POST", MACHINES, &headers, body);
    let between = async {
        body_is_asked_for.await.unwrap();
        let asked: DateTime<Utc> = now().await;
        let mut between = asked;
        while between - asked < chrono::Duration::seconds(2) {
            between = now().await;
        }
        give.send(machine("m1").to_string()).unwrap();
        (asked, between)
    };
    let (answer, (asked, between)) = tokio::join!(sent, between);
    assert_eq!(answer.status(), StatusCode::CREATED);
    let all = rows(&api, |row| row["object"]["name"] == "m1").await;
    let time = |field: &str| all[0][field].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let (received, answered) = (time("requestReceivedTimestamp"), time("stageTimestamp"));
    // The row says how long ago each was when it was sent, and that takes a while too, on a busy machine.
    let while_sent = chrono::Duration::seconds(1);
    assert!(before <= received + while_sent && received <= asked + while_sent, "{before} {received} {asked}");
    assert!(between <= answered + while_sent, "{between} {answered}");
    assert_eq!(all[0]["metadata"]["creationTimestamp"].as_str().unwrap()[..19], received.to_rfc3339()[..19]);
}

#[tokio::test]
async fn a_row_is_found_by_what_it_says_however_many_came_after_it() {
    let api = Api::start().await;
    let add = "insert into audit (who, verb, grp, resource, ns, name, decision, code, peer, impersonator)
               values ('rare', 'delete', '', 'secrets', 'team', 's', 'Deny', 403, '192.0.2.1:7', 'boss');
               insert into audit (who, verb, decision) select 'often', 'get', 'Allow' from generate_series(1, 600)";
    sqlx::raw_sql(add).execute(api.objects.pool()).await.unwrap();
    for selector in [
        "user=rare",
        "verb=delete",
        "decision=Deny",
        "code=403",
        "object.resource=secrets",
        "object.namespace=team",
        "object.name=s",
        "from=192.0.2.1:7",
        "impersonatedBy=boss",
        "user!=often",
        "user=rare,verb=delete",
    ] {
        let uri = format!("{AUDIT}?fieldSelector={}", selector.replace('=', "%3D"));
        let (code, list) = api.get(&uri).await;
        assert_eq!(code, StatusCode::OK, "{list}");
        let users: Vec<_> = list["items"].as_array().unwrap().iter().map(|row| row["user"].as_str().unwrap()).collect();
        assert_eq!(users, ["rare"], "{selector}");
    }
    let (code, status) = api.get(&format!("{AUDIT}?fieldSelector=reason%3Dx")).await;
    assert_eq!((code, &status["reason"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
}

#[tokio::test]
async fn a_page_looks_through_so_many_numbers_and_says_where_the_next_begins() {
    let api = Api::start().await;
    let add = "insert into audit (who, verb, decision) values ('rare', 'get', 'Deny');
               select setval(pg_get_serial_sequence('audit', 'id'), 500000);
               insert into audit (who, verb, decision) select 'often', 'get', 'Allow' from generate_series(1, 5)";
    sqlx::raw_sql(add).execute(api.objects.pool()).await.unwrap();
    let (mut next, mut pages) = (String::new(), Vec::new());
    loop {
        let (code, page) = api.get(&format!("{AUDIT}?limit=3&fieldSelector=user%3Drare&continue={next}")).await;
        assert_eq!(code, StatusCode::OK, "{page}");
        pages.push(page["items"].as_array().unwrap().len());
        match page["metadata"]["continue"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    assert_eq!(pages, [0, 0, 1], "none is left out, and the last says so");
    let (_, all) = api.get(&format!("{AUDIT}?limit=5")).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    assert!(all["metadata"]["continue"].is_string());
}

#[tokio::test]
async fn the_audit_cannot_be_watched_and_says_so() {
    let api = Api::start().await;
    let (code, status) = api.get(&format!("{AUDIT}?watch=true")).await;
    let says = "watch is not supported on resources of kind \"auditevents.torchremote.dev\"";
    assert_eq!(
        (code, &status["kind"], &status["message"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("Status"), &json!(says))
    );
    let (_, list) = api.get("/apis/torchremote.dev/v1alpha1").await;
    let audit =
        list["resources"].as_array().unwrap().iter().find(|resource| resource["name"] == "auditevents").unwrap();
    assert_eq!(audit["verbs"], json!(["get", "list"]));
}
