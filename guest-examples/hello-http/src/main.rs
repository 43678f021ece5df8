//! A web server (`wasi:http` 0.2): greets with its pod's name; `/env/NAME`, `/headers`, `/fetch/HOST:PORT`, and for tests
//! `/sleep/MS`, `/trap`, `/hog`, `/spin`, `/begin-and-spin`, `/begin-and-trap`.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::time::Duration;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

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
            match path.as_str() {
                "/begin-and-spin" => spin(),
                "/begin-and-trap" => std::process::abort(),
                _ => {}
            }
        }
        let _finished = OutgoingBody::finish(body, None);
    }
}

fn answer(path: &str, request: &IncomingRequest) -> (u16, String) {
    match parts(path).as_slice() {
        ["env", name] => match std::env::var(name) {
            Ok(value) => (200, format!("{value}\n")),
            Err(_) => (404, format!("{name} is not set\n")),
        },
        ["headers"] => (200, headers(request)),
        ["fetch", authority] => match fetch(authority) {
            Ok(text) => (200, text),
            Err(error) => (502, format!("{authority}: {error:?}\n")),
        },
        ["sleep", millis] => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
            (200, greeting(path))
        }
        ["trap"] => std::process::abort(),
        ["hog"] => hog(),
        ["spin"] => spin(),
        _ => (200, greeting(path)),
    }
}

/// A path's segments, without the query.
fn parts(path: &str) -> Vec<&str> {
    path.split('?').next().unwrap_or_default().split('/').filter(|part| !part.is_empty()).collect()
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

/// The status and the text that another server answers with.
fn fetch(authority: &str) -> Result<String, ErrorCode> {
    let lost = || ErrorCode::InternalError(None);
    let request = OutgoingRequest::new(Fields::new());
    let _set = request.set_scheme(Some(&Scheme::Http));
    let _set = request.set_authority(Some(authority));
    let _set = request.set_path_with_query(Some("/"));
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    let response = response.get().and_then(Result::ok).ok_or_else(lost)??;
    let body = response.consume().map_err(|()| lost())?;
    let mut text = String::new();
    body.stream().map_err(|()| lost())?.read_to_string(&mut text).map_err(|_| lost())?;
    Ok(format!("{}: {text}", response.status()))
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_segments() {
        for (path, expected) in [
            ("/", &[][..]),
            ("", &[]),
            ("/env/NAME", &["env", "NAME"]),
            ("//a/?b=/c", &["a"]),
            ("/sleep/5?x", &["sleep", "5"]),
        ] {
            assert_eq!(parts(path), expected, "{path}");
        }
    }

    #[test]
    fn a_greeting_names_the_path_that_was_asked_for() {
        assert!(greeting("/a").ends_with(" at /a\n"));
        assert!(!greeting("/").contains(" at "));
    }
}
