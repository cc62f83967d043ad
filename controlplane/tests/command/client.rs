//! The client against a running control plane: what it prints, how it exits, and that wrong input writes nothing.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::golden;
use crate::harness::{DEADLINE, PROGRAM, Said, Up, command, eventually, folder, run};

const MACHINE: &str = "apiVersion: torchremote.dev/v1alpha1\nkind: RemoteMachine\nmetadata: {name: NAME}\nspec: {provider: local, gpu: {type: CPU}}\n";

fn machine(name: &str) -> String {
    MACHINE.replace("NAME", name)
}

/// `$ command`, its output, its errors and its exit code, without what differs from run to run.
fn transcript(text: &mut String, arguments: &[&str], said: &Said, hide: &[(&str, &str)]) {
    let mut block = format!("$ torch-remote {}\n{}", arguments.join(" "), said.out);
    for line in said.err.lines() {
        writeln!(block, "! {line}").unwrap();
    }
    writeln!(block, "exit {}\n", said.code).unwrap();
    for (secret, name) in hide {
        block = block.replace(secret, name);
    }
    text.push_str(&block);
}

#[test]
fn wrong_input_is_explained_and_writes_nothing() {
    let dir = folder();
    let up = Up::start(dir.path());
    let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let good = machine("good");
    file("not-yaml.yaml", "a: [1, 2\n");
    file("text.yaml", "just a text\n");
    file("unknown-kind.yaml", &format!("{good}---\n{}", machine("x").replace("RemoteMachine", "RemoteMachin")));
    file("old-version.yaml", &machine("x").replace("v1alpha1", "v1"));
    file(
        "unknown-field.yaml",
        &format!("{good}---\n{}", machine("x").replace("provider:", "providr: local, provider:")),
    );
    file("gpu.yaml", &format!("{good}---\n{}", machine("x").replace("CPU", "A1000")));
    file("gpu-size.yaml", &machine("x").replace("CPU", "A100"));
    file("timeout.yaml", &machine("x").replace("gpu:", "timeout: soon, gpu:"));
    file("namespace.yaml", &format!("{good}---\n{}", machine("x").replace("name: x", "name: x, namespace: nowhere")));
    file("twice.yaml", &format!("{good}---\n{good}"));
    file("unnamed.yaml", &format!("{good}---\n{}", machine("x").replace("name: x", "labels: {a: b}")));
    let hide = [(dir.path().to_str().unwrap(), "DIR")];
    let mut text = String::new();
    for name in [
        "missing",
        "not-yaml",
        "text",
        "unknown-kind",
        "old-version",
        "unknown-field",
        "gpu",
        "gpu-size",
        "timeout",
        "namespace",
        "twice",
        "unnamed",
    ] {
        let path = dir.path().join(format!("{name}.yaml"));
        let arguments = ["apply", "-f", path.to_str().unwrap()];
        let said = up.torch_remote(&arguments);
        assert_ne!(said.code, 0, "{name}");
        transcript(&mut text, &arguments, &said, &hide);
    }
    for arguments in [
        vec!["apply", "-f", "http://example.org/machine.yaml"],
        vec!["diff", "-f", "DIR/missing.yaml"],
        vec!["get"],
        vec!["get", "machinez"],
        vec!["get", "machine", "nobody"],
        vec!["get", "machine/a", "lease", "b"],
        vec!["get", "machines,leases", "-w"],
        vec!["delete", "machine"],
        vec!["delete", "machine", "nobody"],
        vec!["wait", "machine", "--all", "--for=condition=Ready"],
        vec!["wait", "machine/nobody", "--for=condition=Ready"],
        vec!["get", "machines", "-n", "nowhere"],
        vec!["get", "machines", "--context", "nowhere"],
    ] {
        let said = up.torch_remote(&arguments);
        transcript(&mut text, &arguments, &said, &hide);
    }
    golden::check("errors.txt", &text);
    let said = up.torch_remote(&["get", "machines", "-A", "-o", "name"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "nothing was written by any of them");
}

#[test]
fn an_object_is_applied_changed_shown_and_deleted() {
    let dir = folder();
    let up = Up::start(dir.path());
    // A Provider nobody reconciles into something: its own status may change meanwhile, its spec does not.
    let provider =
        "apiVersion: torchremote.dev/v1alpha1\nkind: Provider\nmetadata: {name: other}\nspec: {type: Static}\n";
    let mut text = String::new();
    let mut step = |arguments: &[&str], input: &str| {
        let said = up.with_input(arguments, input);
        transcript(&mut text, arguments, &said, &[]);
        said
    };
    step(&["apply", "-f", "-", "--dry-run"], provider);
    step(&["get", "provider", "other"], "");
    step(&["apply", "-f", "-"], provider);
    step(&["apply", "-f", "-"], provider);
    step(&["apply", "-f", "-"], &provider.replace("Static}", "Static, currency: EUR}"));
    step(&["get", "providers", "-o", "name"], "");
    let yaml = up.torch_remote(&["get", "provider/other", "-o", "yaml"]);
    assert!(yaml.out.contains("currency: EUR") && !yaml.out.contains("managedFields"), "{}", yaml.out);
    step(
        &["apply", "-f", "-"],
        &format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n---\n{}",
            machine("m").replace("name: m", "name: m, namespace: team")
        ),
    );
    step(&["delete", "-f", "-"], provider);
    step(&["delete", "provider", "other"], "");
    step(&["delete", "provider", "other", "--ignore-not-found"], "");
    step(&["delete", "ns", "team", "--timeout=60s"], "");
    step(&["wait", "ns/team", "--for=delete"], "");
    step(&["get", "machines", "-n", "team"], "");
    golden::check("objects.txt", &text);
    // What kubectl applied, torch-remote goes on with, and the other way round.
    fs::write(dir.path().join("p.yaml"), provider).unwrap();
    let path = dir.path().join("p.yaml");
    let path = path.to_str().unwrap();
    assert_eq!(up.kubectl(&["apply", "-f", path]).out, "provider.torchremote.dev/other created\n");
    assert_eq!(up.torch_remote(&["apply", "-f", path]).out, "provider.torchremote.dev/other unchanged\n");
    fs::write(path, provider.replace("Static}", "Static, currency: EUR}")).unwrap();
    assert_eq!(up.torch_remote(&["apply", "-f", path]).out, "provider.torchremote.dev/other configured\n");
    let said = up.kubectl(&["apply", "-f", path]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("provider.torchremote.dev/other unchanged\n", ""));
}

#[test]
fn a_difference_is_shown_before_it_is_applied_and_none_after() {
    let dir = folder();
    let up = Up::start(dir.path());
    let provider =
        "apiVersion: torchremote.dev/v1alpha1\nkind: Provider\nmetadata: {name: other}\nspec: {type: Static}\n";
    let said = up.with_input(&["diff", "-f", "-"], provider);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("\n+  name: other\n") && said.err.is_empty(), "{}", said.out);
    assert_eq!(up.torch_remote(&["get", "provider", "other"]).code, 1, "nothing was written");
    assert_eq!(up.with_input(&["apply", "-f", "-"], provider).code, 0);
    let same = up.with_input(&["diff", "-f", "-"], provider);
    assert_eq!((same.code, same.out.as_str(), same.err.as_str()), (0, "", ""));
    let changed = provider.replace("Static}", "Static, currency: EUR}");
    let said = up.with_input(&["diff", "-f", "-", "--color=always"], &changed);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("\x1b[32m+  currency: EUR\x1b[0m"), "{}", said.out);
    let said = up.with_input(&["diff", "-f", "-"], &provider.replace("Static", "Statik"));
    assert!(said.code == 2 && said.err.contains("spec.type"), "{}", said.err);
    let with_namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n---\n".to_owned()
        + &machine("m").replace("name: m", "name: m, namespace: team");
    let said = up.with_input(&["diff", "-f", "-"], &with_namespace);
    assert!(said.code == 1 && said.out.contains("+  namespace: team\n"), "{}{}", said.out, said.err);
}

#[test]
fn an_object_is_described_with_what_happened_to_it() {
    let dir = folder();
    let up = Up::start_with(dir.path(), |up| {
        up.env("TORCH_REMOTE_AGENT", "/nowhere/torch-remote-agent");
    });
    assert_eq!(up.with_input(&["apply", "-f", "-"], &machine("box-1")).code, 0);
    assert_eq!(up.torch_remote(&["wait", "machine/box-1", "--for=condition=Failed", "--timeout=60s"]).code, 0);
    eventually("its events are written", || up.torch_remote(&["describe", "machine", "box-1"]).out.contains("Warning"));
    let (ours, theirs) =
        (up.torch_remote(&["describe", "machine", "box"]).out, up.kubectl(&["describe", "machine", "box-1"]).out);
    for line in
        ["Name:", "Namespace:", "Labels:", "Annotations:", "API Version:", "Kind:", "Spec:", "Status:", "Events:"]
    {
        assert!(ours.contains(line) && theirs.contains(line), "{line}\n{ours}\n{theirs}");
    }
    assert!(ours.contains("Phase:") && ours.contains("Conditions:\n  Type"), "{ours}");
    let said = up.torch_remote(&["describe", "machine", "nobody"]);
    assert!(said.code == 1 && said.err.contains("\"nobody\" not found"), "{}", said.err);
}

#[test]
fn documents_are_written_after_what_they_need_and_told_of_in_their_order() {
    let dir = folder();
    let up = Up::start(dir.path());
    let lease = |name: &str| {
        format!(
            "apiVersion: torchremote.dev/v1alpha1\nkind: DeviceLease\nmetadata: {{name: {name}, namespace: team}}\nspec: {{gpu: [{{type: CPU}}]}}\n---\n"
        )
    };
    let leases: Vec<String> = (0..40).map(|number| format!("l{number:02}")).collect();
    let text: String = leases.iter().map(|name| lease(name)).collect();
    // Its namespace comes last.
    let text = text + "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n";
    let lines = |verb: &str| {
        let names = leases.iter().map(|name| format!("devicelease.torchremote.dev/{name} {verb}\n"));
        names.chain([format!("namespace/team {verb}\n")]).collect::<String>()
    };
    let said = up.with_input(&["apply", "-f", "-"], &text);
    assert_eq!((said.code, said.out), (0, lines("created")), "{}", said.err);
    let said = up.with_input(&["apply", "-f", "-"], &text);
    assert_eq!((said.code, said.out), (0, lines("unchanged")), "{}", said.err);
    let bad = text.replace("name: l20", "name: L20");
    let said = up.with_input(&["apply", "-f", "-", "-n", "team"], &bad.replace("l1", "x1"));
    assert!(said.code == 1 && said.out.is_empty() && said.err.contains("document 21"), "{}{}", said.out, said.err);
    assert_eq!(up.torch_remote(&["get", "lease", "x10", "-n", "team"]).code, 1, "nothing was written");
}

#[test]
fn a_field_of_another_manager_is_theirs_until_it_is_taken() {
    let dir = folder();
    let up = Up::start(dir.path());
    let provider = |currency: &str| {
        format!(
            "apiVersion: torchremote.dev/v1alpha1\nkind: Provider\nmetadata: {{name: other}}\nspec: {{type: Static, currency: {currency}}}\n"
        )
    };
    let mut text = String::new();
    let mut step = |arguments: &[&str], currency: &str| {
        transcript(&mut text, arguments, &up.with_input(arguments, &provider(currency)), &[]);
    };
    let apply = ["apply", "--server-side", "-f", "-"];
    step(&["apply", "--server-side", "--field-manager=alice", "-f", "-"], "EUR");
    step(&apply, "EUR");
    step(&apply, "USD");
    step(&["apply", "--server-side", "--force-conflicts", "-f", "-"], "USD");
    step(&["apply", "--server-side", "--dry-run", "-f", "-"], "USD");
    // A status that is written between the two looks of a diff would be a difference.
    let seen = ["wait", "provider/other", "--for=jsonpath={.status.observedGeneration}=2", "--timeout=20s"];
    assert_eq!(up.kubectl(&seen).code, 0);
    step(&["diff", "--server-side", "-f", "-"], "USD");
    golden::check("owners.txt", &text);
}

#[test]
fn a_warning_of_the_server_is_told_once() {
    let dir = folder();
    let up = Up::start(dir.path());
    let said = up.with_input(&["apply", "-f", "-"], &machine("m").replace("local", "nowhere"));
    assert_eq!((said.code, said.out.as_str()), (0, "remotemachine.torchremote.dev/m created\n"), "{}", said.err);
    assert_eq!(said.err, "Warning: Provider nowhere does not exist yet: nothing is made until it does\n");
}

#[test]
fn a_watch_gives_whole_objects_too() {
    use std::io::{BufRead, BufReader};
    let dir = folder();
    let up = Up::start(dir.path());
    let mut watch = up.client(PROGRAM, &["watch", "ns", "-o", "name"]);
    let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "namespace/kube-system"));
    assert_eq!(up.kubectl(&["create", "ns", "watched"]).code, 0);
    assert!(lines.any(|line| line == "namespace/watched"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn shells_take_the_completion_script() {
    let dir = folder();
    let script = |shell: &str| {
        let mut completion = command(PROGRAM, dir.path());
        completion.args(["completion", shell]);
        run(completion)
    };
    for shell in ["bash", "zsh", "fish"] {
        let said = script(shell);
        assert!(said.code == 0 && said.out.contains("describe"), "{shell}: {}", said.err);
    }
    fs::write(dir.path().join("completion"), script("bash").out).unwrap();
    let mut bash = command("bash", dir.path());
    bash.args(["-c", "source $HOME/completion && complete -p torch-remote"]);
    let said = run(bash);
    assert!(said.code == 0 && said.out.contains("torch-remote"), "{}", said.err);
}

#[test]
fn a_document_of_a_namespace_to_come_is_judged_as_a_new_object_whatever_has_its_name_elsewhere() {
    let dir = folder();
    let up = Up::start(dir.path());
    let lease = |namespace: &str, gpu: &str| {
        format!(
            "apiVersion: torchremote.dev/v1alpha1\nkind: DeviceLease\nmetadata: {{name: l, namespace: {namespace}}}\nspec: {{gpu: [{gpu}]}}\n"
        )
    };
    let team = |document: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n---\n{document}");
    let said = up.with_input(&["apply", "-f", "-"], &lease("default", "{type: CPU}"));
    assert_eq!(said.code, 0, "{}", said.err);
    let said = up.with_input(&["apply", "-f", "-"], &team(&lease("team", "{type: A1000}")));
    assert!(said.code != 0 && said.err.contains("spec.gpu"), "{}", said.err);
    assert_eq!(up.torch_remote(&["get", "ns", "team", "--ignore-not-found"]).out, "", "nothing was written");
    // What a lease asks for never changes; but this one is another.
    let said = up.with_input(&["apply", "-f", "-"], &team(&lease("team", "{type: T4}")));
    assert_eq!(said.out, "namespace/team created\ndevicelease.torchremote.dev/l created\n", "{}", said.err);
}

#[test]
fn a_wait_for_what_cannot_come_ends_at_once_and_one_without_end_in_time() {
    let dir = folder();
    let up = Up::start_with(dir.path(), |up| {
        up.env("TORCH_REMOTE_AGENT", "/nowhere/torch-remote-agent");
    });
    assert_eq!(up.with_input(&["apply", "-f", "-"], &machine("big")).code, 0);
    let mut text = String::new();
    for arguments in [
        ["wait", "machine/big", "--for=condition=Ready", "--timeout=60s"],
        ["wait", "machine/big", "--for=condition=Failed", "--timeout=60s"],
        ["wait", "ns/default", "--for=condition=Ready", "--timeout=1s"],
    ] {
        transcript(&mut text, &arguments, &up.torch_remote(&arguments), &[]);
    }
    golden::check("wait.txt", &text);
}

#[test]
fn tables_are_those_that_kubectl_prints() {
    let dir = folder();
    let up = Up::start(dir.path());
    for arguments in [vec!["get", "ns"], vec!["get", "ns", "-o", "name"], vec!["get", "providers", "-o", "wide"]] {
        let (ours, theirs) = (up.torch_remote(&arguments), up.kubectl(&arguments));
        let trim = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        // Ages differ by a second at times.
        let ageless = |text: &str| {
            trim(text)
                .into_iter()
                .map(|line| line.rsplit_once(' ').map_or(line.clone(), |(rest, _)| rest.trim_end().to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ageless(&ours.out), ageless(&theirs.out), "{arguments:?}");
    }
}

#[test]
fn a_reader_who_has_read_enough_hears_no_complaint() {
    let dir = folder();
    let up = Up::start(dir.path());
    let mut get = up.client(PROGRAM, &["get", "ns"]);
    let mut child = get.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn metrics_hold_histograms_of_the_requests() {
    let dir = folder();
    let up = Up::start(dir.path());
    assert_eq!(up.torch_remote(&["get", "ns"]).code, 0);
    let metrics = up.kubectl(&["get", "--raw", "/metrics"]);
    let bucket = "torchremote_api_request_duration_seconds_bucket";
    assert!(metrics.out.contains(bucket) && metrics.out.contains("le=\"0.005\""), "{}", metrics.out);
}

#[test]
fn a_watch_shows_each_change_as_it_happens() {
    use std::io::{BufRead, BufReader};
    let dir = folder();
    let up = Up::start(dir.path());
    let mut watch = up.client(PROGRAM, &["get", "ns", "-w"]);
    let mut watch = watch.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (send, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(watch.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let until = |start: &str| {
        while !lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line begins with {start}")).starts_with(start)
        {
        }
    };
    until("kube-system");
    assert_eq!(up.kubectl(&["create", "ns", "watched"]).code, 0);
    until("watched");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn without_a_control_plane_the_error_says_what_to_start() {
    let dir = folder();
    let up = Up::start(dir.path());
    let server = format!("https://{}", fs::read_to_string(dir.path().join("data/address")).unwrap().trim());
    let kubeconfig = up.kubeconfig.clone();
    let token = dir.path().join("data/admin.token");

    let right = fs::read_to_string(&token).unwrap();
    let mut text = String::new();
    let hide = [(server.as_str(), "SERVER"), (dir.path().to_str().unwrap(), "DIR")];
    fs::write(&token, right.replace('.', "x")).unwrap();
    transcript(&mut text, &["get", "ns"], &up.torch_remote(&["get", "ns"]), &hide);
    fs::write(&token, format!("{right}\n")).unwrap();
    assert_eq!(up.torch_remote(&["get", "ns"]).code, 0, "a line break at the end is no part of the token");

    let other = fs::read_to_string(&kubeconfig).unwrap();
    let other = other.replace(
        fs::read_to_string(&kubeconfig)
            .unwrap()
            .lines()
            .find(|line| line.contains("certificate-authority-data"))
            .unwrap(),
        &authority(),
    );
    let path = dir.path().join("other-authority");
    fs::write(&path, other).unwrap();
    let said = up.torch_remote(&["get", "ns", "--kubeconfig", path.to_str().unwrap()]);
    transcript(&mut text, &["get", "ns", "--kubeconfig", "other-authority"], &said, &hide);

    drop(up);
    let client = |arguments: &[&str], kubeconfig: Option<&Path>| {
        let mut client = command(PROGRAM, dir.path());
        client.args(arguments);
        if let Some(path) = kubeconfig {
            client.env("KUBECONFIG", path);
        }
        run(client)
    };
    transcript(&mut text, &["get", "ns"], &client(&["get", "ns"], Some(&kubeconfig)), &hide);
    let missing = dir.path().join("missing");
    transcript(&mut text, &["get", "ns"], &client(&["get", "ns"], Some(&missing)), &hide);
    golden::check("connection.txt", &text);
    let said = client(&["version", "--client"], None);
    assert_eq!((said.code, said.out), (0, format!("Client Version: {}\n", env!("CARGO_PKG_VERSION"))));
}

/// The kubeconfig line of an authority that signed nothing here.
fn authority() -> String {
    use base64::Engine;
    let pem = torch_remote::tls::Authority::generate().unwrap().certificate;
    format!("    certificate-authority-data: {}", base64::engine::general_purpose::STANDARD.encode(pem))
}

#[test]
fn help_teaches_by_examples() {
    let dir = folder();
    let mut text = String::new();
    let names = ["up", "serve", "apply", "diff", "get", "describe", "watch", "wait", "delete"];
    for name in [""].into_iter().chain(names).chain(["version", "login", "token", "kubeconfig", "completion"]) {
        let mut help = command(PROGRAM, dir.path());
        let arguments: Vec<&str> = [name, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        help.args(&arguments).env_remove("HOME").env("COLUMNS", "100");
        transcript(&mut text, &arguments, &run(help), &[]);
    }
    golden::check("help.txt", &text);
    assert!(text.matches("Examples:").count() >= 11, "each command that takes arguments shows some");
}
