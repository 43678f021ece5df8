//! Messages over a Unix socket that keeps their boundaries (`SOCK_SEQPACKET`), with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::message::{DESCRIPTORS_MAX, MESSAGE_BYTES_MAX};

/// A message, encoded, with its descriptors.
#[derive(Debug)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Why a message cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bytes} bytes and {descriptors} descriptors are more than the {MESSAGE_BYTES_MAX} and {DESCRIPTORS_MAX} of a message"
)]
pub(crate) struct TooLarge {
    bytes: usize,
    descriptors: usize,
}

impl Packet {
    pub(crate) fn new(message: &impl Serialize, descriptors: Vec<OwnedFd>) -> Result<Self, TooLarge> {
        let bytes = postcard::to_stdvec(message).unwrap_or_default();
        if bytes.is_empty() || bytes.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(TooLarge { bytes: bytes.len(), descriptors: descriptors.len() });
        }
        Ok(Self { bytes, descriptors })
    }
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Watched for something to receive.
    socket: AsyncFd<OwnedFd>,
}

impl Wire {
    /// Takes a connected `SOCK_SEQPACKET` socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: wherry_base::watched(socket, Interest::READABLE)? })
    }

    /// Sends a message, waiting until the other end has room for it.
    pub(crate) async fn send(&self, packet: &Packet) -> io::Result<()> {
        match send(self.socket.get_ref().as_fd(), packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        // Only while there is none: a Unix socket that is watched for room tells of each message that is taken from it.
        let room = wherry_base::watched(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?;
        room.async_io(Interest::WRITABLE, |socket| send(socket.as_fd(), packet)).await
    }

    /// Receives a message; `None` at the end. One that is too long or not of this protocol is an error.
    pub(crate) async fn receive<M: DeserializeOwned>(
        &self,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        if buffer.len() < MESSAGE_BYTES_MAX {
            // Fresh from the system, of which only the pages that a message has reached take memory.
            *buffer = vec![0; MESSAGE_BYTES_MAX];
        }
        let received = self.socket.async_io(Interest::READABLE, |socket| receive(socket.as_fd(), buffer)).await?;
        let (length, descriptors) = received;
        if length == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(buffer.get(..length).unwrap_or_default());
        let message = message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Ok(Some((message, descriptors)))
    }
}

fn send(socket: BorrowedFd<'_>, packet: &Packet) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = packet.descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(&packet.bytes)], &mut control, flags)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message longer than any may be"));
    }
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (Wire, Wire) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Wire::new(a).unwrap(), Wire::new(b).unwrap())
    }

    #[tokio::test]
    async fn messages_keep_their_boundaries_and_descriptors() {
        let (here, there) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        here.send(&Packet::new(&"first", vec![]).unwrap()).await.unwrap();
        here.send(&Packet::new(&"second", vec![file.into()]).unwrap()).await.unwrap();
        drop(here);
        let mut buffer = Vec::new();
        let (message, descriptors) = there.receive::<String>(&mut buffer).await.unwrap().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("first", 0));
        let (message, mut descriptors) = there.receive::<String>(&mut buffer).await.unwrap().unwrap();
        assert_eq!(message, "second");
        let mut file = std::fs::File::from(descriptors.pop().unwrap());
        let mut content = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert!(there.receive::<String>(&mut buffer).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error_and_too_much_is_refused() {
        let (here, there) = pair();
        here.send(&Packet { bytes: vec![0xff; 9], descriptors: vec![] }).await.unwrap();
        assert!(there.receive::<String>(&mut Vec::new()).await.is_err());
        assert!(Packet::new(&vec![0_u8; MESSAGE_BYTES_MAX + 1], vec![]).is_err());
        let largest = Packet::new(&vec![7_u8; MESSAGE_BYTES_MAX - 3], vec![]).unwrap();
        here.send(&largest).await.unwrap();
        let (message, _) = there.receive::<Vec<u8>>(&mut Vec::new()).await.unwrap().unwrap();
        assert_eq!(message.len(), MESSAGE_BYTES_MAX - 3);
    }
}
