//! A WASI 0.1 program, run as a job: `echo WORDS…`, `env NAME`, `cat FILE`, `open FILE TIMES`, `sleep MILLISECONDS`,
//! `exit CODE`.

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Result<u8, String> {
    match words {
        ["env", name] => println!("{}", std::env::var(name).map_err(|e| format!("{name}: {e}"))?),
        ["cat", file] => print!("{}", std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?),
        ["open", file, times] => open(file, number(times)?)?,
        ["sleep", millis] => std::thread::sleep(Duration::from_millis(number(millis)?)),
        ["exit", code] => return Ok(u8::try_from(number(code)?).unwrap_or(u8::MAX)),
        ["echo", rest @ ..] => println!("{}", rest.join(" ")),
        _ => println!("hello from a batch job"),
    }
    Ok(0)
}

/// Has a file open so many times at once.
fn open(file: &str, times: u64) -> Result<(), String> {
    let opened: std::io::Result<Vec<File>> = (0..times).map(|_| File::open(file)).collect();
    opened.map(|files| println!("{} times", files.len())).map_err(|e| format!("{file}: {e}"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_exit_codes() {
        assert_eq!(run(&["exit", "7"]), Ok(7));
        assert_eq!(run(&["exit", "300"]), Ok(255), "as much as a code can hold");
        assert_eq!(run(&["echo", "a", "b"]), Ok(0));
        assert_eq!(run(&[]), Ok(0));
        assert_eq!(run(&["open", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "3"]), Ok(0));
    }

    #[test]
    fn errors_name_what_was_asked_for() {
        for (words, beginning) in [
            (["env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE: "),
            (["cat", "/no/file"], "/no/file: "),
            (["sleep", "long"], "long: "),
        ] {
            let error = run(&words).unwrap_err();
            assert!(error.starts_with(beginning), "{error}");
        }
    }
}
