//! Pods and their templates: containers with their states, conditions, volumes.

use serde_json::Value;

use super::page::Page;
use crate::get::pairs_of;
use crate::objects::text;
use crate::template::plain;

/// The page of a pod.
pub fn page(pod: &Value, page: &mut Page) {
    page.row("Service Account", text(pod, "/spec/serviceAccountName"));
    page.row("Node", text(pod, "/spec/nodeName"));
    page.row_if("Start Time", text(pod, "/status/startTime"));
    page.row("Status", text(pod, "/status/phase"));
    page.row_if("Reason", text(pod, "/status/reason"));
    page.row_if("Message", text(pod, "/status/message"));
    page.row("IP", text(pod, "/status/podIP"));
    for (title, list, statuses) in [
        ("Init Containers", "/spec/initContainers", "/status/initContainerStatuses"),
        ("Containers", "/spec/containers", "/status/containerStatuses"),
    ] {
        containers(title, items(pod, list), items(pod, statuses), page);
    }
    conditions(pod, page);
    volumes(items(pod, "/spec/volumes"), page);
    page.row("QoS Class", text(pod, "/status/qosClass"));
    page.row("Node Selector", pairs_of(pod, "/spec/nodeSelector", ", "));
    let tolerations: Vec<String> = items(pod, "/spec/tolerations").iter().map(toleration).collect();
    page.list("Tolerations", &tolerations);
}

/// The pod template of a workload's spec.
pub fn template(spec: &Value) -> Page {
    let mut page = Page::default();
    page.title("Pod Template");
    page.inside(|page| {
        page.pairs("Labels", spec.pointer("/template/metadata/labels"), &[]);
        if spec.pointer("/template/metadata/annotations").is_some() {
            page.pairs("Annotations", spec.pointer("/template/metadata/annotations"), &[]);
        }
        containers("Init Containers", items(spec, "/template/spec/initContainers"), &[], page);
        containers("Containers", items(spec, "/template/spec/containers"), &[], page);
        volumes(items(spec, "/template/spec/volumes"), page);
    });
    page
}

/// The conditions of any object.
pub fn conditions(object: &Value, page: &mut Page) {
    page.title("Conditions");
    page.inside(|page| {
        for condition in items(object, "/status/conditions") {
            let why = [text(condition, "/reason"), text(condition, "/message")];
            let why: Vec<&str> = why.into_iter().filter(|word| !word.is_empty()).collect();
            let status = text(condition, "/status");
            let value = if why.is_empty() { status.to_owned() } else { format!("{status}  {}", why.join(": ")) };
            page.row(text(condition, "/type"), value);
        }
    });
}

/// The list at a pointer, empty where there is none.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn containers(title: &str, containers: &[Value], statuses: &[Value], page: &mut Page) {
    if containers.is_empty() {
        return;
    }
    page.title(title);
    page.inside(|page| {
        for container in containers {
            let name = text(container, "/name");
            page.title(name);
            page.inside(|page| {
                fields(container, page);
                if let Some(status) = statuses.iter().find(|status| text(status, "/name") == name) {
                    state(status, page);
                }
            });
        }
    });
}

fn fields(container: &Value, page: &mut Page) {
    page.row("Image", text(container, "/image"));
    let port = |port: &Value| {
        let named = Some(text(port, "/name")).filter(|name| !name.is_empty()).map(|name| format!(" ({name})"));
        let number = port.get("containerPort").map(plain).unwrap_or_default();
        format!("{number}/{}{}", text(port, "/protocol"), named.unwrap_or_default())
    };
    let ports: Vec<String> = items(container, "/ports").iter().map(port).collect();
    page.row_if("Ports", &ports.join(", "));
    for (title, list) in [("Command", "/command"), ("Args", "/args")] {
        page.row_if(title, &items(container, list).iter().map(plain).collect::<Vec<_>>().join(" "));
    }
    for (title, map) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        if container.pointer(map).is_some() {
            page.row(title, pairs_of(container, map, ", "));
        }
    }
    for (title, probe) in [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        page.row_if(title, &container.get(probe).map(probe_words).unwrap_or_default());
    }
    let env: Vec<String> = items(container, "/env").iter().map(variable).collect();
    let from = items(container, "/envFrom").iter().map(|from| {
        let name = ["/configMapRef/name", "/secretRef/name"].map(|pointer| text(from, pointer));
        format!("all of {}", name.concat())
    });
    let env: Vec<String> = from.chain(env).collect();
    if !env.is_empty() {
        page.list("Environment", &env);
    }
    let mount = |mount: &Value| {
        let read_only = if mount.get("readOnly") == Some(&Value::Bool(true)) { "ro" } else { "rw" };
        format!("{} from {} ({read_only})", text(mount, "/mountPath"), text(mount, "/name"))
    };
    let mounts: Vec<String> = items(container, "/volumeMounts").iter().map(mount).collect();
    if !mounts.is_empty() {
        page.list("Mounts", &mounts);
    }
}

fn variable(variable: &Value) -> String {
    let name = text(variable, "/name");
    let Some(source) = variable.get("valueFrom").and_then(Value::as_object) else {
        return format!("{name}={}", text(variable, "/value"));
    };
    let words = |value: &Value| {
        let parts = ["/name", "/key", "/fieldPath", "/containerName", "/resource"].map(|pointer| text(value, pointer));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    let from = source.iter().map(|(kind, value)| format!("{} {}", kind.trim_end_matches("Ref"), words(value)));
    format!("{name} from {}", from.collect::<String>())
}

fn probe_words(probe: &Value) -> String {
    let number = |key: &str| probe.get(key).map(plain).unwrap_or_default();
    let port = |pointer: &str| probe.pointer(pointer).map(plain).unwrap_or_default();
    let what = if probe.get("httpGet").is_some() {
        format!("http-get :{}{}", port("/httpGet/port"), text(probe, "/httpGet/path"))
    } else if probe.get("tcpSocket").is_some() {
        format!("tcp-socket :{}", port("/tcpSocket/port"))
    } else {
        "not supported here".to_owned()
    };
    let delay = probe.get("initialDelaySeconds").map_or_else(|| "0".to_owned(), plain);
    let (timeout, period) = (number("timeoutSeconds"), number("periodSeconds"));
    let (success, failure) = (number("successThreshold"), number("failureThreshold"));
    format!("{what} delay={delay}s timeout={timeout}s period={period}s #success={success} #failure={failure}")
}

fn state(status: &Value, page: &mut Page) {
    for (title, pointer) in [("State", "/state"), ("Last State", "/lastState")] {
        let Some((word, details)) = status.pointer(pointer).and_then(Value::as_object).and_then(|s| s.iter().next())
        else {
            continue;
        };
        let mut name = word.clone();
        name.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
        page.row(title, name);
        page.inside(|page| {
            page.row_if("Reason", text(details, "/reason"));
            page.row_if("Message", text(details, "/message").trim().lines().next().unwrap_or_default());
            page.row_if("Exit Code", &details.get("exitCode").map(plain).unwrap_or_default());
            page.row_if("Started", text(details, "/startedAt"));
            page.row_if("Finished", text(details, "/finishedAt"));
        });
    }
    page.row("Ready", status.get("ready").map(plain).unwrap_or_default());
    page.row("Restart Count", status.get("restartCount").map(plain).unwrap_or_default());
}

fn volumes(volumes: &[Value], page: &mut Page) {
    if volumes.is_empty() {
        return;
    }
    page.title("Volumes");
    page.inside(|page| {
        for volume in volumes.iter().filter_map(Value::as_object) {
            let name = volume.get("name").and_then(Value::as_str).unwrap_or_default();
            for (kind, source) in volume.iter().filter(|(key, _)| *key != "name") {
                let named = ["/name", "/secretName", "/path"].map(|pointer| text(source, pointer)).concat();
                page.row(name, format!("{kind} {named}").trim().to_owned());
            }
        }
    });
}

fn toleration(toleration: &Value) -> String {
    let value = Some(text(toleration, "/value")).filter(|v| !v.is_empty()).map(|v| format!("={v}")).unwrap_or_default();
    let effect = Some(text(toleration, "/effect")).filter(|e| !e.is_empty()).map(|e| format!(":{e}"));
    let seconds = toleration.get("tolerationSeconds").map(|s| format!(" for {}s", plain(s)));
    format!("{}{value}{}{}", text(toleration, "/key"), effect.unwrap_or_default(), seconds.unwrap_or_default())
}
