//! `log` of pods: passed through from the kubelet endpoints of the pod's node.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use wherry_api::Error;

use super::kubelets::{container_of, kubelet_of, read};
use super::{Context, text};
use crate::registry::Target;

/// What a container printed, as a stream.
pub(super) async fn answer(
    context: &Context,
    target: &Target,
    query: &str,
    container: &str,
) -> Result<Response, Error> {
    let pod = read(context, target)?;
    let name = &target.key.name;
    let container = container_of(&pod, name, container)?;
    let kubelet = kubelet_of(context, &pod, name).await?;
    let path = format!("/containerLogs/{}/{name}/{container}?{query}", target.key.namespace);
    let chunks = kubelet.stream(&path).await?;
    Ok(text(StatusCode::OK, "text/plain", Body::from_stream(chunks)))
}
