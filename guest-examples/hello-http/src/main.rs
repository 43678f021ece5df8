//! A web server (`wasi:http` 0.2): greets with its pod's name; `/env/NAME`, `/headers`, `/sleep/MS`, `/trap`, `/hog` for tests.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

wasip2::http::proxy::export!(Hello);

fn main() {}

impl Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        note(&path);
        let answer = answer(&path, &request);
        let response = OutgoingResponse::new(Fields::new());
        let _set = response.set_status_code(answer.0);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(mut stream) = body.write() {
            let _written = stream.write_all(answer.1.as_bytes());
        }
        let _finished = OutgoingBody::finish(body, None);
    }
}

fn answer(path: &str, request: &IncomingRequest) -> (u16, String) {
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["env", name] => match std::env::var(name) {
            Ok(value) => (200, format!("{value}\n")),
            Err(_) => (404, format!("{name} is not set\n")),
        },
        ["headers"] => (200, headers(request)),
        ["sleep", millis] => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
            (200, greeting(path))
        }
        ["trap"] => std::process::abort(),
        ["hog"] => hog(),
        _ => (200, greeting(path)),
    }
}

fn greeting(path: &str) -> String {
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME"));
    let name = name.unwrap_or_else(|_| "an unnamed pod".into());
    if path == "/" || path.is_empty() {
        format!("Hello from {name}\n")
    } else {
        format!("Hello from {name} at {path}\n")
    }
}

fn headers(request: &IncomingRequest) -> String {
    let entries = request.headers().entries();
    entries.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value))).collect()
}

fn hog() -> ! {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(vec![1; 1 << 20]);
        std::hint::black_box(&hoard);
    }
}

/// Appends the request to the file that `LOG_FILE` names, for a sidecar to ship.
fn note(path: &str) {
    let Ok(file) = std::env::var("LOG_FILE") else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) {
        let _written = writeln!(file, "GET {path}");
    }
}
