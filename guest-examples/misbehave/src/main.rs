//! What a guest must not get away with, for tests: `trap`, `spin`, `hog`, `forbidden-file [PATH…]`, `write FILE`,
//! `fill FILE MEBIBYTES` (and waits), `forbidden-connect HOST:PORT`, `exit CODE`, `sleep SECONDS`, `stdin` (waits for its end),
//! `terminal` (says what it is at, and each line that it is given).

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

const STEP_BYTES: usize = 1 << 20;
const FORBIDDEN: [&str; 3] = ["/etc/passwd", "../../etc/passwd", "/proc/self/environ"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["trap"] => std::process::abort(),
        ["spin"] => spin(),
        ["hog"] => hog(),
        ["forbidden-file"] => forbidden_files(&FORBIDDEN),
        ["forbidden-file", paths @ ..] => forbidden_files(paths),
        ["write", file] => outcome(file, write(file).map(|()| "written")),
        ["fill", file, mebibytes] => outcome(file, fill(file, mebibytes.parse().unwrap_or(1)).map(|()| "filled")),
        ["forbidden-connect", address] => outcome(address, TcpStream::connect(address).map(|_| "connected")),
        ["stdin"] => outcome("stdin", std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).map(|_| "ended")),
        ["terminal"] => outcome("terminal", terminal().map(|()| "ended")),
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

fn forbidden_files(paths: &[&str]) -> ExitCode {
    let read = |path: &&str| outcome(path, std::fs::read_to_string(path).map(|_| "read")) == ExitCode::SUCCESS;
    if paths.iter().filter(|path| read(path)).count() > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn terminal() -> std::io::Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    println!("terminals: {} {} {}", stdin.is_terminal(), stdout.is_terminal(), stderr.is_terminal());
    for line in stdin.lines() {
        println!("given: {}", line?);
    }
    Ok(())
}

fn write(file: &str) -> std::io::Result<()> {
    writeln!(File::options().create(true).append(true).open(file)?, "misbehaved")
}

fn fill(file: &str, mebibytes: u64) -> std::io::Result<()> {
    let mut file = File::create(file)?;
    (0..mebibytes).try_for_each(|_| file.write_all(&vec![1; STEP_BYTES]))?;
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Prints how it went; success is what must not be.
fn outcome(what: &str, result: std::io::Result<&str>) -> ExitCode {
    match result {
        Ok(done) => println!("{what}: {done}"),
        Err(ref error) => println!("{what}: {:?}", error.kind()),
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_succeeds_is_said_and_what_fails_too() {
        assert_eq!(outcome("x", Ok("read")), ExitCode::SUCCESS);
        assert_eq!(outcome("x", Err(std::io::ErrorKind::NotFound.into())), ExitCode::FAILURE);
    }

    #[test]
    fn one_forbidden_file_that_can_be_read_is_success() {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(forbidden_files(&["/no/such/file"]), ExitCode::FAILURE);
        assert_eq!(forbidden_files(&["/no/such/file", own]), ExitCode::SUCCESS);
        assert!(write("/no/such/file").is_err());
    }
}
