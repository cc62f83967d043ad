//! Secrets: what they take, who reads them back, and that the database alone tells nothing.

use http::StatusCode;
use serde_json::{Value, json};
use torch_remote::store::{Query, Resource, Version};

use crate::harness::Api;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
/// In base64 and not: what no table may hold.
const PLAIN: [&str; 4] = ["hunter2", "aHVudGVyMg", "correct-horse", "Y29ycmVjdC1ob3JzZ"];

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "labels": {"team": "vision"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
        "data": {"password": "aHVudGVyMg=="}, "stringData": {"phrase": "correct-horse"},
    })
}

/// Every row of every table, as text.
async fn everything(api: &Api) -> String {
    let pool = api.objects.pool();
    let tables = "select tablename::text from pg_tables where schemaname = 'public' order by 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut text = String::new();
    for table in tables {
        let rows = sqlx::AssertSqlSafe(format!("select coalesce(string_agg(t::text, ' '), '') from {table} t"));
        text += &sqlx::query_scalar::<_, String>(rows).fetch_one(pool).await.unwrap();
    }
    text
}

#[tokio::test]
async fn a_secret_is_read_back_whole_and_no_table_holds_a_value_of_it() {
    let api = Api::start().await;
    let mut watch = api.watch(&format!("{SECRETS}?watch=1"), "application/json").await;
    let (code, made) = api.send("POST", SECRETS, secret("db")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["data"], json!({"password": "aHVudGVyMg==", "phrase": "Y29ycmVjdC1ob3JzZQ=="}));
    assert!(made["stringData"].is_null());
    assert_eq!(watch.next().await.unwrap()["object"]["data"], made["data"]);

    let one = format!("{SECRETS}/db");
    let (code, changed) = api.send("PATCH", &one, json!({"stringData": {"phrase": "hunter2"}})).await;
    assert_eq!((code, &changed["data"]["phrase"]), (StatusCode::OK, &json!("aHVudGVyMg==")));
    assert_eq!(watch.next().await.unwrap()["object"]["data"], changed["data"]);
    for read in [api.get(&one).await.1, api.get(SECRETS).await.1["items"][0].clone()] {
        assert_eq!(read["data"], changed["data"]);
        assert_eq!(read["metadata"]["annotations"], made["metadata"]["annotations"]);
    }
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let (_, then) = api.get(&format!("{SECRETS}?resourceVersion={version}&resourceVersionMatch=Exact&limit=9")).await;
    assert_eq!(then["items"][0]["data"], made["data"], "as of an older version: {then}");
    let (_, selected) = api.get(&format!("{SECRETS}?labelSelector=team%3Dvision&fieldSelector=type%3DOpaque")).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);

    let text = everything(&api).await;
    assert!(text.contains("vision"), "names and labels lie open");
    for plain in PLAIN {
        assert!(!text.contains(plain), "{plain} lies open in the database");
    }
    let (_, again) = api.send("PATCH", &one, json!({"stringData": {"phrase": "hunter2"}})).await;
    assert_eq!(
        again["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"],
        "a write that changes nothing"
    );
    assert_eq!(api.send("DELETE", &one, json!({})).await.0, StatusCode::OK);
    assert_eq!(watch.next().await.unwrap()["object"]["data"], changed["data"]);
    let text = everything(&api).await;
    for plain in PLAIN {
        assert!(!text.contains(plain), "{plain} lies open in the history");
    }
}

#[tokio::test]
async fn a_ciphertext_in_another_row_is_refused_and_takes_nothing_else_with_it() {
    let api = Api::start().await;
    for name in ["a", "b", "c"] {
        assert_eq!(api.send("POST", SECRETS, secret(name)).await.0, StatusCode::CREATED);
    }
    let swap = "update object o set body = jsonb_set(o.body, '{sealed}', other.body->'sealed') from object other
                where o.plural = 'secrets' and other.plural = 'secrets' and o.name in ('a', 'b') and other.name in ('a', 'b') and o.name <> other.name";
    assert_eq!(sqlx::query(swap).execute(api.objects.pool()).await.unwrap().rows_affected(), 2);
    for name in ["a", "b"] {
        let (code, status) = api.get(&format!("{SECRETS}/{name}")).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!status.to_string().contains("aHVudGVyMg"), "{status}");
    }
    assert_eq!(api.get(&format!("{SECRETS}/c")).await.0, StatusCode::OK);
    let list = api.objects.query(&Query { version: Version::Latest, ..Query::all(Resource::SECRETS) }).await;
    assert!(list.unwrap_err().to_string().contains("cannot be sealed or opened"));
    // A replica that starts now leaves them out of its watches, and starts.
    let tail = torch_remote::store::log::Tail::start(api.objects.clone()).await.unwrap();
    let (seen, _) = tail.cache().list(Resource::SECRETS);
    assert_eq!(seen.iter().map(|body| body["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>(), ["c"]);
    // The history's ciphertext is no object's.
    let back = "update object o set body = jsonb_set(o.body, '{sealed}', l.body->'sealed') from object_log l where o.name = 'c' and l.name = 'c'";
    sqlx::query(back).execute(api.objects.pool()).await.unwrap();
    assert_eq!(api.get(&format!("{SECRETS}/c")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_whole_body_in_another_row_is_refused() {
    let api = Api::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    assert_eq!(api.send("POST", SECRETS, secret("theirs")).await.0, StatusCode::CREATED);
    let mine = "/api/v1/namespaces/mine/secrets";
    assert_eq!(api.send("POST", mine, secret("a")).await.0, StatusCode::CREATED);
    let moves = [
        "update object o set body = other.body, uid = gen_random_uuid() from object other where o.name = 'a' and other.name = 'theirs'",
        "update object o set body = jsonb_set(jsonb_set(other.body, '{metadata,name}', '\"a\"'), '{metadata,namespace}', '\"mine\"')
         from object other where o.name = 'a' and other.name = 'theirs'",
    ];
    for (number, sql) in moves.into_iter().enumerate() {
        assert_eq!(sqlx::query(sql).execute(api.objects.pool()).await.unwrap().rows_affected(), 1);
        let (code, status) = api.get(&format!("{mine}/a")).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{number}: {status}");
        assert_eq!(api.get(mine).await.0, StatusCode::INTERNAL_SERVER_ERROR, "{number}");
    }
    assert_eq!(api.get(&format!("{SECRETS}/theirs")).await.0, StatusCode::OK);
    // One of before, of the same name.
    assert_eq!(api.send("POST", mine, secret("b")).await.0, StatusCode::CREATED);
    sqlx::query("create table old as select body from object where name = 'b'")
        .execute(api.objects.pool())
        .await
        .unwrap();
    assert_eq!(api.send("DELETE", &format!("{mine}/b"), json!({})).await.0, StatusCode::OK);
    assert_eq!(api.send("POST", mine, secret("b")).await.0, StatusCode::CREATED);
    let back = "update object o set body = old.body from old where o.name = 'b'";
    assert_eq!(sqlx::query(back).execute(api.objects.pool()).await.unwrap().rows_affected(), 1);
    assert_eq!(api.get(&format!("{mine}/b")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_can_be_deleted_alone_with_others_and_with_its_namespace() {
    let api = Api::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}});
    assert_eq!(api.send("POST", "/api/v1/namespaces", namespace).await.0, StatusCode::CREATED);
    let mine = "/api/v1/namespaces/mine/secrets";
    for name in ["a", "b", "c", "d", "held"] {
        let mut body = secret(name);
        if name == "held" {
            body["metadata"]["finalizers"] = json!(["example.org/x"]);
        }
        assert_eq!(api.send("POST", mine, body).await.0, StatusCode::CREATED);
    }
    let mut watch = api.watch(&format!("{mine}?watch=1"), "application/json").await;
    for _ in 0..5 {
        assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    }
    let spoil =
        "update object set body = jsonb_set(body, '{sealed}', '\"AAAA\"') where plural = 'secrets' and name <> 'd'";
    assert_eq!(sqlx::query(spoil).execute(api.objects.pool()).await.unwrap().rows_affected(), 4);
    let (code, status) = api.send("DELETE", &format!("{mine}/a"), json!({})).await;
    assert_eq!((code, &status["status"]), (StatusCode::OK, &json!("Success")), "{status}");
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("DELETED"), &json!("a")));
    assert_eq!(
        api.send("DELETE", &format!("{mine}?fieldSelector=metadata.name%3Db"), json!({})).await.0,
        StatusCode::OK
    );
    assert_eq!(watch.next().await.unwrap()["object"]["metadata"]["name"], "b");
    assert_eq!(api.send("DELETE", &format!("{mine}/held"), json!({})).await.0, StatusCode::OK);
    assert_eq!(watch.next().await.unwrap()["object"]["metadata"]["name"], "held");
    let let_go = json!({"metadata": {"finalizers": null}});
    assert_eq!(api.send("PATCH", &format!("{mine}/held"), let_go).await.0, StatusCode::OK);
    let mut spaces =
        api.watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dmine", "application/json").await;
    assert_eq!(api.send("DELETE", "/api/v1/namespaces/mine", json!({})).await.0, StatusCode::OK);
    while spaces.next().await.unwrap()["type"] != "DELETED" {}
}

#[tokio::test]
async fn a_change_that_cannot_be_opened_takes_the_secret_out_of_watches() {
    let api = Api::start().await;
    let behind = torch_remote::store::log::Tail::start(api.objects.clone()).await.unwrap();
    for name in ["changed", "deleted", "kept"] {
        assert_eq!(api.send("POST", SECRETS, secret(name)).await.0, StatusCode::CREATED);
    }
    behind.advance().await.unwrap();
    let names = || -> Vec<String> {
        let (seen, _) = behind.cache().list(Resource::SECRETS);
        seen.iter().map(|body| body["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["changed", "deleted", "kept"]);
    let changed = json!({"stringData": {"phrase": "other"}});
    assert_eq!(api.send("PATCH", &format!("{SECRETS}/changed"), changed).await.0, StatusCode::OK);
    assert_eq!(api.send("DELETE", &format!("{SECRETS}/deleted"), json!({})).await.0, StatusCode::OK);
    let spoil = "update object_log set body = jsonb_set(body, '{sealed}', '\"AAAA\"') where plural = 'secrets' and kind in ('M', 'D')";
    assert_eq!(sqlx::query(spoil).execute(api.objects.pool()).await.unwrap().rows_affected(), 2);
    behind.advance().await.unwrap();
    assert_eq!(names(), ["kept"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said_without_its_values() {
    let api = Api::start().await;
    let mut wrong = secret("db");
    wrong["data"]["password"] = json!("hunter2!");
    let (code, status) = api.send("POST", SECRETS, wrong).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        status["message"],
        "Secret in version \"v1\" cannot be handled as a Secret: data.password: illegal base64 data at input byte 7"
    );
    let mut wrong = secret("db");
    wrong["data"]["pass word"] = json!("aHVudGVyMg==");
    wrong["type"] = json!("kubernetes.io/tls");
    let (code, status) = api.send("POST", SECRETS, wrong).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let text = status.to_string();
    assert!(text.contains("data[pass word]") && text.contains("data[tls.crt]: Required value"), "{text}");
    for plain in PLAIN {
        assert!(!text.contains(plain), "{text}");
    }
    let mut fixed = secret("db");
    fixed["immutable"] = json!(true);
    assert_eq!(api.send("POST", SECRETS, fixed).await.0, StatusCode::CREATED);
    let (code, status) = api.send("PATCH", &format!("{SECRETS}/db"), json!({"stringData": {"phrase": "new"}})).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(status["message"].as_str().unwrap().contains("field is immutable when `immutable` is set"), "{status}");
}

#[tokio::test]
async fn a_table_of_secrets_shows_how_much_and_not_what() {
    let api = Api::start().await;
    api.send("POST", SECRETS, secret("db")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, _, table) = api.ask("GET", SECRETS, &accept, "").await;
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Type", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], ["db", "Opaque", "2"]);
    assert!(!table.to_string().contains("aHVudGVyMg"));
}
