//! `kubectl apply --server-side`, and what GitOps tools do with it, by each kubectl found.

use serde_json::Value;

use crate::kubectl::{Kubectl, MANIFEST, with_each_kubectl};

const BOX: &str = "remotemachine.torchremote.dev/box";
const WITH_TIMEOUT: &str = "jsonpath={.spec.timeout}";

async fn owners(kubectl: &Kubectl) -> Vec<(String, String)> {
    let text = kubectl.ok(&["get", "machine", "box", "-o", "json", "--show-managed-fields"]).await;
    let object: Value = serde_json::from_str(&text).unwrap();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    entries.iter().map(|entry| (text(entry, "manager"), text(entry, "operation"))).collect()
}

fn owner(name: &str, operation: &str) -> (String, String) {
    (name.to_owned(), operation.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_by_the_server_conflicts_and_can_be_forced() {
    with_each_kubectl(async |_, kubectl| {
        let file = kubectl.file("machine.yaml", MANIFEST);
        let apply = ["apply", "--server-side", "-f", &file];
        for _ in 0..2 {
            assert_eq!(kubectl.ok(&apply).await, format!("{BOX} serverside-applied\n"));
        }
        let version = kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.metadata.resourceVersion}"]).await;
        kubectl.ok(&apply).await;
        let again = kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.metadata.resourceVersion}"]).await;
        assert_eq!(again, version, "a repeated apply writes nothing");
        assert_eq!(owners(kubectl).await, [owner("kubectl", "Apply")]);
        assert!(!kubectl.ok(&["get", "machine", "box", "-o", "yaml"]).await.contains("managedFields"));
        assert_eq!(kubectl.ok(&["diff", "--server-side", "-f", &file]).await, "");

        let other = kubectl.file("other.yaml", &MANIFEST.replace("2h", "3h"));
        let as_other = ["apply", "--server-side", "--field-manager=other", "-f", &other];
        let refused = kubectl.refused(&as_other).await;
        assert!(
            refused.contains(r#"Apply failed with 1 conflict: conflict with "kubectl": .spec.timeout"#),
            "{refused}"
        );
        assert!(refused.contains("--force-conflicts"), "kubectl's own advice: {refused}");
        let forced: Vec<&str> = as_other.iter().copied().chain(["--force-conflicts"]).collect();
        assert_eq!(kubectl.ok(&forced).await, format!("{BOX} serverside-applied\n"));
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", WITH_TIMEOUT]).await, "3h");
        let difference = kubectl.run(&["diff", "--server-side", "--force-conflicts", "-f", &file]).await;
        assert!(difference.out.contains("+  timeout: 2h"), "{}{}", difference.out, difference.err);

        let strange = kubectl.file("strange.yaml", &MANIFEST.replace("timeout", "timeOut"));
        let refused = kubectl.refused(&["apply", "--server-side", "-f", &strange]).await;
        assert!(refused.contains(".spec.timeOut: field not declared in schema"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_applied_by_the_client_goes_over_to_the_server_and_back() {
    with_each_kubectl(async |_, kubectl| {
        let file = kubectl.file("machine.yaml", MANIFEST);
        kubectl.ok(&["apply", "-f", &file]).await;
        assert_eq!(owners(kubectl).await, [owner("kubectl-client-side-apply", "Update")]);
        let changed =
            kubectl.file("changed.yaml", &MANIFEST.replace("2h", "3h").replace("{team: vision}", "{team: speech}"));
        assert_eq!(
            kubectl.ok(&["apply", "--server-side", "-f", &changed]).await,
            format!("{BOX} serverside-applied\n")
        );
        let after = owners(kubectl).await;
        assert!(!after.contains(&owner("kubectl-client-side-apply", "Update")), "{after:?}");
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", WITH_TIMEOUT]).await, "3h");
        // What the file no longer says goes, though it was the client that had set it.
        let without = kubectl
            .file("without.yaml", &MANIFEST.replace("  timeout: 2h\n", "").replace("  labels: {team: vision}\n", ""));
        kubectl.ok(&["apply", "--server-side", "-f", &without]).await;
        assert_ne!(kubectl.ok(&["get", "machine", "box", "-o", WITH_TIMEOUT]).await, "3h");
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.metadata.labels}"]).await, "");
        assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, format!("{BOX} configured\n"));
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", WITH_TIMEOUT]).await, "2h");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_applyset_no_longer_has_is_pruned() {
    with_each_kubectl(async |_, kubectl| {
        let shelf = |name: &str| format!("---\n{}", MANIFEST.replace("name: box", &format!("name: {name}")));
        let apply = async |names: &[&str]| {
            let text: String = names.iter().map(|name| shelf(name)).collect();
            let file = kubectl.file("fleet.yaml", &text);
            let arguments = ["apply", "--server-side", "--prune", "--applyset=fleet", "-n", "default", "-f", &file];
            let output = kubectl.command(&arguments).env("KUBECTL_APPLYSET", "true").output().await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        apply(&["a", "b"]).await;
        let pruned = apply(&["b"]).await;
        assert!(pruned.contains("remotemachine.torchremote.dev/a pruned"), "{pruned}");
        let asked = kubectl.ok(&["get", "machine", "a", "-o", "jsonpath={.metadata.deletionTimestamp}"]).await;
        assert_ne!(asked, "", "only its finalizer holds it");
        let owner = kubectl.ok(&["get", "secret", "fleet", "-o", "jsonpath={.metadata.labels}"]).await;
        assert!(owner.contains("applyset.kubernetes.io/id"), "{owner}");
    })
    .await;
}
