//! A web server of WASI 0.3: an async handler that greets with its pod's name.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};

struct Hello;

wasip3::http::service::export!(Hello);

fn main() {}

impl wasip3::exports::http::handler::Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
        let text = greeting(name.as_deref().unwrap_or("an unnamed pod"), &path);
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
