//! The wire, over the router without sockets.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use wherry_base::{SystemClock, Trigger};
use wherry_store::{Limits, Store};

use super::{Context, Readiness, router};
use crate::authenticate::Peer;
use crate::{Identity, Registry, RegistryConfig, ServeConfig};

async fn ask(identity: Option<Identity>, request: Request<Body>) -> (StatusCode, Value) {
    let (status, body) = ask_at(&context().await, identity, request).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// What a new API server needs.
async fn context() -> Context {
    let config = RegistryConfig::default();
    let registry = Registry::new(Store::in_memory(Limits::default()), config, SystemClock::shared());
    registry.bootstrap().await.unwrap();
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let roots = || Arc::new(rustls::RootCertStore::empty());
    let kubelet_tls = rustls::ClientConfig::builder().with_root_certificates(roots()).with_no_client_auth();
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let config = ServeConfig {
        tls: Arc::new(server.with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()))),
        kubelet_tls: Arc::new(kubelet_tls),
        advertise_url: "https://127.0.0.1:6443".to_owned(),
        readiness: Readiness::default(),
        images: axum::Router::new(),
        master_keys: Bytes::from_static(b"the keys"),
    };
    let (_never, revocations) = tokio::sync::watch::channel(wherry_api::Revocations::default());
    Context::new(registry, &config, revocations, Trigger::new().drain())
}

async fn ask_at(context: &Context, identity: Option<Identity>, mut request: Request<Body>) -> (StatusCode, Bytes) {
    if let Some(identity) = identity {
        request.extensions_mut().insert(Peer { certificate: Some((identity, "01".to_owned())) });
    }
    let response = router(context.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

fn get(path: &str, accept: &str) -> Request<Body> {
    Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn strangers_see_health_and_version() {
    for (path, expected) in [
        ("/livez", StatusCode::OK),
        ("/readyz", StatusCode::SERVICE_UNAVAILABLE),
        ("/version/", StatusCode::OK),
        ("/api/v1/pods", StatusCode::UNAUTHORIZED),
        ("/openapi/v3", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(ask(None, get(path, "*/*")).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn forms_follow_the_accept_header() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, found) = ask(Some(Identity::admin()), get("/api/v1/namespaces", table)).await;
    assert_eq!((found["kind"].as_str(), found["rows"].as_array().unwrap().len()), (Some("Table"), 4));
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, found) = ask(Some(Identity::admin()), get("/api/v1/namespaces", partial)).await;
    assert_eq!(found["items"][0]["kind"], "PartialObjectMetadata");
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, found) = ask(Some(Identity::admin()), get("/apis", aggregated)).await;
    assert_eq!(found["kind"], "APIGroupDiscoveryList");
    let (_, found) = ask(Some(Identity::admin()), get("/apis/apps/v1", "application/json")).await;
    assert_eq!(found["resources"][0]["name"], "deployments");
}

#[tokio::test]
async fn administrators_save_and_restore_the_state() {
    const PATH: &str = "/wherry/v1/snapshot";
    let context = context().await;
    let admin = || Some(Identity::admin());
    let (status, saved) = ask_at(&context, admin(), get(PATH, "*/*")).await;
    assert_eq!(status, StatusCode::OK);
    let create = || {
        let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}"#;
        Request::post("/api/v1/namespaces/default/configmaps").body(Body::from(object)).unwrap()
    };
    assert_eq!(ask_at(&context, admin(), create()).await.0, StatusCode::CREATED);
    let put = |bytes: Bytes| Request::put(PATH).body(Body::from(bytes)).unwrap();
    let mut damaged = saved.to_vec();
    damaged.pop();
    for (identity, bytes, expected) in [
        (Identity::node("n"), saved.clone(), StatusCode::FORBIDDEN),
        (Identity::admin(), damaged.into(), StatusCode::BAD_REQUEST),
        (Identity::admin(), saved, StatusCode::OK),
    ] {
        assert_eq!(ask_at(&context, Some(identity), put(bytes)).await.0, expected);
    }
    let gone = get("/api/v1/namespaces/default/configmaps/x", "application/json");
    assert_eq!(ask_at(&context, admin(), gone).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn masters_are_a_group_of_their_own() {
    let context = context().await;
    let joiner = Identity { user: "system:bootstrap:a".into(), groups: vec!["wherry:master-bootstrappers".into()] };
    let node_joiner = Identity { groups: vec!["system:bootstrappers".into()], ..joiner.clone() };
    let master = || Identity::master("m");
    let message = || Request::post("/wherry/v1/masters/messages").body(Body::from("no message")).unwrap();
    let keys = || get("/wherry/v1/masters/keys", "*/*");
    let remove = || Request::delete("/wherry/v1/masters/x").body(Body::empty()).unwrap();
    let admit = || Request::post("/wherry/v1/masters").body(Body::from("{}")).unwrap();
    for (identity, request, expected) in [
        (master(), message(), StatusCode::OK),
        (Identity::admin(), message(), StatusCode::FORBIDDEN),
        (joiner.clone(), message(), StatusCode::FORBIDDEN),
        (joiner.clone(), keys(), StatusCode::OK),
        (node_joiner, keys(), StatusCode::FORBIDDEN),
        (Identity::admin(), keys(), StatusCode::FORBIDDEN),
        (master(), keys(), StatusCode::FORBIDDEN),
        (master(), admit(), StatusCode::BAD_REQUEST),
        (Identity::admin(), admit(), StatusCode::FORBIDDEN),
        (joiner.clone(), admit(), StatusCode::FORBIDDEN),
        (Identity::admin(), remove(), StatusCode::NOT_FOUND),
        (master(), remove(), StatusCode::FORBIDDEN),
        (joiner, get("/api/v1/pods", "*/*"), StatusCode::FORBIDDEN),
        (master(), get("/api/v1/pods", "*/*"), StatusCode::FORBIDDEN),
    ] {
        let shown = format!("{} {} by {identity:?}", request.method(), request.uri());
        assert_eq!(ask_at(&context, Some(identity), request).await.0, expected, "{shown}");
    }
}

#[tokio::test]
async fn a_master_asks_on_behalf_of_others() {
    let who = async |identity: Identity| {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews");
        let request = request.header("X-Remote-User", "eve").header("X-Remote-Group", "a");
        let (_, found) = ask(Some(identity), request.body(Body::from("{}")).unwrap()).await;
        found["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
    };
    assert_eq!(who(Identity::master("m")).await, "eve");
    assert_eq!(who(Identity::admin()).await, "kubernetes-admin");
}

#[tokio::test]
async fn errors_are_status_objects() {
    let apply = Request::patch("/api/v1/namespaces/default/configmaps/x")
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(Body::from("{}"))
        .unwrap();
    let large = Request::post("/api/v1/namespaces/default/configmaps").body(Body::from(vec![b' '; 4 << 20])).unwrap();
    let garbage = Request::post("/api/v1/namespaces/default/configmaps").body(Body::from("{")).unwrap();
    for (request, code, reason) in [
        (get("/api/v1/frobs", "*/*"), 404, "NotFound"),
        (get("/api/v1/pods?limit=-1", "*/*"), 400, "BadRequest"),
        (get("/api/v1/pods?labelSelector=a%20in", "*/*"), 400, "BadRequest"),
        (apply, 415, "UnsupportedMediaType"),
        (large, 413, "RequestEntityTooLarge"),
        (garbage, 400, "BadRequest"),
    ] {
        let shown = request.uri().to_string();
        let (status, found) = ask(Some(Identity::admin()), request).await;
        assert_eq!((status.as_u16(), found["reason"].as_str()), (code, Some(reason)), "{shown}: {found}");
        assert_eq!(found["kind"], "Status");
    }
}
