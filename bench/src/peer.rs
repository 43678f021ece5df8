//! What the containers run that are measured: one server or client and nothing else, so that a container costs no more than
//! what such a program needs. The program that measures is its other half.

mod exchange;
mod native;

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["http", port] => serve_http(port.parse()?),
        ["serve"] => exchange::serve(TcpListener::bind((Ipv4Addr::UNSPECIFIED, exchange::PORT))?.accept()?.0),
        ["ask", server] => {
            let exchange::Figures { rate, round_trip } = exchange::ask(TcpStream::connect((*server, exchange::PORT))?)?;
            println!("{rate} {}", round_trip.as_secs_f64());
            Ok(())
        }
        _ => bail!("usage: http PORT | serve | ask ADDRESS"),
    }
}

fn serve_http(port: u16) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        native::serve(tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?).await;
        Ok(())
    })
}
