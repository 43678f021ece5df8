//! `port-forward`: any number of connections to ports of a pod. Always SPDY, which a WebSocket may carry.
//!
//! A client opens two streams a connection, one for what goes wrong and one for the bytes, tied by a number.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::io;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::close::over;
use crate::spdy::{Connection, Headers, Incoming, Stream};
use crate::{Form, spdy, websocket};

/// What is spoken over SPDY.
pub const PROTOCOL: &str = "portforward.k8s.io";
/// What is spoken over a WebSocket.
pub const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// How many connections one client forwards at once; more are broken off.
pub const FORWARDED_MAX: usize = 200;
const STREAM_TYPE: &str = "streamtype";
const PORT: &str = "port";
const REQUEST: &str = "requestid";

/// Forwards until the client leaves: each connection to what `connect` finds at its port. The error is for the client.
pub async fn serve<S, C, F, T>(io: S, form: Form, connect: C)
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Fn(u16) -> F,
    F: Future<Output = Result<T, String>>,
    T: AsyncRead + AsyncWrite + Unpin,
{
    match form {
        Form::Spdy => serve_spdy(io, connect).await,
        Form::WebSocket => serve_spdy(websocket::Tunnel::over(io).await, connect).await,
    }
}

async fn serve_spdy<S, C, F, T>(io: S, connect: C)
where
    S: AsyncRead + AsyncWrite,
    C: Fn(u16) -> F,
    F: Future<Output = Result<T, String>>,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (connection, incoming, driver) = spdy::server(io);
    over(driver, forward(incoming, connect), connection.close()).await;
}

async fn forward<C, F, T>(mut incoming: Incoming, connect: C)
where
    C: Fn(u16) -> F,
    F: Future<Output = Result<T, String>>,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut halves: HashMap<String, Stream> = HashMap::new();
    let mut forwarded = FuturesUnordered::new();
    loop {
        let stream = tokio::select! {
            stream = incoming.recv() => stream,
            Some(()) = forwarded.next() => continue,
        };
        let Some(stream) = stream else { break };
        let request = stream.headers.get(REQUEST).to_owned();
        let Some(other) = halves.remove(&request) else {
            if halves.len() + forwarded.len() < FORWARDED_MAX {
                halves.insert(request, stream);
            } else {
                stream.reset().await;
            }
            continue;
        };
        let is_data = |stream: &Stream| stream.headers.get(STREAM_TYPE) == "data";
        let (data, error) = if is_data(&stream) { (stream, other) } else { (other, stream) };
        forwarded.push(one(data, error, &connect));
    }
}

/// One connection, to its end.
async fn one<C, F, T>(mut data: Stream, mut error: Stream, connect: &C)
where
    C: Fn(u16) -> F,
    F: Future<Output = Result<T, String>>,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let connected = match data.headers.get(PORT).parse() {
        Ok(port) if port > 0 => connect(port).await,
        _ => Err(format!("\"{}\" is no port", data.headers.get(PORT))),
    };
    match connected {
        Ok(target) => {
            let broken = data.broken.clone();
            let copied = tokio::select! {
                copied = copy(&mut data, target) => copied.is_ok(),
                () = broken.cancelled() => true,
            };
            if !copied {
                data.reset().await;
            }
        }
        Err(message) => {
            let _left = error.writer.write_all(message.as_bytes()).await;
            let _left = data.writer.shutdown().await;
        }
    }
    let _left = error.writer.shutdown().await;
}

/// Both directions, each to its end, so that either end may say that it has said everything.
pub async fn copy<T: AsyncRead + AsyncWrite + Unpin>(data: &mut Stream, target: T) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(target);
    let there = async {
        tokio::io::copy(&mut data.reader, &mut to).await?;
        to.shutdown().await
    };
    let back = async {
        tokio::io::copy(&mut from, &mut data.writer).await?;
        data.writer.shutdown().await
    };
    tokio::try_join!(there, back).map(drop)
}

/// One forwarded connection, as its client has it.
pub struct Forwarded {
    /// The bytes.
    pub data: Stream,
    /// What goes wrong; it ends with the connection.
    pub error: Stream,
}

/// Opens a connection to a port of the pod; `number` is another one for each.
pub async fn open(connection: &Connection, port: u16, number: u64) -> io::Result<Forwarded> {
    let (port, number) = (port.to_string(), number.to_string());
    let headers = |kind| Headers::from([(STREAM_TYPE, kind), (PORT, port.as_str()), (REQUEST, number.as_str())]);
    let error = connection.open(headers("error"), true).await?;
    Ok(Forwarded { data: connection.open(headers("data"), false).await?, error })
}
