//! Every manifest is applied and keeps what its `# expect:` lines promise.
//!
//! A line is `KIND/NAME key=value key="a value"…` (of a pod also `pod/NAMESPACE/NAME`), and all of its parts are true at once. What a key means is said where
//! it is looked up: `pod`, `deployment`, `service`, and `http` for a host and path of the ingress.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use wherry_api::kinds::{Deployment, Pod, Service};
use wherry_client::Client;
use wherry_tests::{Cluster, Kubectl, get, until};

use crate::WHERRY;

/// One line.
#[derive(Debug)]
struct Promise {
    kind: String,
    name: String,
    parts: Vec<(String, String)>,
}

impl Promise {
    /// Namespace and name of the pod that it is about.
    fn pod(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or(("default", &self.name))
    }
}

/// What promises are checked against.
struct World {
    cluster: Cluster,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

#[test]
fn every_manifest_keeps_its_promise() {
    let cluster = Cluster::start(WHERRY).unwrap();
    for (guest, _) in wherry::GUESTS {
        cluster.load_guest(guest).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World { client: cluster.client().unwrap(), cluster, runtime };
    let files = files("features");
    assert!(files.len() > 10);
    for file in &files {
        let output = world.cluster.wherry(&["apply", "-f", &file.display().to_string()]).unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    let broken: Vec<String> = files.iter().flat_map(|file| world.broken(file)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

impl World {
    /// The promises of a file that are not kept, and what was seen instead.
    fn broken(&self, file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!lines.is_empty(), "{} promises nothing", file.display());
        let broken = |line: &str| {
            let (promise, mut seen) = (parse(line), String::new());
            let kept = until(line, || Ok(self.differs(&promise)?.map(|other| seen = other).is_none().then_some(())));
            kept.err().map(|error| format!("{}: {error:#}: {seen}", file.display()))
        };
        lines.into_iter().filter_map(broken).collect()
    }

    /// The first part that is not so, and what is.
    fn differs(&self, promise: &Promise) -> anyhow::Result<Option<String>> {
        let seen = match promise.kind.as_str() {
            "pod" => {
                let (namespace, name) = promise.pod();
                self.runtime.block_on(self.client.namespaced::<Pod>(namespace).get(name)).map(Seen::Pod)?
            }
            "deployment" => {
                let api = self.client.namespaced::<Deployment>("default");
                self.runtime.block_on(api.get(&promise.name)).map(Seen::Deployment)?
            }
            "service" => self
                .runtime
                .block_on(self.client.namespaced::<Service>("default").get(&promise.name))
                .map(Seen::Service)?,
            "http" => Seen::Http,
            other => bail!("unknown kind {other}"),
        };
        for (key, wanted) in &promise.parts {
            let found = match &seen {
                Seen::Pod(pod) => self.of_pod(pod, key, promise)?,
                Seen::Deployment(deployment) => of_deployment(deployment, key)?,
                Seen::Service(service) => self.of_service(service, key)?,
                Seen::Http => self.of_site(&promise.name, key)?,
            };
            let exact = !matches!(key.as_str(), "log" | "condition" | "answer");
            if !(found == *wanted || !exact && found.contains(wanted.as_str()) || key == "container") {
                return Ok(Some(format!("{key} is {found:?}")));
            }
        }
        Ok(None)
    }

    /// `exit`, `ended` and `waiting` are of any of its containers; `log` is of its first, or of the one that `container` names.
    fn of_pod(&self, pod: &Pod, key: &str, promise: &Promise) -> anyhow::Result<String> {
        let status = pod.status.clone().unwrap_or_default();
        let mut states = status.container_statuses.into_iter().flatten().filter_map(|container| container.state);
        Ok(match key {
            "phase" => status.phase.unwrap_or_default(),
            "reason" => status.reason.unwrap_or_default(),
            "condition" => status.conditions.into_iter().flatten().filter_map(|c| c.message).collect(),
            "exit" => states.find_map(|s| s.terminated).map(|ended| ended.exit_code.to_string()).unwrap_or_default(),
            "ended" => states.find_map(|s| s.terminated?.reason).unwrap_or_default(),
            "waiting" => states.find_map(|s| s.waiting?.reason).unwrap_or_default(),
            "container" => String::new(),
            "log" => {
                let container = promise.parts.iter().find(|(key, _)| key == "container").map(|(_, name)| name.as_str());
                self.log(promise.pod(), container)?
            }
            other => bail!("a pod has no {other}"),
        })
    }

    /// `answer` is that of an HTTP server at its node port.
    fn of_service(&self, service: &Service, key: &str) -> anyhow::Result<String> {
        let spec = service.spec.clone().unwrap_or_default();
        Ok(match key {
            "type" => spec.type_.unwrap_or_default(),
            "address" => spec.cluster_ip.unwrap_or_default(),
            "answer" => {
                let port = spec.ports.and_then(|ports| ports.first()?.node_port).context("a node port")?;
                // The port may not be open yet.
                self.runtime
                    .block_on(get(port.try_into()?, "x", "/"))
                    .map_or_else(|e| e.to_string(), |answer| answer.body)
            }
            other => bail!("a service has no {other}"),
        })
    }

    /// `site` is `HOST/PATH`; `answer` holds the status and the body.
    fn of_site(&self, site: &str, key: &str) -> anyhow::Result<String> {
        let (host, path) = site.split_once('/').context("HOST/PATH")?;
        let port = self.cluster.ports()?.http;
        let answer = self.runtime.block_on(get(port, host, &format!("/{path}")))?;
        if key == "answer" { Ok(format!("{} {}", answer.status, answer.body)) } else { bail!("a site has no {key}") }
    }

    fn log(&self, (namespace, pod): (&str, &str), container: Option<&str>) -> anyhow::Result<String> {
        let mut words = vec!["logs", "-n", namespace, pod];
        words.extend(container.into_iter().flat_map(|name| ["-c", name]));
        Ok(match Kubectl::of(&self.cluster) {
            Some(kubectl) => kubectl.run(&words)?.out,
            None => String::from_utf8_lossy(&self.cluster.wherry(&words)?.stdout).into_owned(),
        })
    }
}

/// What a promise is about.
enum Seen {
    Pod(Pod),
    Deployment(Deployment),
    Service(Service),
    Http,
}

/// `ready`: so many, all of the newest template and none beside them; `generation`: that was acted upon.
fn of_deployment(deployment: &Deployment, key: &str) -> anyhow::Result<String> {
    let status = deployment.status.clone().unwrap_or_default();
    Ok(match key {
        "ready" if status.replicas == status.updated_replicas => status.ready_replicas.unwrap_or_default().to_string(),
        "ready" => format!("{:?} of {:?} new", status.updated_replicas, status.replicas),
        "generation" => status.observed_generation.unwrap_or_default().to_string(),
        other => bail!("a deployment has no {other}"),
    })
}

/// `KIND/NAME key=value key="a value"…`; `\"` is a quote within a value.
fn parse(line: &str) -> Promise {
    let (object, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let (kind, name) = object.split_once('/').unwrap();
    let mut parts = Vec::new();
    while let Some((key, behind)) = rest.trim_start().split_once('=') {
        let (value, behind) = value(behind);
        parts.push((key.to_owned(), value));
        rest = behind;
    }
    assert!(!parts.is_empty(), "{line} promises nothing");
    Promise { kind: kind.to_owned(), name: name.to_owned(), parts }
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, behind) = text.split_once(' ').unwrap_or((text, ""));
        return (value.to_owned(), behind);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                escaped = false;
                value.push(c);
            }
        }
    }
    panic!("no closing quote: {text}");
}
