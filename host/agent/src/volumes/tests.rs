use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};
use wherry_api::kinds::ConfigMap;

use super::*;
use crate::downward::Machine;

fn pod(volume: Value, mount: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u", "labels": { "app": "x\"y" } },
        "spec": { "volumes": [volume], "containers": [{ "name": "c", "volumeMounts": [mount] }] },
    }))
    .unwrap()
}

fn made(folder: &Path, pod: &Pod, data: Value) -> Result<(), String> {
    let map: ConfigMap = serde_json::from_value(json!({ "data": data })).unwrap();
    let found = Found { config_maps: [("cfg".into(), map)].into(), ..Found::default() };
    let facts = Facts {
        pod,
        address: Ipv4Addr::LOCALHOST.into(),
        host: Ipv4Addr::LOCALHOST.into(),
        machine: Machine { cpu_milli: 1000, memory_bytes: 1 << 30 },
    };
    make(folder, &facts, &found).map_err(|error| error.to_string())
}

#[test]
fn files_change_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let items = json!([{ "key": "a", "path": "x/a", "mode": 0o400 }, { "key": "b", "path": "b" }]);
    let pod = pod(
        json!({ "name": "v", "configMap": { "name": "cfg", "items": items } }),
        json!({ "name": "v", "mountPath": "/v" }),
    );
    made(folder.path(), &pod, json!({ "a": "1", "b": "2" })).unwrap();
    let place = folder.path().join("v");
    assert_eq!(fs::read_to_string(place.join("x/a")).unwrap(), "1");
    assert_eq!(fs::metadata(place.join("x/a")).unwrap().permissions().mode() & 0o777, 0o400);
    let before = fs::read_link(place.join("..data")).unwrap();
    made(folder.path(), &pod, json!({ "a": "1", "b": "2" })).unwrap();
    assert_eq!(fs::read_link(place.join("..data")).unwrap(), before);
    made(folder.path(), &pod, json!({ "a": "1", "b": "3" })).unwrap();
    assert_eq!(fs::read_to_string(place.join("b")).unwrap(), "3");
    assert!(!place.join(before).exists());
    let error = made(folder.path(), &pod, json!({ "a": "1" })).unwrap_err();
    assert_eq!(error, "MountVolume.SetUp failed for volume \"v\" : references non-existent configmap key: b");
}

#[test]
fn kinds_of_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (json!({ "emptyDir": {} }), Ok(())),
        (json!({ "configMap": { "name": "none", "optional": true } }), Ok(())),
        (
            json!({ "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } }),
            Ok(()),
        ),
        (json!({ "hostPath": { "path": "/nowhere/at/all", "type": "Directory" } }), Err("is not a directory")),
        (json!({ "configMap": { "name": "none" } }), Err("configmap \"none\" not found")),
        (json!({ "secret": { "secretName": "none" } }), Err("secret \"none\" not found")),
        (json!({ "configMap": { "name": "cfg", "items": [{ "key": "a", "path": "../a" }] } }), Err("must be relative")),
        (json!({ "nfs": { "server": "s", "path": "/" } }), Err("not supported")),
        (json!({ "persistentVolumeClaim": { "claimName": "c" } }), Err("not supported")),
        (json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } }] } }), Err("makes no tokens")),
    ];
    for (index, (mut volume, expected)) in cases.into_iter().enumerate() {
        volume["name"] = json!(format!("v{index}"));
        let pod = pod(volume.clone(), json!({ "name": format!("v{index}"), "mountPath": "/v" }));
        match (made(folder.path(), &pod, json!({ "a": "1" })), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{volume}: {error}"),
            (made, expected) => panic!("{volume}: {made:?}, not {expected:?}"),
        }
    }
    assert_eq!(fs::read_to_string(folder.path().join("v2/labels")).unwrap(), "app=\"x\\\"y\"");
}

#[test]
fn sub_paths_stay_inside() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    fs::create_dir(&root).unwrap();
    symlink("/", root.join("out")).unwrap();
    let cases = [
        (json!({ "subPath": "in/side" }), Ok("in/side")),
        (json!({ "subPathExpr": "$(N)" }), Ok("expanded")),
        (json!({ "subPath": "../x" }), Err("'..'")),
        (json!({ "subPath": "/etc" }), Err("must be relative")),
        (json!({ "subPath": "out/etc" }), Err("leads out of the volume")),
    ];
    for (mut mount, expected) in cases {
        mount["name"] = json!("v");
        mount["mountPath"] = json!("/v");
        let pod = pod(json!({ "name": "v", "emptyDir": {} }), mount.clone());
        let spec = pod.spec.as_ref().unwrap();
        let mounted = mounts(folder.path(), spec, &spec.containers[0], |text| text.replace("$(N)", "expanded"));
        match (mounted, expected) {
            (Ok(mounts), Ok(inside)) => assert_eq!(mounts[0].host, root.canonicalize().unwrap().join(inside)),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{mount}: {error}"),
            (mounted, expected) => panic!("{mount}: {mounted:?}, not {expected:?}"),
        }
    }
}
