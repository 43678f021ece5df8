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
            shipped = ship(&mut file, shipped)?;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Prints what lies behind `shipped`; how far the file was read.
fn ship(file: &mut File, shipped: u64) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    // A shorter file is a new one.
    let start = if length < shipped { 0 } else { shipped };
    file.seek(SeekFrom::Start(start))?;
    let mut fresh = Vec::new();
    file.take(1 << 20).read_to_end(&mut fresh)?;
    std::io::stdout().write_all(&fresh)?;
    Ok(start + fresh.len() as u64)
}
