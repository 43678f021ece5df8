//! Every manifest is applied and reaches what its `# expect:` line says.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ContainerStatus;
use wherry_api::kinds::Pod;
use wherry_client::Client;
use wherry_tests::{Cluster, Kubectl, until};

use crate::WHERRY;

/// What a manifest promises of one pod; empty parts promise nothing.
#[derive(Debug, Default)]
struct Promise {
    pod: String,
    phase: String,
    exit: Option<i32>,
    log: String,
    condition: String,
}

#[test]
fn every_manifest_keeps_its_promise() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for (guest, _) in wherry::GUESTS {
        cluster.load_guest(guest).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = cluster.client().unwrap();
    let files = files("features");
    assert!(files.len() > 10);
    for file in &files {
        let output = cluster.wherry(&["apply", "-f", &file.display().to_string()]).unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    for file in &files {
        check(&cluster, &runtime, &client, file);
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check(cluster: &Cluster, runtime: &tokio::runtime::Runtime, client: &Client, file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# expect: "));
    let line = line.unwrap_or_else(|| panic!("{} promises nothing", file.display()));
    let Some(rest) = line.strip_prefix("pod/") else { return };
    let promise = parse(rest);
    let api = client.namespaced::<Pod>("default");
    let mut last = None;
    let kept = until(line, || {
        let pod = runtime.block_on(api.get(&promise.pod))?;
        let kept = is_kept(&promise, &pod);
        last = pod.status;
        Ok(kept.then_some(()))
    });
    assert!(kept.is_ok(), "{}: {promise:?} not kept: {last:#?}", file.display());
    if !promise.log.is_empty() {
        let log = log(cluster, &promise.pod);
        assert!(log.contains(&promise.log), "{}: log {log:?}", file.display());
    }
}

fn is_kept(promise: &Promise, pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let exit = |status: &ContainerStatus| status.state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code);
    let exits: Vec<i32> = status.container_statuses.iter().flatten().filter_map(exit).collect();
    let said = |wanted: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.message.as_deref().unwrap_or_default().contains(wanted))
    };
    status.phase.as_deref() == Some(&promise.phase)
        && promise.exit.is_none_or(|code| exits.contains(&code))
        && (promise.condition.is_empty() || said(&promise.condition))
}

fn log(cluster: &Cluster, pod: &str) -> String {
    match Kubectl::of(cluster) {
        Some(kubectl) => kubectl.run(&["logs", pod]).unwrap().out,
        None => String::from_utf8_lossy(&cluster.wherry(&["logs", pod]).unwrap().stdout).into_owned(),
    }
}

/// `NAME key=value key="a value"…`.
fn parse(text: &str) -> Promise {
    let (pod, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut promise = Promise { pod: pod.to_owned(), ..Promise::default() };
    while let Some((key, value)) = rest.trim_start().split_once('=') {
        let quoted = value.strip_prefix('"').and_then(|value| value.split_once('"'));
        let (value, behind) = quoted.or_else(|| value.split_once(' ')).unwrap_or((value, ""));
        match key {
            "phase" => promise.phase = value.to_owned(),
            "exit" => promise.exit = Some(value.parse().unwrap()),
            "log" => promise.log = value.to_owned(),
            "condition" => promise.condition = value.to_owned(),
            other => panic!("unknown promise {other}"),
        }
        rest = behind;
    }
    promise
}
