//! `wasi:sockets/types.tcp-socket@0.3`: the same sockets, with asynchronous calls and component-model streams.

use std::future::poll_fn;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use wasmtime::component::{
    Access, Accessor, Destination, FutureReader, Resource, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult,
};
use wasmtime::{AsContextMut, StoreContextMut};
use wherry_vnet::{ReadHalf, WriteHalf};

use super::tcp::{Door, Options, VTcp, positive};
use super::version3::types::{
    Duration, ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
};
use super::version3::{SocketError, code, family2, family3};
use super::{HasNet, NetView, NetworkView};

type SocketResult<T> = Result<T, SocketError>;
type Outcome = Result<(), ErrorCode>;

/// How much a read takes whose reader does not say.
const READ_BYTES: usize = 8 * 1024;

impl<T: NetworkView> HostTcpSocketWithStore<T> for HasNet {
    async fn connect(
        store: &Accessor<T, Self>,
        this: Resource<VTcp>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        store.with(|mut access| {
            let mut view = access.get();
            let net = view.net;
            view.tcp(&this)?.start_connect(net, remote_address.into()).map_err(code)
        })?;
        let connected = |context: &mut Context<'_>| {
            store.with(|mut access| {
                let mut view = access.get();
                Poll::Ready(match view.tcp(&this) {
                    Ok(socket) => ready!(socket.poll_connected(context)).map_err(code),
                    Err(error) => Err(error),
                })
            })
        };
        poll_fn(connected).await
    }

    fn listen(mut store: Access<'_, T, Self>, this: Resource<VTcp>) -> SocketResult<StreamReader<Resource<VTcp>>> {
        let mut view = store.get();
        let (net, stopping) = (view.net, view.stopping);
        let socket = view.tcp(&this)?;
        socket.bind_somewhere(net, stopping).map_err(code)?;
        let door = socket.hand_out_door().map_err(code)?;
        let (family, options) = (socket.family, socket.options.clone());
        StreamReader::new(&mut store, Accepting { door, family, options }).map_err(SocketError::trap)
    }

    fn send(
        mut store: Access<'_, T, Self>,
        this: Resource<VTcp>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome>> {
        let (told, outcome) = oneshot::channel();
        match store.get().table.get(&this)?.take_writer() {
            Ok(half) => data.pipe(&mut store, Sending(Some((half, told))))?,
            Err(error) => {
                data.close(&mut store)?;
                drop(told.send(Err(error.into())));
            }
        }
        FutureReader::new(&mut store, outcome)
    }

    fn receive(
        mut store: Access<'_, T, Self>,
        this: Resource<VTcp>,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Outcome>)> {
        let (told, outcome) = oneshot::channel();
        let stream = match store.get().table.get(&this)?.take_reader() {
            Ok(half) => StreamReader::new(&mut store, Receiving(Some((half, told))))?,
            Err(error) => {
                drop(told.send(Err(error.into())));
                StreamReader::new(&mut store, iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, outcome)?))
    }
}

/// The stream of a listener's connections.
struct Accepting {
    door: Door,
    family: wasmtime_wasi::p2::bindings::sockets::network::IpAddressFamily,
    options: Options,
}

impl<T: NetworkView> StreamProducer<T> for Accepting {
    type Item = Resource<VTcp>;
    type Buffer = Option<Self::Item>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // A read of nothing asks whether a read would wait.
        if destination.remaining(&mut store) == Some(0) {
            let ready = self.door.poll_ready(context).map(|()| StreamResult::Completed);
            return waited(ready, finish);
        }
        match self.door.poll_accept(context) {
            Poll::Pending => waited(Poll::Pending, finish),
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Some(stream)) => {
                let accepted = VTcp::connected(self.family, self.options.clone(), stream);
                destination.set_buffer(Some(store.data_mut().network().table.push(accepted)?));
                Poll::Ready(Ok(StreamResult::Completed))
            }
        }
    }
}

/// What a guest receives, and where it is told how that ended. `None` once it has.
struct Receiving(Option<(ReadHalf, oneshot::Sender<Outcome>)>);

/// What a guest sends, likewise.
struct Sending(Option<(WriteHalf, oneshot::Sender<Outcome>)>);

impl<T> StreamProducer<T> for Receiving {
    type Item = u8;
    type Buffer = bytes::BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        destination: Destination<'a, u8, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((half, _)) = &mut self.0 else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        if destination.remaining(store.as_context_mut()) == Some(0) {
            let ready = half.poll_readable(context).map(|()| StreamResult::Completed);
            return waited(ready, finish);
        }
        let mut destination = destination.as_direct(store, READ_BYTES);
        let mut buffer = ReadBuf::new(destination.remaining());
        match Pin::new(half).poll_read(context, &mut buffer) {
            Poll::Pending => waited(Poll::Pending, finish),
            Poll::Ready(read) => {
                let length = buffer.filled().len();
                if length > 0 {
                    destination.mark_written(length);
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
                tell(&mut self.0, read);
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

impl<T> StreamConsumer<T> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, T>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Some((half, _)) = &mut self.0 else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        let mut source = source.as_direct(store);
        if source.remaining().is_empty() {
            let ready = half.poll_writable(context).map(|()| StreamResult::Completed);
            return waited(ready, finish);
        }
        match Pin::new(half).poll_write(context, source.remaining()) {
            Poll::Pending => waited(Poll::Pending, finish),
            Poll::Ready(Ok(length)) => {
                source.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(error)) => {
                tell(&mut self.0, Err(error));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        tell(&mut self.0, Ok(()));
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        tell(&mut self.0, Ok(()));
    }
}

/// Lets go of a half and says how it ended.
fn tell<Half>(held: &mut Option<(Half, oneshot::Sender<Outcome>)>, ended: std::io::Result<()>) {
    if let Some((half, told)) = held.take() {
        drop(half);
        // A guest need not care.
        drop(told.send(ended.map_err(|error| super::io_code(&error).into())));
    }
}

/// A guest that gives up waiting gets an answer all the same.
fn waited(ready: Poll<StreamResult>, finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    match ready {
        Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
        ready => ready.map(Ok),
    }
}

impl HostTcpSocket for NetView<'_> {
    fn create(&mut self, family: IpAddressFamily) -> SocketResult<Resource<VTcp>> {
        self.table.push(VTcp::new(family2(family))).map_err(SocketError::trap)
    }

    async fn bind(&mut self, this: Resource<VTcp>, local_address: IpSocketAddress) -> SocketResult<()> {
        let (net, stopping) = (self.net, self.stopping);
        self.tcp(&this)?.bind(net, stopping, local_address.into()).await.map_err(code)
    }

    fn get_local_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp(&this)?.local().ok_or(ErrorCode::InvalidState)?.into())
    }

    fn get_remote_address(&mut self, this: Resource<VTcp>) -> SocketResult<IpSocketAddress> {
        Ok(self.tcp(&this)?.peer().ok_or(ErrorCode::InvalidState)?.into())
    }

    fn get_is_listening(&mut self, this: Resource<VTcp>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.is_listening())
    }

    fn get_address_family(&mut self, this: Resource<VTcp>) -> wasmtime::Result<IpAddressFamily> {
        Ok(family3(self.table.get(&this)?.family))
    }

    fn set_listen_backlog_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.tcp(&this)?;
        positive(value).map(drop).map_err(code)
    }

    fn get_keep_alive_enabled(&mut self, this: Resource<VTcp>) -> SocketResult<bool> {
        Ok(self.tcp(&this)?.options.keep_alive)
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<VTcp>, value: bool) -> SocketResult<()> {
        self.tcp(&this)?.options.keep_alive = value;
        Ok(())
    }

    fn get_keep_alive_idle_time(&mut self, this: Resource<VTcp>) -> SocketResult<Duration> {
        Ok(self.tcp(&this)?.options.keep_alive_idle_nanos)
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.tcp(&this)?.options.keep_alive_idle_nanos = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_keep_alive_interval(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.options.keep_alive_interval_nanos)
    }

    fn set_keep_alive_interval(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.tcp(&this)?.options.keep_alive_interval_nanos = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_keep_alive_count(&mut self, this: Resource<VTcp>) -> SocketResult<u32> {
        Ok(self.tcp(&this)?.options.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, this: Resource<VTcp>, value: u32) -> SocketResult<()> {
        self.tcp(&this)?.options.keep_alive_count = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_hop_limit(&mut self, this: Resource<VTcp>) -> SocketResult<u8> {
        Ok(self.tcp(&this)?.options.hop_limit)
    }

    fn set_hop_limit(&mut self, this: Resource<VTcp>, value: u8) -> SocketResult<()> {
        self.tcp(&this)?.options.hop_limit = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_receive_buffer_size(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.options.receive_buffer_bytes)
    }

    fn set_receive_buffer_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.tcp(&this)?.options.receive_buffer_bytes = positive(value).map_err(code)?;
        Ok(())
    }

    fn get_send_buffer_size(&mut self, this: Resource<VTcp>) -> SocketResult<u64> {
        Ok(self.tcp(&this)?.options.send_buffer_bytes)
    }

    fn set_send_buffer_size(&mut self, this: Resource<VTcp>, value: u64) -> SocketResult<()> {
        self.tcp(&this)?.options.send_buffer_bytes = positive(value).map_err(code)?;
        Ok(())
    }

    fn drop(&mut self, this: Resource<VTcp>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl NetView<'_> {
    fn tcp(&mut self, this: &Resource<VTcp>) -> SocketResult<&mut VTcp> {
        self.table.get_mut(this).map_err(SocketError::trap)
    }
}
