//! What is read from memory is what lies in the database, page by page.

use http::StatusCode;
use serde_json::{Value, json};

use crate::harness::Api;
use crate::sample::created;

const QUOTAS: &str = "/apis/torchremote.dev/v1alpha1/namespaces/default/gpuquotas";

/// All pages of a listing: the first one of `version`, which is not said again.
async fn pages(api: &Api, version: &str, rest: &str) -> Vec<Value> {
    let (mut pages, mut query) = (Vec::new(), format!("{version}&{rest}"));
    loop {
        let (code, page) = api.get(&format!("{QUOTAS}?{query}")).await;
        assert_eq!(code, StatusCode::OK, "{page}");
        let token = page["metadata"]["continue"].as_str().map(str::to_owned);
        pages.push(page);
        let Some(token) = token else { return pages };
        query = format!("continue={token}&{rest}");
    }
}

fn names(pages: &[Value]) -> Vec<&str> {
    let items = pages.iter().flat_map(|page| page["items"].as_array().unwrap());
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn quota(name: &str) -> Value {
    json!({
        "apiVersion": "torchremote.dev/v1alpha1", "kind": "GPUQuota", "metadata": {"name": name, "labels": {"vowel": "aeo".contains(name).to_string()}},
        "spec": {},
    })
}

#[tokio::test]
async fn a_list_from_memory_is_the_list_of_the_database_with_pages_and_selectors() {
    let api = Api::start().await;
    for name in ["b", "a", "e", "d", "c", "g", "f"] {
        created(&api, QUOTAS, quota(name)).await;
    }
    let (_, now) = api.get(&format!("{QUOTAS}?limit=1")).await;
    let version = now["metadata"]["resourceVersion"].as_str().unwrap();
    // An exact version is read from the database.
    let exactly = format!("resourceVersion={version}&resourceVersionMatch=Exact");
    let at_least = format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    for selector in
        ["", "&labelSelector=vowel%3Dtrue", "&labelSelector=vowel%21%3Dtrue", "&fieldSelector=metadata.name%21%3Dc"]
    {
        for limit in ["", "limit=2", "limit=3", "limit=7", "limit=100"] {
            let rest = format!("{limit}{selector}");
            let stored = pages(&api, &exactly, &rest).await;
            for from in ["", "resourceVersion=0", &at_least] {
                assert_eq!(pages(&api, from, &rest).await, stored, "{from} {rest}");
            }
        }
    }
}

#[tokio::test]
async fn a_listing_that_began_in_memory_goes_on_as_it_began_when_something_changes() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d"] {
        created(&api, QUOTAS, quota(name)).await;
    }
    let (_, first) = api.get(&format!("{QUOTAS}?limit=2")).await;
    let token = format!("continue={}", first["metadata"]["continue"].as_str().unwrap());
    let unchanged = pages(&api, &token, "limit=2").await;
    assert_eq!(names(&unchanged), ["c", "d"]);
    assert_eq!(api.send("DELETE", &format!("{QUOTAS}/c"), json!({})).await.0, StatusCode::OK);
    created(&api, QUOTAS, quota("cc")).await;
    assert_eq!(pages(&api, &token, "limit=2").await, unchanged);
    assert_eq!(names(&pages(&api, "", "limit=2").await), ["a", "b", "cc", "d"]);
}

#[tokio::test]
async fn whoever_was_answered_reads_what_was_answered_and_no_longer_what_was_deleted() {
    let api = Api::start().await;
    created(&api, QUOTAS, quota("q")).await;
    let path = format!("{QUOTAS}/q");
    for count in 0..20 {
        let patch = json!({"metadata": {"annotations": {"count": count.to_string()}}});
        let (_, written) = api.send("PATCH", &path, patch).await;
        let (_, read) = api.get(&path).await;
        assert_eq!(read, written);
        let (_, list) = api.get(QUOTAS).await;
        assert_eq!(list["items"], json!([written]));
    }
    assert_eq!(api.send("DELETE", &path, json!({})).await.0, StatusCode::OK);
    assert_eq!(api.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get(QUOTAS).await.1["items"], json!([]));
}
