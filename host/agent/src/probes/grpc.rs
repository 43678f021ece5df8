//! gRPC's health check (`grpc.health.v1.Health/Check`), one call over HTTP/2: the protocol's two messages are written and read by
//! hand, for they have one field each.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// `HealthCheckResponse.ServingStatus`, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Asks whether a service is well. The error is a sentence.
pub async fn check<S>(stream: S, at: SocketAddr, service: &str) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error: h2::Error| format!("health rpc failed: {error}");
    let (client, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    let asked = async {
        let mut client = client.ready().await.map_err(failed)?;
        let head = Request::post(format!("http://{at}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "kube-probe/wherry");
        let head = head.body(()).map_err(|error| error.to_string())?;
        let (response, mut body) = client.send_request(head, false).map_err(failed)?;
        body.send_data(question(service), true).map_err(failed)?;
        let (head, mut body) = response.await.map_err(failed)?.into_parts();
        let mut answer = Vec::new();
        while let Some(chunk) = body.data().await.transpose().map_err(failed)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER_BYTES_MAX {
                return Err("health rpc failed: the answer is too long".to_owned());
            }
        }
        // An answer without a message has its trailers in its head.
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or(head.headers);
        verdict(&trailers, &answer)
    };
    tokio::select! {
        verdict = asked => verdict,
        ended = connection => Err(ended.map_or_else(failed, |()| "health rpc failed: connection closed".to_owned())),
    }
}

/// `HealthCheckRequest { service }` in gRPC's frame: field 1, a string.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut rest = service.len();
        while rest >= 0x80 {
            message.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
            rest >>= 7;
        }
        message.push(u8::try_from(rest).unwrap_or_default());
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

fn verdict(trailers: &HeaderMap, answer: &[u8]) -> Result<(), String> {
    let word = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match (word("grpc-status"), answer) {
        ("0", [0, 0, 0, 0, 2, 0x08, status]) => match STATUSES.get(usize::from(*status)) {
            Some(&"SERVING") => Ok(()),
            status => Err(format!("service unhealthy (responded with \"{}\")", status.unwrap_or(&"UNKNOWN"))),
        },
        // A message whose only field is zero is empty.
        ("0", _) => Err("service unhealthy (responded with \"UNKNOWN\")".to_owned()),
        ("12", _) => Err("this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned()),
        (code, _) => Err(format!("health rpc failed: code {code}: {}", word("grpc-message"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a server that answers with this message and these trailers.
    async fn answered(message: &'static [u8], status: &'static str) -> (Bytes, Result<(), String>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = async move {
            let mut connection = h2::server::handshake(theirs).await.unwrap();
            let (mut request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let answering = async {
                let question = request.body_mut().data().await.unwrap().unwrap();
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(message), false).unwrap();
                let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
                body.send_trailers(trailers).unwrap();
                question
            };
            let driving = async { while connection.accept().await.is_some() {} };
            let (question, ()) = futures::join!(answering, driving);
            question
        };
        let asking = check(ours, "10.0.0.1:50051".parse().unwrap(), "db");
        futures::join!(serving, asking)
    }

    #[tokio::test]
    async fn health_is_what_the_service_says() {
        let (question, verdict) = answered(&[0, 0, 0, 0, 2, 8, 1], "0").await;
        assert_eq!((&question[..], verdict), (&b"\0\0\0\0\x04\x0a\x02db"[..], Ok(())));
        for (message, status, part) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "0", "responded with \"NOT_SERVING\""),
            (&[0, 0, 0, 0, 0], "0", "responded with \"UNKNOWN\""),
            (&[], "12", "does not implement"),
            (&[], "5", "code 5"),
        ] {
            let error = answered(message, status).await.1.unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_long_name_has_a_long_length() {
        let question = question(&"s".repeat(200));
        assert_eq!(question[5..8], [0x0a, 200, 1]);
        assert_eq!(question.len(), 5 + 3 + 200);
    }
}
