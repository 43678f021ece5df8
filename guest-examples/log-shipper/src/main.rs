//! A sidecar: prints what is appended to a file of a shared volume, as it comes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(100);

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/var/log/app/access.log".into());
    println!("shipping {path}");
    let mut shipped = 0;
    loop {
        if let Ok(mut file) = File::open(&path) {
            shipped = ship(&mut file, shipped, &mut std::io::stdout())?;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Passes on what lies behind `shipped`; how far the file was read.
fn ship(file: &mut (impl Read + Seek), shipped: u64, out: &mut impl Write) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    // A shorter file is a new one.
    let start = if length < shipped { 0 } else { shipped };
    file.seek(SeekFrom::Start(start))?;
    let mut fresh = Vec::new();
    file.take(1 << 20).read_to_end(&mut fresh)?;
    out.write_all(&fresh)?;
    Ok(start + fresh.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Cursor;

    #[test]
    fn what_is_new_is_shipped_once_and_a_shorter_file_is_a_new_one() {
        let mut out = Vec::new();
        let mut shipped = 0;
        for content in ["", "one\n", "one\n", "one\ntwo\n", "new\n"] {
            shipped = ship(&mut Cursor::new(content), shipped, &mut out).unwrap();
        }
        assert_eq!((String::from_utf8(out).unwrap().as_str(), shipped), ("one\ntwo\nnew\n", 4));
    }

    #[test]
    fn a_long_file_is_shipped_in_parts() {
        let file = vec![b'x'; (1 << 20) + 1];
        let mut out = Vec::new();
        let shipped = ship(&mut Cursor::new(&file), 0, &mut out).unwrap();
        assert_eq!(shipped, 1 << 20);
        assert_eq!(ship(&mut Cursor::new(&file), shipped, &mut out).unwrap(), file.len() as u64);
        assert_eq!(out, file);
    }
}
