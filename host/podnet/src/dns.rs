//! The resolver of a pod's containers: what a name means to the pod, as messages of RFC 1035 over UDP and TCP.
//!
//! Addresses of IPv4 are answered, other records of a name that exists are none. A name of the world is one that does not
//! exist to a pod that may not leave the cluster: what else a resolver may say, some C libraries wait for to be taken back.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wherry_vnet::{Namespace, Resolution, Stream};

use crate::podnet::PodNet;

/// How many questions of a pod's containers are answered at once, over UDP and over TCP together.
const ASKED_MAX: usize = 256;

/// How many of the places connections take, so that some are left for datagrams.
const CONNECTIONS_MAX: usize = 64;

/// How long a question is at most, in bytes: names are short, and nothing else in it is looked at.
const QUESTION_BYTES_MAX: usize = 1024;

/// How long an answer over UDP is to who does not say more, and to who does.
const ANSWER_BYTES: u16 = 512;
const ANSWER_BYTES_MAX: u16 = 4096;

/// For how long an answer may be kept, in seconds: as long as the resolvers of clusters say.
const TTL_SECONDS: u32 = 5;

/// How long a connection may ask nothing.
const IDLE_MOST: Duration = Duration::from_secs(10);

pub(crate) struct Resolver {
    at: SocketAddr,
    asked: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(at: SocketAddr) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self { at, asked: semaphore(ASKED_MAX), connections: semaphore(CONNECTIONS_MAX) }
    }

    /// Where it is.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Answers a datagram that a container has sent from `port`. Whether there is room for one more.
    pub(crate) fn ask(&self, net: &Arc<PodNet>, port: u16, question: &[u8]) -> bool {
        let (SocketAddr::V4(from), Ok(place)) = (self.at, Arc::clone(&self.asked).try_acquire_owned()) else {
            return false;
        };
        let (net, question) = (Arc::clone(net), Bytes::copy_from_slice(question));
        Arc::clone(&net).spawn(async move {
            if let Some(namespace) = net.namespace()
                && let Some(answer) = answer(&namespace, &question, Transport::Datagram).await
            {
                net.inject(from, net.at(port), &answer);
            }
            drop(place);
        });
        true
    }

    /// What answers over a connection, until its end.
    pub(crate) fn serve(&self, net: &Arc<PodNet>, mut stream: Stream) -> io::Result<impl Future<Output = ()> + use<>> {
        let full = |_| io::Error::from(io::ErrorKind::ResourceBusy);
        let place = Arc::clone(&self.connections).try_acquire_owned().map_err(full)?;
        let net = Arc::clone(net);
        Ok(async move {
            // Idle or broken, or at its end: it is over.
            while let Ok(Ok(question)) = timeout(IDLE_MOST, question(&mut stream)).await {
                let Some(namespace) = net.namespace() else { break };
                let Some(answer) = answer(&namespace, &question, Transport::Stream).await else { break };
                let answer = prefixed(&answer);
                if !timeout(IDLE_MOST, stream.write_all(&answer)).await.is_ok_and(|written| written.is_ok()) {
                    break;
                }
            }
            drop(place);
        })
    }
}

/// What an answer goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Datagram,
    Stream,
}

/// A message of a connection: its length comes first (RFC 1035, 4.2.2).
async fn question(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUESTION_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(question)
}

fn prefixed(answer: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(2 + answer.len());
    message.put_u16(u16::try_from(answer.len()).unwrap_or(u16::MAX));
    message.put_slice(answer);
    message.freeze()
}

/// The answer to a question. `None`: it is none.
async fn answer(namespace: &Arc<Namespace>, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
    if question.len() > QUESTION_BYTES_MAX {
        return None;
    }
    let asked = Message::from_vec(question).ok().filter(|asked| asked.message_type == MessageType::Query)?;
    let mut reply = Message::response(asked.id, asked.op_code);
    reply.metadata.recursion_desired = asked.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = match &asked.queries[..] {
        _ if asked.op_code != OpCode::Query => ResponseCode::NotImp,
        [query] => {
            let (code, records) = records(namespace, query).await;
            reply.add_query(query.clone()).add_answers(records);
            code
        }
        _ => ResponseCode::FormErr,
    };
    let answer = reply.to_vec().ok()?;
    let most =
        asked.edns.as_ref().map_or(ANSWER_BYTES, |edns| edns.max_payload()).clamp(ANSWER_BYTES, ANSWER_BYTES_MAX);
    if transport == Transport::Datagram && answer.len() > usize::from(most) {
        return reply.truncate().to_vec().ok();
    }
    Some(answer)
}

async fn records(namespace: &Arc<Namespace>, query: &Query) -> (ResponseCode, Vec<Record>) {
    if query.query_class() != DNSClass::IN {
        return (ResponseCode::NotImp, Vec::new());
    }
    let name = query.name().to_ascii();
    let addresses = match namespace.resolve(&name).await {
        Ok(addresses) => addresses,
        Err(Resolution::Missing | Resolution::Foreign) => return (ResponseCode::NXDomain, Vec::new()),
        Err(_) => return (ResponseCode::ServFail, Vec::new()),
    };
    let wanted = addresses.into_iter().filter(|_| query.query_type() == RecordType::A);
    let record = |address| match address {
        IpAddr::V4(address) => Some(Record::from_rdata(query.name().clone(), TTL_SECONDS, RData::A(A(address)))),
        IpAddr::V6(_) => None,
    };
    (ResponseCode::NoError, wanted.filter_map(record).collect())
}
