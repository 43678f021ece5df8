//! A web server of WASI 0.3: an async handler that greets with its pod's name; `/fetch/HOST:PORT` asks another server.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};

struct Hello;

wasip3::http::service::export!(Hello);

fn main() {}

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
        let text = match path.strip_prefix("/fetch/") {
            Some(authority) => fetch(authority).await.unwrap_or_else(|error| format!("{authority}: {error:?}\n")),
            None => greeting(name.as_deref().unwrap_or("an unnamed pod"), &path),
        };
        let (mut body, contents) = wasip3::wit_stream::new();
        let (trailers_written, trailers) = wasip3::wit_future::new(|| Ok(None));
        drop(trailers_written);
        let (response, _sent) = Response::new(Fields::new(), Some(contents), trailers);
        wasip3::wit_bindgen::spawn_local(async move {
            body.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}

/// The status and the text that another server answers with.
async fn fetch(authority: &str) -> Result<String, ErrorCode> {
    let (trailers_written, trailers) = wasip3::wit_future::new(|| Ok(None));
    drop(trailers_written);
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let _set = request.set_scheme(Some(&Scheme::Http));
    let _set = request.set_authority(Some(authority));
    let _set = request.set_path_with_query(Some("/"));
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let (_read, reading) = wasip3::wit_future::new(|| Ok(()));
    let (body, _trailers) = Response::consume_body(response, reading);
    Ok(format!("{status}: {}", String::from_utf8_lossy(&body.collect().await)))
}

fn greeting(name: &str, path: &str) -> String {
    format!("Hello from {name} (WASI 0.3) at {path}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_pod_world_and_path() {
        assert_eq!(greeting("buoy", "/a"), "Hello from buoy (WASI 0.3) at /a\n");
    }
}
