//! The outside world's end of a connection: blocking, by hand, so that a test says byte by byte what is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::http::Answer;

/// How long one read may take. Generous: only a failing test waits so long.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// How long a datagram's answer is waited for before it is sent again.
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(500);
const DATAGRAM_TRIES: u32 = 40;
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Anything that bytes pass over: TCP, or TLS over it.
pub trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// A connection, read line by line.
pub struct Connection {
    wire: BufReader<Box<dyn Wire>>,
}

impl Connection {
    /// Over TCP to a port of this machine.
    pub fn open(port: u16) -> anyhow::Result<Self> {
        Ok(Self::over(connect(port)?))
    }

    /// Over what the caller has opened.
    pub fn over(wire: impl Wire + 'static) -> Self {
        Self { wire: BufReader::new(Box::new(wire)) }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        self.wire.get_mut().write_all(bytes.as_ref())?;
        Ok(self.wire.get_mut().flush()?)
    }

    /// The next line, without its end; an error where the connection is over.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.wire.read_line(&mut line)? == 0 {
            bail!("the connection is over");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends a line and reads one.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.send(format!("{line}\n"))?;
        self.line()
    }

    /// An HTTP/1.1 exchange; the connection can be used again.
    pub fn http(&mut self, request: &str) -> anyhow::Result<Answer> {
        self.send(request)?;
        self.answer()
    }

    /// The status line and headers of an answer, as they come, up to the blank line.
    pub fn head(&mut self) -> anyhow::Result<Vec<String>> {
        let mut head = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => return Ok(head),
                line => head.push(line),
            }
        }
    }

    /// An answer with a length or in chunks.
    pub fn answer(&mut self) -> anyhow::Result<Answer> {
        let head = self.head()?;
        let status = head.first().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
        let header = |wanted: &str| {
            let mut fields = head.iter().filter_map(|line| line.split_once(':'));
            fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
        };
        let body = match header("content-length") {
            Some(length) => self.bytes(length.parse()?)?,
            None if header("transfer-encoding").is_some() => self.chunks()?,
            None => Vec::new(),
        };
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// All that comes until the other side closes.
    pub fn rest(&mut self) -> anyhow::Result<String> {
        let mut text = Vec::new();
        self.wire.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.wire.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A TCP connection to a port of this machine, with patience.
pub fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(READ_PATIENCE))?;
    stream.set_write_timeout(Some(READ_PATIENCE))?;
    Ok(stream)
}

/// Sends a text to a port, says that there is no more, and reads to the end: what `nc -N` does.
pub fn tcp_exchange(port: u16, text: &str) -> anyhow::Result<String> {
    let mut stream = connect(port)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Sends a datagram until an answer comes, as who uses UDP has to.
pub fn udp_exchange(port: u16, text: &str) -> anyhow::Result<String> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.set_read_timeout(Some(DATAGRAM_PATIENCE))?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    for _ in 0..DATAGRAM_TRIES {
        // Errors are those of a port that is not open yet.
        let sent = socket.send(text.as_bytes());
        if let Ok(length) = sent.and_then(|_| socket.recv(&mut buffer)) {
            return Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("no datagram came back from port {port}")
}
