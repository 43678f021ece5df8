//! Calls a Service by name over `std::net`: `call-service HOST:PORT [LINE]` sends a line and prints the answer's first;
//! `call-service HOST:PORT LINE keep` goes on over the same connection, a numbered line after the other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "echo:7000".into());
    let line = arguments.next().unwrap_or_else(|| "hello".into());
    let keeps = arguments.next().as_deref() == Some("keep");
    match if keeps { keep(&address, &line) } else { call(&address, &line) } {
        Ok(answer) => {
            println!("{address} answered: {answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{address} failed: {:?}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}

fn call(address: &str, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// Ends with the connection.
fn keep(address: &str, line: &str) -> std::io::Result<String> {
    let stream = TcpStream::connect(address)?;
    let mut answers = BufReader::new(&stream).lines();
    for number in 0_u64.. {
        writeln!(&stream, "{line} {number}")?;
        let Some(answer) = answers.next().transpose()? else { break };
        println!("{answer}");
        std::thread::sleep(PAUSE);
    }
    Ok("nothing more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_a_line_and_takes_the_first_of_the_answer() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let caller = std::thread::spawn(move || call(&address, "ahoy"));
        let (mut stream, _) = server.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        write!(stream, "{} yourself\nand more\n", line.trim_end()).unwrap();
        assert_eq!(caller.join().unwrap().unwrap(), "ahoy yourself");
    }
}
