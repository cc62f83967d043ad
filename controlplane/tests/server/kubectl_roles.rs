//! Roles through real kubectl.

use super::{Api, Kubectl, with_each_kubectl};

/// A kubectl of another user.
async fn user(api: &Api, kubectl: &Kubectl, name: &str) -> Kubectl {
    let text = std::fs::read_to_string(&kubectl.config).unwrap().replace(&api.token, &api.token_of(name));
    let config = api.folder.path().join(format!("kubeconfig-{name}"));
    std::fs::write(&config, text).unwrap();
    Kubectl { program: kubectl.program.clone(), config, folder: kubectl.folder.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_made_bound_and_asked_about() {
    with_each_kubectl(async |api, kubectl| {
        kubectl.ok(&["create", "role", "looker", "--verb=get,list", "--resource=remotemachines.torchremote.dev"]).await;
        kubectl.ok(&["create", "rolebinding", "ana-looks", "--role=looker", "--user=ana"]).await;
        kubectl.ok(&["create", "rolebinding", "vision-uses", "--clusterrole=user", "--group=vision", "--serviceaccount=default:bot"]).await;
        kubectl.ok(&["create", "clusterrole", "metrics", "--verb=get", "--non-resource-url=/metrics"]).await;
        kubectl.ok(&["create", "clusterrolebinding", "ana-metrics", "--clusterrole=metrics", "--user=ana"]).await;
        let table = kubectl.ok(&["get", "rolebindings", "-o", "wide"]).await;
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]);
        assert!(table.contains("ClusterRole/user") && table.contains("default/bot"), "{table}");
        assert!(kubectl.ok(&["get", "clusterroles"]).await.contains("CREATED AT"));
        assert!(kubectl.ok(&["describe", "clusterrole", "viewer"]).await.contains("remotemachines.torchremote.dev"));

        let ana = user(api, kubectl, "ana").await;
        let machines = "remotemachines.torchremote.dev";
        assert_eq!(ana.ok(&["auth", "can-i", "list", machines]).await, "yes\n");
        assert!(!ana.run(&["auth", "can-i", "delete", machines]).await.fine);
        assert!(!ana.run(&["auth", "can-i", "list", machines, "-A"]).await.fine);
        assert_eq!(ana.ok(&["auth", "can-i", "get", "/metrics"]).await, "yes\n");
        let listed = ana.ok(&["auth", "can-i", "--list"]).await;
        assert!(listed.contains("remotemachines.torchremote.dev") && listed.contains("[get list]"), "{listed}");
        assert!(listed.contains("/metrics"), "{listed}");
        let who = ana.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo}"]).await;
        let who: serde_json::Value = serde_json::from_str(&who).unwrap();
        assert_eq!(who, serde_json::json!({"username": "ana", "groups": ["system:authenticated"]}));
        ana.ok(&["get", "machines"]).await;
        let refused = ana.refused(&["get", "leases"]).await;
        assert_eq!(
            refused.trim(),
            "Error from server (Forbidden): deviceleases.torchremote.dev is forbidden: User \"ana\" cannot list resource \"deviceleases\" in API group \"torchremote.dev\" in the namespace \"default\""
        );
        let refused = ana.refused(&["delete", "machine", "none"]).await;
        assert!(refused.contains("User \"ana\" cannot delete resource \"remotemachines\""), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_tries_things_as_another() {
    with_each_kubectl(async |api, kubectl| {
        api.bind("vision", "user", "default", serde_json::json!([{"kind": "Group", "name": "vision"}])).await;
        let leases = "deviceleases.torchremote.dev";
        assert_eq!(kubectl.ok(&["auth", "can-i", "create", leases, "--as=ana", "--as-group=vision"]).await, "yes\n");
        assert!(!kubectl.run(&["auth", "can-i", "create", leases, "--as=ana"]).await.fine);
        let who = ["auth", "whoami", "--as=ana", "--as-group=vision", "-o", "jsonpath={.status.userInfo}"];
        let who: serde_json::Value = serde_json::from_str(&kubectl.ok(&who).await).unwrap();
        assert_eq!(who, serde_json::json!({"username": "ana", "groups": ["vision", "system:authenticated"]}));
        kubectl.ok(&["get", "leases", "--as=ana", "--as-group=vision"]).await;
        let refused = kubectl.refused(&["get", "secrets", "--as=ana", "--as-group=vision"]).await;
        assert!(refused.contains("forbidden") || refused.contains("doesn't have a resource type"), "{refused}");
        let ana = user(api, kubectl, "ana").await;
        let refused = ana.refused(&["get", "leases", "--as=root", "--as-group=system:masters"]).await;
        assert!(
            refused.contains("users \"root\" is forbidden: User \"ana\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_is_a_table() {
    with_each_kubectl(async |api, kubectl| {
        let ana = user(api, kubectl, "ana").await;
        ana.refused(&["get", "leases"]).await;
        kubectl.ok(&["create", "namespace", "vision"]).await;
        let look = async {
            loop {
                let table = kubectl.ok(&["get", "auditevents"]).await;
                if table.contains("namespaces/vision") {
                    return table;
                }
            }
        };
        let table = tokio::time::timeout(std::time::Duration::from_secs(60), look).await.expect("the row in time");
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["TIME", "USER", "VERB", "OBJECT", "DECISION", "CODE", "FROM"]);
        assert!(table.contains("default/deviceleases") && table.contains("Deny"), "{table}");
        let denied = kubectl.ok(&["get", "auditevents", "--field-selector=decision=Deny,user=ana"]).await;
        assert!(denied.lines().count() >= 2 && !denied.contains("Allow"), "{denied}");
        assert!(ana.refused(&["get", "auditevents"]).await.contains("cannot list resource \"auditevents\""));
    })
    .await;
}
