//! What anybody may ask: health, readiness, version.

use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::{Context, text};

/// The release of Kubernetes whose API is served.
const MINOR: &str = "36";

pub(super) fn answer(context: &Context, path: &str) -> Option<Response> {
    match path.trim_end_matches('/') {
        "/livez" | "/healthz" => Some(text(StatusCode::OK, "text/plain", "ok")),
        "/readyz" if context.readiness.get() => Some(text(StatusCode::OK, "text/plain", "ok")),
        "/readyz" => Some(text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no node is ready yet")),
        "/version" => Some(text(StatusCode::OK, "application/json", version())),
        _ => None,
    }
}

/// Whether this master is in touch with a majority of the masters: Kubernetes' API servers say so of their store.
pub(super) const STORE: &str = "/readyz/etcd";
/// How long the other masters may take to show it.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// The answer to [`STORE`].
pub(super) async fn store(context: &Context) -> Response {
    match tokio::time::timeout(STORE_PATIENCE, context.registry.store().linearizable()).await {
        Ok(Ok(_)) => text(StatusCode::OK, "text/plain", "ok"),
        _ => {
            text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no majority of the masters is in touch with this one")
        }
    }
}

fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    let target = std::env::consts::ARCH;
    json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0+wherry-{own}"), "gitCommit": "", "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": format!("linux/{target}"),
    })
    .to_string()
}
