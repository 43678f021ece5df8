//! Names: what the pod's network knows, and nothing else.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec;

use async_trait::async_trait;
use wasmtime::component::{Accessor, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError};
use wherry_vnet::{Namespace, Resolution};

use super::bindings::ip_name_lookup::{Host, HostResolveAddressStream};
use super::version3::{ip_name_lookup as lookup3, types};
use super::{HasNet, NetView, NetworkView};

type Answer = Result<vec::IntoIter<IpAddr>, ErrorCode>;

/// A lookup under way, then its addresses.
pub enum VResolve {
    Asking(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Answered(Answer),
}

impl VResolve {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<&mut Answer> {
        if let Self::Asking(asking) = self {
            match asking.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(answer) => *self = Self::Answered(answer),
            }
        }
        match self {
            Self::Answered(answer) => Poll::Ready(answer),
            Self::Asking(_) => Poll::Pending,
        }
    }
}

async fn resolve(net: &Namespace, name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
    net.resolve(name).await.map_err(|error| match error {
        Resolution::Foreign => ErrorCode::AccessDenied,
        _ => ErrorCode::NameUnresolvable,
    })
}

impl<T: NetworkView> lookup3::HostWithStore<T> for HasNet {
    async fn resolve_addresses(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<types::IpAddress>, lookup3::ErrorCode>> {
        let net = store.with(|mut access| Arc::clone(access.get().net));
        let found = resolve(&net, &name).await.map(|found| found.into_iter().map(Into::into).collect());
        Ok(found.map_err(|code| match code {
            ErrorCode::AccessDenied => lookup3::ErrorCode::AccessDenied,
            _ => lookup3::ErrorCode::NameUnresolvable,
        }))
    }
}

impl lookup3::Host for NetView<'_> {}

impl Host for NetView<'_> {
    fn resolve_addresses(
        &mut self,
        _network: Resource<Network>,
        name: String,
    ) -> Result<Resource<VResolve>, SocketError> {
        let net = Arc::clone(self.net);
        let asking = async move { resolve(&net, &name).await.map(Vec::into_iter) };
        Ok(self.table.push(VResolve::Asking(Box::pin(asking)))?)
    }
}

impl HostResolveAddressStream for NetView<'_> {
    fn resolve_next_address(&mut self, this: Resource<VResolve>) -> Result<Option<IpAddress>, SocketError> {
        match self.table.get_mut(&this)?.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(Into::into)),
            Poll::Ready(Err(code)) => Err((*code).into()),
        }
    }

    fn subscribe(&mut self, this: Resource<VResolve>) -> wasmtime::Result<Resource<DynPollable>> {
        wasmtime_wasi_io::poll::subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<VResolve>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[async_trait]
impl Pollable for VResolve {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll(cx).map(|_| ())).await;
    }
}
