//! WebSocket and other upgrades: once a pod agrees, bytes pass both ways until both ends are done.

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use wherry_base::Drain;

use crate::table::Permit;

/// Puts back what `headers::prepare` took out, for the pod to see.
pub(crate) fn ask<B>(request: &mut Request<B>, protocol: HeaderValue) {
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(header::UPGRADE, protocol);
}

/// Whether the pod switches to another protocol.
pub(crate) fn agreed(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Joins the two connections once both have switched. The connection counts against its endpoint while it lasts.
pub(crate) fn join(tasks: &Drain, client: OnUpgrade, response: &mut Response<Incoming>, permit: Permit) {
    let pod = hyper::upgrade::on(response);
    tasks.spawn(async move {
        let _counted = permit;
        if let Ok((client, pod)) = tokio::try_join!(client, pod) {
            let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
            let _either_end_left = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
        }
    });
}
