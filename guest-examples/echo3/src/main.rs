//! Sockets of WASI 0.3: `serve PORT` answers connections and datagrams, each with what came and its pod's name;
//! `tcp HOST PORT WORD` and `udp HOST PORT WORD` print what such a server answers.

use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket, UdpSocket};
use wasip3::wit_bindgen::spawn_local;

/// How much is read at once.
const CHUNK_BYTES: usize = 4096;

struct Echo;

wasip3::cli::command::export!(Echo);

fn main() {}

impl wasip3::exports::cli::run::Guest for Echo {
    async fn run() -> Result<(), ()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match run(&words).await {
            Ok(()) => Ok(()),
            Err(error) => {
                println!("{error}");
                Err(())
            }
        }
    }
}

async fn run(words: &[&str]) -> Result<(), String> {
    match words {
        ["serve", port] => serve(number(port)?).await,
        ["tcp", host, port, word] => show(&tcp(address(host, number(port)?).await?, word).await?),
        ["udp", host, port, word] => show(&udp(address(host, number(port)?).await?, word).await?),
        _ => Err("usage: echo3 serve PORT | tcp HOST PORT WORD | udp HOST PORT WORD".into()),
    }
}

fn show(answer: &[u8]) -> Result<(), String> {
    println!("answered: {}", String::from_utf8_lossy(answer).trim_end());
    Ok(())
}

async fn serve(port: u16) -> Result<(), String> {
    let listener = TcpSocket::create(IpAddressFamily::Ipv4).map_err(said("create"))?;
    listener.bind(any(port)).map_err(said("bind"))?;
    let mut connections = listener.listen().map_err(said("listen"))?;
    spawn_local(async move {
        if let Err(error) = serve_datagrams(port).await {
            println!("{error}");
        }
    });
    println!("listening on {port}");
    // The end of the stream is this program's SIGTERM.
    while let Some(connection) = connections.next().await {
        spawn_local(answer(connection));
    }
    println!("asked to stop");
    std::process::exit(0)
}

/// Sends back what comes, and at its end the pod's name.
async fn answer(connection: TcpSocket) {
    let (mut received, _ended) = connection.receive();
    let (mut sender, to_send) = wasip3::wit_stream::new();
    let sent = connection.send(to_send);
    loop {
        let (_, chunk) = received.read(Vec::with_capacity(CHUNK_BYTES)).await;
        if chunk.is_empty() {
            break;
        }
        sender.write_all(chunk).await;
    }
    sender.write_all(signature().into_bytes()).await;
    drop(sender);
    if let Err(error) = sent.await {
        println!("send: {error:?}");
    }
}

async fn serve_datagrams(port: u16) -> Result<(), String> {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4).map_err(said("create"))?;
    socket.bind(any(port)).map_err(said("bind"))?;
    loop {
        let (mut payload, peer) = socket.receive().await.map_err(said("receive"))?;
        payload.extend(signature().into_bytes());
        if let Err(error) = socket.send(payload, Some(peer)).await {
            println!("send: {error:?}");
        }
    }
}

async fn tcp(to: IpSocketAddress, word: &str) -> Result<Vec<u8>, String> {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(said("create"))?;
    socket.connect(to).await.map_err(said("connect"))?;
    let (received, ended) = socket.receive();
    let (mut sender, to_send) = wasip3::wit_stream::new();
    let sent = socket.send(to_send);
    let word = word.as_bytes().to_vec();
    // Beside the reading: the answer to a long word begins before its end is sent.
    spawn_local(async move {
        sender.write_all(word).await;
    });
    let answer = received.collect().await;
    sent.await.map_err(said("send"))?;
    ended.await.map_err(said("receive"))?;
    Ok(answer)
}

async fn udp(to: IpSocketAddress, word: &str) -> Result<Vec<u8>, String> {
    let socket = UdpSocket::create(IpAddressFamily::Ipv4).map_err(said("create"))?;
    socket.connect(to).map_err(said("connect"))?;
    socket.send(word.as_bytes().to_vec(), None).await.map_err(said("send"))?;
    Ok(socket.receive().await.map_err(said("receive"))?.0)
}

async fn address(host: &str, port: u16) -> Result<IpSocketAddress, String> {
    let found = resolve_addresses(host.to_owned()).await.map_err(said("resolve"))?;
    found.into_iter().find_map(|address| at(address, port)).ok_or_else(|| format!("{host} has no IPv4 address"))
}

fn at(address: IpAddress, port: u16) -> Option<IpSocketAddress> {
    match address {
        IpAddress::Ipv4(address) => Some(IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })),
        IpAddress::Ipv6(_) => None,
    }
}

fn any(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (0, 0, 0, 0) })
}

fn signature() -> String {
    let name = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    format!(" ({name})\n")
}

fn number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn said<E: std::fmt::Debug>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_addresses_of_version_four() {
        assert_eq!(number("7000"), Ok(7000));
        assert!(number("70000").unwrap_err().starts_with("70000: "));
        assert!(at(IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)), 7).is_none());
        let Some(IpSocketAddress::Ipv4(found)) = at(IpAddress::Ipv4((127, 0, 0, 1)), 7) else { panic!("IPv4") };
        assert_eq!((found.port, found.address), (7, (127, 0, 0, 1)));
    }
}
