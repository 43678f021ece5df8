//! Pods whose modules are in a sandbox and whose Linux containers are in a kernel, which a stub stands for here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wherry_vnet::{BindError, DialError, KernelSide, Namespace, Protocol, Stream, socket_pair};

use crate::programs::IN_USE;
use crate::world::{World, until};

/// A container that echoes what it hears at port 5432.
struct Kernel {
    pod: Weak<Namespace>,
    bound: Mutex<Vec<String>>,
    unbound: Mutex<usize>,
}

const PORT: u16 = 5432;

fn echoing() -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    std::thread::spawn(move || {
        let _broken = io::copy(&mut &theirs, &mut &theirs);
        let _gone = theirs.shutdown(Shutdown::Write);
    });
    Ok(ours.into())
}

#[async_trait]
impl KernelSide for Kernel {
    async fn connect(&self, to: SocketAddr) -> Result<OwnedFd, DialError> {
        if to.port() == PORT { Ok(echoing()?) } else { Err(DialError::Refused) }
    }

    async fn carry(&self, connection: Stream) -> Result<(), DialError> {
        if connection.local.port() != PORT {
            return Err(DialError::Refused);
        }
        tokio::task::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(connection);
            let _broken = tokio::io::copy(&mut reader, &mut writer).await;
            let _broken = writer.shutdown().await;
        });
        Ok(())
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, payload: Bytes) -> io::Result<()> {
        if let Some(pod) = self.pod.upgrade().filter(|_| to.port() == PORT) {
            pod.receive(to, from, payload);
        }
        Ok(())
    }

    fn bind(&self, protocol: Protocol, at: SocketAddr) -> Result<(), BindError> {
        if at.port() == PORT {
            return Err(BindError::InUse);
        }
        self.bound.lock().unwrap().push(format!("{protocol:?} {at}"));
        Ok(())
    }

    fn unbind(&self, _: Protocol, _: SocketAddr) {
        *self.unbound.lock().unwrap() += 1;
    }

    fn close(&self) {}
}

fn attach(pod: &Arc<Namespace>) -> Arc<Kernel> {
    let kernel = Arc::new(Kernel { pod: Arc::downgrade(pod), bound: Mutex::default(), unbound: Mutex::default() });
    pod.attach(Arc::<Kernel>::clone(&kernel)).unwrap();
    kernel
}

#[tokio::test]
async fn modules_reach_their_pods_containers_and_those_of_neighbours() {
    let world = World::new().await;
    let _deaf = world.start("shop", "pod", "deaf", &[]).await.unwrap();
    attach(&world.pod("pod"));
    let own = format!("{}:{PORT}", world.address("pod"));
    let local = format!("127.0.0.1:{PORT}");
    for (namespace, pod, to) in
        [("shop", "pod", &local), ("shop", "pod", &own), ("shop", "near", &own), ("other", "far", &own)]
    {
        let client = world.start(namespace, pod, "client", &[("TO", to)]).await.unwrap();
        assert_eq!(client.exited().await.code, 0, "{pod} to {to}: {}", world.log(pod));
    }
    let client = world.start("shop", "pod", "client", &[("TO", "127.0.0.1:1")]).await.unwrap();
    assert_eq!(client.exited().await.code, 1);
    assert!(world.log("pod").contains("connection refused"), "{}", world.log("pod"));
    let client = world.start("shop", "pod", "udp-client", &[("TO", &local)]).await.unwrap();
    assert_eq!(client.exited().await.code, 0, "{}", world.log("pod"));
}

/// What port-forward relies on, too: the node reaches a module at its own localhost.
#[tokio::test]
async fn containers_and_the_node_reach_modules_at_localhost() {
    let world = World::new().await;
    for on in ["0.0.0.0:8080", "127.0.0.1:8080"] {
        let server = world.start("shop", "pod", "echo", &[("ON", on)]).await.unwrap();
        let pod = world.pod("pod");
        let connected = world.on_node(async move {
            loop {
                // It is told that the port is bound a moment after the start.
                match pod.connect("127.0.0.1:8080".parse().unwrap()).await {
                    Ok(mut stream) => {
                        stream.write_all(b"x").await.unwrap();
                        return stream.read_u8().await.unwrap();
                    }
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        assert_eq!(connected.await, b'x', "{on}");
        let kernel = attach(&world.pod("pod"));
        assert_eq!(*kernel.bound.lock().unwrap(), [format!("Tcp {on}")]);
        let (ours, theirs) = socket_pair().unwrap();
        rustix::io::ioctl_fionbio(&ours, false).unwrap();
        world.pod("pod").accept("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap(), theirs).unwrap();
        let mut ours = UnixStream::from(ours);
        ours.write_all(b"hello").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        ours.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello", "{on}");
        server.stop();
        server.exited().await;
        until(|| *kernel.unbound.lock().unwrap() == 1).await;
    }
}

#[tokio::test]
async fn a_port_that_a_container_has_is_in_use_for_modules() {
    let world = World::new().await;
    let on = format!("0.0.0.0:{PORT}");
    let _deaf = world.start("shop", "pod", "deaf", &[]).await.unwrap();
    attach(&world.pod("pod"));
    for program in ["echo", "udp-echo"] {
        let server = world.start("shop", "pod", program, &[("ON", "0.0.0.0:8080")]).await.unwrap();
        server.stop();
        assert_eq!(server.exited().await.code, 0, "{program}: another port");
    }
    for program in ["echo", "udp-echo"] {
        let server = world.start("shop", "pod", program, &[("ON", &on)]).await.unwrap();
        assert_eq!(server.exited().await.code, IN_USE, "{program}");
    }
    let client = world.start("shop", "pod", "client", &[("TO", &format!("127.0.0.1:{PORT}"))]).await.unwrap();
    assert_eq!(client.exited().await.code, 0, "{}", world.log("pod"));
}
