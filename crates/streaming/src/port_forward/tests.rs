use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A pod: port 1 repeats what it hears until that ends, then says so; everything else is refused.
struct Pod(Mutex<Vec<DuplexStream>>);

impl Pod {
    fn connect(&self, port: u16) -> Result<DuplexStream, String> {
        if port != 1 {
            return Err(format!("port {port}: connection refused"));
        }
        let (ours, theirs) = duplex(1 << 12);
        self.0.lock().unwrap().push(theirs);
        Ok(ours)
    }

    async fn run(&self) {
        let repeat = async |stream: DuplexStream| {
            let (mut from, mut to) = tokio::io::split(stream);
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.write_all(b".").await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut running = FuturesUnordered::new();
        loop {
            running.extend(self.0.lock().unwrap().drain(..).map(repeat));
            tokio::select! {
                Some(()) = running.next() => {}
                () = tokio::task::yield_now() => {}
            }
        }
    }
}

/// What comes back of what is sent to a port, and what is said of it.
async fn exchange(connection: &Connection, (port, number): (u16, u64), sent: &[u8]) -> (Vec<u8>, String) {
    let Forwarded { mut data, mut error } = open(connection, port, number).await.unwrap();
    let (mut back, mut message) = (Vec::new(), String::new());
    let sending = async {
        let _refused = data.writer.write_all(sent).await;
        let _refused = data.writer.shutdown().await;
    };
    let (_, _, ()) =
        futures::join!(data.reader.read_to_end(&mut back), error.reader.read_to_string(&mut message), sending);
    (back, message)
}

#[tokio::test]
async fn connections_are_forwarded_apart_from_each_other() {
    let (ours, theirs) = duplex(1 << 16);
    let pod = Pod(Mutex::default());
    let (connection, driver) = spdy::client(ours);
    let large: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 253) as u8).collect();
    let asking = async {
        let (small, refused, big) = futures::join!(
            exchange(&connection, (1, 0), b"hello"),
            exchange(&connection, (2, 1), b"hello"),
            exchange(&connection, (1, 2), &large),
        );
        assert_eq!(small, (b"hello.".to_vec(), String::new()));
        assert_eq!(refused, (Vec::new(), "port 2: connection refused".to_owned()));
        assert!(big.0.len() == large.len() + 1 && big.0.starts_with(&large), "{} bytes", big.0.len());
        assert_eq!(exchange(&connection, (0, 3), b"").await.1, "\"0\" is no port");
    };
    tokio::select! {
        () = asking => {}
        () = pod.run() => {}
        () = driver => panic!("the connection ended"),
        () = serve(theirs, Form::Spdy, async |port| pod.connect(port)) => panic!("the server ended"),
    }
}
