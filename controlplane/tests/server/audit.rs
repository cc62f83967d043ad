//! The audit, over HTTP and in the table.

use std::time::Duration;

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
    let (rows, _) = torch_remote::store::audit::page(pool, i64::MAX, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.entry.who.as_str()).collect::<Vec<_>>(), ["young"]);
}
