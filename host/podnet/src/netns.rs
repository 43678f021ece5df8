//! A thread that lives in a pod's network namespace, and makes its sockets: a socket keeps the namespace it was made in, and
//! any thread may use it.
//!
//! One thread a pod, not one for all that enters namespaces in turn: a pod whose namespace the kernel is slow with holds up
//! no other, and the thread ends with its pod.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::thread::LinkNameSpaceType;

type Job = Box<dyn FnOnce() + Send>;

/// How many jobs wait; who has more waits to hand them over.
const JOBS_MAX: usize = 64;

/// The way into a namespace; its thread ends with it.
pub(crate) struct Netns(SyncSender<Job>);

impl Netns {
    /// Enters a namespace: a descriptor of `/proc/PID/ns/net`.
    pub(crate) fn enter(namespace: OwnedFd) -> io::Result<Self> {
        let (sender, jobs) = sync_channel::<Job>(JOBS_MAX);
        let (entered, has_entered) = sync_channel(1);
        std::thread::Builder::new().name("podnet".to_owned()).spawn(move || {
            let outcome =
                rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let is_in = outcome.is_ok();
            let _nobody_waits = entered.send(outcome);
            if is_in {
                work(&jobs);
            }
        })?;
        has_entered.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
        Ok(Self(sender))
    }

    /// Does `job` there, and waits for it: jobs make sockets and do not wait themselves.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, done) = sync_channel(1);
        let job = Box::new(move || {
            let _nobody_waits = sender.send(job());
        });
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(job).map_err(|_| gone())?;
        done.recv().map_err(|_| gone())?
    }
}

fn work(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job();
    }
}
