//! What strangers get of the API, and what bad input is answered.

use wherry_api::Reason;
use wherry_api::kinds::{ConfigMap, Pod};
use wherry_client::{Client, Https, Kubeconfig, ListOptions};
use wherry_tests::Cluster;

use crate::WHERRY;

#[test]
fn strangers_get_health_and_version_only() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let known = Kubeconfig::load(&cluster.kubeconfig()).unwrap();
    let stranger = Kubeconfig { certificate: String::new(), key: String::new(), ..known };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::from_kubeconfig(&stranger).unwrap();
        let error = client.all::<Pod>().list(ListOptions::default()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unauthorized);
        let https = Https::new(&stranger).unwrap();
        assert!(https.stream("/version").await.is_ok() && https.stream("/readyz").await.is_ok());
        assert!(https.stream("/api").await.is_err());
    });
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let cluster = Cluster::start(WHERRY).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let api = cluster.client().unwrap().namespaced::<ConfigMap>("default");
        let mut map = ConfigMap::default();
        map.metadata.name = Some("Not A Name".into());
        let error = api.create(&map).await.unwrap_err();
        assert!(error.reason == Reason::Invalid && error.message.contains("metadata.name"), "{error}");
        map.metadata.name = Some("big".into());
        map.data = Some([("key".to_owned(), "x".repeat(4 << 20))].into());
        let error = api.create(&map).await.unwrap_err();
        assert_eq!(error.reason, Reason::RequestEntityTooLarge, "{error}");
        assert!(api.get("big").await.is_err());
    });
    let bad = [
        ("no.yaml", "a: [", "no YAML"),
        ("kind.yaml", "apiVersion: v1\nkind: Frob\nmetadata: {name: x}", "no matches for kind \"Frob\""),
    ];
    for (file, text, expected) in bad {
        let path = cluster.data().join(file);
        std::fs::write(&path, text).unwrap();
        let output = cluster.wherry(&["apply", "-f", &path.display().to_string()]).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{file}: {error}");
    }
    let path = cluster.data().join("half.wasm");
    std::fs::write(&path, b"\0asm\x01\0\0\0\x01").unwrap();
    let output = cluster.wherry(&["image", "load", &path.display().to_string(), "half:v1"]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("not a valid wasm module"), "{error}");
}
