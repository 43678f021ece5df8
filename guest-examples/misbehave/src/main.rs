//! What a guest must not get away with, for tests: `trap`, `spin`, `hog`, `forbidden-file`, `forbidden-connect HOST:PORT`,
//! `exit CODE`, `sleep SECONDS`.

use std::process::ExitCode;
use std::time::Duration;

const STEP_BYTES: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["trap"] => std::process::abort(),
        ["spin"] => spin(),
        ["hog"] => hog(),
        ["forbidden-file"] => forbidden_files(),
        ["forbidden-connect", address] => forbidden_connect(address),
        ["exit", code] => std::process::exit(code.parse().unwrap_or(1)),
        ["sleep", seconds] => {
            std::thread::sleep(Duration::from_secs(seconds.parse().unwrap_or(1)));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("unknown misbehaviour {words:?}");
            ExitCode::from(2)
        }
    }
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
        hoard.push(vec![1; STEP_BYTES]);
        std::hint::black_box(&hoard);
    }
}

fn forbidden_files() -> ExitCode {
    for path in ["/etc/passwd", "../../etc/passwd", "/proc/self/environ"] {
        match std::fs::read_to_string(path) {
            Ok(_) => {
                println!("{path}: read");
                return ExitCode::SUCCESS;
            }
            Err(error) => println!("{path}: {:?}", error.kind()),
        }
    }
    ExitCode::FAILURE
}

fn forbidden_connect(address: &str) -> ExitCode {
    match std::net::TcpStream::connect(address) {
        Ok(_) => {
            println!("{address}: connected");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{address}: {:?}", error.kind());
            ExitCode::FAILURE
        }
    }
}
