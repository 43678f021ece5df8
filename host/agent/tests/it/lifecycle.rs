//! Pods from creation to their end, over a real store.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use wherry_api::kinds::{ConfigMap, Lease, Namespace, Node, RuntimeClass};
use wherry_client::{Event, WatchOptions};
use wherry_runtime::fake::{Script, ended};
use wherry_runtime::{ImageError, ImageKind};

use crate::world::{World, gone, is_ready, reads, waiting};

#[tokio::test]
async fn a_pod_runs_and_is_deleted() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("hello", Script::answers(200));
    let probe = json!({ "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 1 });
    let container = json!({ "name": "app", "image": "hello", "ports": [{ "name": "http", "containerPort": 80 }], "readinessProbe": probe,
        "env": [{ "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }] });
    world.create("web", json!({ "containers": [container], "volumes": [{ "name": "tmp", "emptyDir": {} }] })).await;
    let pod = world.wait("web", is_ready).await;
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["hostIP"], "127.0.0.1");
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    let started = world.runtime.started();
    let spec = &started[0].spec;
    assert_eq!(spec.image.kind, ImageKind::Http);
    let variable = |name: &str| spec.env.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(variable("IP"), status["podIP"].as_str());
    assert_eq!(variable("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
    assert!(spec.mounts[0].host.is_dir());
    world.delete("web", 30).await;
    world.wait("web", serde_json::Value::is_null).await;
    gone(&data.path().join("pods").join(&spec.pod.namespace).join(&spec.pod.uid)).await;
    world.shut_down().await;
}

#[tokio::test]
async fn the_node_is_registered() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.create("any", json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
    world.wait("any", is_ready).await;
    let nodes = world.client.all::<Node>();
    let node = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Ok(node) = nodes.get("n1").await
                && world.client.namespaced::<Lease>("kube-node-lease").get("n1").await.is_ok()
            {
                return node;
            }
            tokio::task::yield_now().await;
        }
    });
    let node = node.await.unwrap();
    let labels = node.metadata.labels.unwrap();
    assert_eq!(labels["kubernetes.io/os"], "linux");
    assert_eq!(labels["zone"], "a");
    assert_eq!(labels["wherry.dev/runtime.fake"], "true");
    assert_eq!(node.status.unwrap().allocatable.unwrap()["pods"].0, "110");
}

#[tokio::test]
async fn all_others_hear_of_a_node_that_joins_twice() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let from_the_start = WatchOptions { resource_version: "1".into(), ..WatchOptions::default() };
    let mut events = world.client.all::<Node>().watch(from_the_start).await.unwrap();
    let is_ready = |node: Node| {
        let conditions = node.status.unwrap().conditions.unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    for expected in [false, true] {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
        let Event::Applied(node) = event else { panic!("{event:?}") };
        assert_eq!(is_ready(node), expected);
    }
    world.shut_down().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let failing = |error| Script { image_error: Some(error), ..Script::default() };
    world.runtime.script("never", failing(ImageError::NeverPull("never".into())));
    world.runtime.script("pull", failing(ImageError::Pull("not found".into())));
    world.runtime.script("bad", failing(ImageError::Unusable("wants wasi:nn".into())));
    let plain = |image: &str| json!({ "containers": [{ "name": "a", "image": image }] });
    let with = |field: &str, value: serde_json::Value| {
        let mut spec = plain("i");
        spec[field] = value;
        spec
    };
    let env = json!([{ "name": "a", "image": "i", "envFrom": [{ "configMapRef": { "name": "none" } }] }]);
    let missing = json!({ "path": "/no/such/place", "type": "Directory" });
    let cases = [
        ("never", plain("never"), "ErrImageNeverPull"),
        ("pull", plain("pull"), "ImagePullBackOff"),
        ("bad", plain("bad"), "ErrImageInspect"),
        ("config", json!({ "containers": env }), "CreateContainerConfigError"),
        ("host", with("hostNetwork", json!(true)), "HostNetworkUnsupported"),
        ("class", with("runtimeClassName", json!("other")), "RuntimeClassUnsupported"),
        ("volume", with("volumes", json!([{ "name": "v", "hostPath": missing }])), "ContainerCreating"),
    ];
    let anything = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } });
    world.client.all::<Namespace>().merge("default", &anything).await.unwrap();
    let class = json!({ "metadata": { "name": "other" }, "handler": "other" });
    let class: RuntimeClass = serde_json::from_value(class).unwrap();
    world.client.all().create(&class).await.unwrap();
    for (name, spec, _) in &cases {
        world.create(name, spec.clone()).await;
    }
    for (name, _, reason) in &cases {
        let pod = world.wait(name, |pod| waiting(pod) == *reason).await;
        assert_eq!(pod["status"]["phase"], "Pending", "{name}");
    }
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "none", "namespace": "default" } })).unwrap();
    world.client.namespaced("default").create(&map).await.unwrap();
    world.wait("config", is_ready).await;
    for reason in ["Failed", "BackOff", "FailedMount", "Started"] {
        world.wait_event(reason).await;
    }
}

#[tokio::test]
async fn jobs_end_and_crashes_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("done", Script { output: "bye\n".into(), ..Script::exits(Duration::ZERO, 0) });
    world.runtime.script("fails", Script::exits(Duration::ZERO, 7));
    world.runtime.script("hog", Script::out_of_memory(Duration::ZERO));
    let spec =
        |image: &str, policy: &str| json!({ "restartPolicy": policy, "containers": [{ "name": "a", "image": image }] });
    world.create("done", spec("done", "OnFailure")).await;
    world.create("fails", spec("fails", "Never")).await;
    world.create("hog", spec("hog", "Always")).await;
    world.wait("done", |pod| pod["status"]["phase"] == "Succeeded").await;
    let failed = world.wait("fails", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    let hog = world.wait("hog", |pod| waiting(pod) == "CrashLoopBackOff").await;
    let container = &hog["status"]["containerStatuses"][0];
    assert_eq!(container["lastState"]["terminated"]["reason"], "OOMKilled");
    assert_eq!(container["restartCount"], 1);
    for name in ["done", "fails", "hog"] {
        world.delete(name, 30).await;
        world.wait(name, serde_json::Value::is_null).await;
    }
}

#[tokio::test]
async fn init_containers_and_sidecars_in_order() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("init", Script::exits(Duration::from_millis(5), 0));
    let inits = json!([{ "name": "first", "image": "init" }, { "name": "side", "image": "side", "restartPolicy": "Always" }, { "name": "last", "image": "init" }]);
    world.create("web", json!({ "initContainers": inits, "containers": [{ "name": "app", "image": "app" }] })).await;
    let pod = world.wait("web", is_ready).await;
    let names: Vec<String> = world.runtime.started().iter().map(|container| container.spec.name.clone()).collect();
    assert_eq!(names, ["first", "side", "last", "app"]);
    assert_eq!(pod["status"]["initContainerStatuses"][1]["ready"], true);
    world.delete("web", 30).await;
    world.wait("web", serde_json::Value::is_null).await;
}

#[tokio::test]
async fn a_new_image_restarts_the_container() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let never = Script { image_error: Some(ImageError::NeverPull("v1".into())), ..Script::default() };
    world.runtime.script("missing:v1", never);
    for (image, restarts) in [("missing:v1", 0), ("there:v1", 1)] {
        let name = &image[..5];
        world.create(name, json!({ "containers": [{ "name": "a", "image": image }] })).await;
        world.wait(name, |pod| is_ready(pod) || waiting(pod) == "ErrImageNeverPull").await;
        let patch = json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "app:v2" }]);
        world.patch(name, patch).await;
        let again = |pod: &serde_json::Value| {
            let status = &pod["status"]["containerStatuses"][0];
            is_ready(pod) && status["image"] == "app:v2" && status["restartCount"] == restarts
        };
        let pod = world.wait(name, again).await;
        assert_eq!(pod["status"]["observedGeneration"], pod["metadata"]["generation"]);
    }
    let images: Vec<String> = world.runtime.started().iter().map(|one| one.spec.image.reference.clone()).collect();
    assert_eq!(images, ["app:v2", "there:v1", "app:v2"]);
}

#[tokio::test]
async fn files_follow_their_config_map() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let volumes = json!([{ "name": "v", "configMap": { "name": "cfg" } }]);
    let mounts = json!([{ "name": "v", "mountPath": "/v" }]);
    let spec = json!({ "containers": [{ "name": "a", "image": "i", "volumeMounts": mounts }], "volumes": volumes });
    world.create("web", spec).await;
    world.wait_event("FailedMount").await;
    let map = |value: &str| {
        let map = json!({ "metadata": { "name": "cfg", "namespace": "default" }, "data": { "key": value } });
        serde_json::from_value::<ConfigMap>(map).unwrap()
    };
    let maps = world.client.namespaced("default");
    maps.create(&map("one")).await.unwrap();
    world.wait("web", is_ready).await;
    let mount = world.runtime.started()[0].spec.mounts[0].clone();
    assert!(mount.read_only);
    for value in ["one", "two"] {
        maps.update(&map(value)).await.unwrap();
        reads(&mount.host.join("key"), value).await;
    }
}

#[tokio::test]
async fn volumes_hold_tokens_where_the_cluster_makes_them() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let sources = json!([
        { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } },
        { "serviceAccountToken": { "path": "vault", "audience": "vault" } },
    ]);
    let volumes = json!([{ "name": "v", "projected": { "sources": sources } }]);
    let mounts = json!([{ "name": "v", "mountPath": "/v" }]);
    let containers = json!([{ "name": "a", "image": "i", "volumeMounts": mounts }]);
    let spec = json!({ "containers": containers, "volumes": volumes });
    world.create("without", spec.clone()).await;
    world.wait_event("FailedMount").await;
    world.cable.makes_tokens.store(true, std::sync::atomic::Ordering::SeqCst);
    world.create("with", spec).await;
    world.wait("with", is_ready).await;
    let host = world.runtime.started()[0].spec.mounts[0].host.clone();
    reads(&host.join("token"), "default \"with\" [] 3607").await;
    reads(&host.join("vault"), "default \"with\" [\"vault\"] 3600").await;
}

#[tokio::test]
async fn a_stubborn_container_is_killed_after_its_grace() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.runtime.script("stubborn", Script::stubborn());
    let hooks =
        json!({ "postStart": { "sleep": { "seconds": 0 } }, "preStop": { "httpGet": { "port": 9, "path": "/" } } });
    world.create("web", json!({ "containers": [{ "name": "a", "image": "stubborn", "lifecycle": hooks }] })).await;
    world.wait("web", is_ready).await;
    world.delete("web", 1).await;
    world.wait("web", |pod| !is_ready(pod)).await;
    world.wait("web", serde_json::Value::is_null).await;
    world.wait_event("FailedPreStopHook").await;
}

#[tokio::test]
async fn pods_come_back_after_a_restart_of_the_node() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    world.create("web", json!({ "containers": [{ "name": "a", "image": "i" }] })).await;
    world.wait("web", is_ready).await;
    std::fs::create_dir_all(data.path().join("pods/gone/orphan/volumes")).unwrap();
    let (store, runtime) = world.shut_down().await;
    assert_eq!(runtime.started().len(), 1);
    let world = World::over(store, runtime, data.path()).await;
    let pod =
        world.wait("web", |pod| is_ready(pod) && pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(pod["status"]["phase"], "Running");
    gone(&data.path().join("pods/gone/orphan")).await;
    world.shut_down().await;
}

#[tokio::test]
async fn a_container_leaves_its_last_words() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let fails = || Script { output: "it was me\n".into(), ..Script::exits(Duration::ZERO, 3) };
    world.runtime.script("fails", fails());
    world.runtime.script("ends", Script { exit: Some((Duration::ZERO, ended(0))), ..fails() });
    let policy = "FallbackToLogsOnError";
    let spec = |image: &str, policy: &str| {
        let container = json!({ "name": "a", "image": image, "terminationMessagePolicy": policy });
        json!({ "restartPolicy": "Never", "containers": [container] })
    };
    let cases = [("fails", policy, "it was me\n"), ("fails", "File", ""), ("ends", policy, "")];
    for (number, (image, policy, words)) in cases.into_iter().enumerate() {
        let name = format!("pod-{number}");
        world.create(&name, spec(image, policy)).await;
        let over = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object();
        let pod = world.wait(&name, over).await;
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["message"].as_str().unwrap_or_default(), words, "{image} {policy}");
    }
    let container = json!({ "name": "a", "image": "writer", "terminationMessagePath": "/run/why" });
    world.create("writer", json!({ "restartPolicy": "Never", "containers": [container] })).await;
    world.wait("writer", is_ready).await;
    let writer = world.runtime.started().pop().unwrap();
    let mount = &writer.spec.mounts[0];
    assert_eq!((mount.guest.as_str(), mount.read_only), ("/run", false));
    std::fs::write(mount.host.join("why"), "of its own").unwrap();
    writer.end(ended(0));
    let pod = world.wait("writer", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "of its own");
}

#[tokio::test]
async fn every_failure_of_a_probe_is_told_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new(data.path()).await;
    let probe = json!({ "httpGet": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 100 });
    let container = json!({ "name": "a", "image": "i", "readinessProbe": probe });
    world.create("web", json!({ "containers": [container] })).await;
    let event = world.wait_for_event("Unhealthy", |event| event.count.unwrap_or(0) > 1).await;
    let message = event.message.unwrap();
    assert!(message.starts_with("Readiness probe failed: Get \"http://10.128."), "{message}");
    assert!(message.ends_with(":80/\": dial tcp 10.128.0.2:80: connect: connection refused"), "{message}");
}
