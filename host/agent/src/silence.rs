//! Runtimes that are lost for a while: what is known of their containers is said to be unknown, until they are heard again.
//!
//! One task for each runtime that comes and goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wherry_runtime::Availability;

use crate::context::Context;
use crate::pod::Event;
use crate::runtimes::loss;

/// How long a runtime may be lost before its containers' status is unknown: a kubelet's patience with its own. What is only
/// started anew comes back sooner.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows all runtimes until the context's drain.
pub fn spawn(context: &Arc<Context>) {
    for (runtime, now) in context.runtimes.follow() {
        context.drain.vital().spawn(follow(Arc::clone(context), runtime, now));
    }
}

async fn follow(context: Arc<Context>, runtime: &'static str, mut now: watch::Receiver<Availability>) {
    let tell = |why: Option<Arc<str>>| {
        context.all().iter().for_each(|worker| worker.feed(Event::Silence { runtime, why: why.clone() }));
    };
    // What is taken over from a lost runtime is unknown from the start. It may be back by then.
    context.inherited.cancelled().await;
    let mut why = loss(runtime, &now.borrow_and_update());
    loop {
        if why.is_some() {
            tell(why);
            if now.wait_for(|now| !now.is_lost()).await.is_err() {
                return;
            }
        }
        tell(None);
        why = lost_for_long(runtime, &mut now).await;
        if why.is_none() {
            return;
        }
    }
}

/// Resolves, with why, when the runtime has been lost for long; `None`: there is nobody any more who could tell.
async fn lost_for_long(runtime: &str, now: &mut watch::Receiver<Availability>) -> Option<Arc<str>> {
    loop {
        let why = loss(runtime, &*now.wait_for(Availability::is_lost).await.ok()?);
        if tokio::time::timeout(PATIENCE, now.wait_for(|now| !now.is_lost())).await.is_err() {
            return why;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_soon_was_not_lost_for_long() {
        let sender = watch::Sender::new(Availability::Ready(String::new()));
        let mut now = sender.subscribe();
        let changes = async {
            for (then, after) in [
                (Availability::Lost("hangs".into()), PATIENCE / 2),
                (Availability::Ready(String::new()), PATIENCE * 2),
                (Availability::Absent("gone".into()), PATIENCE * 2),
                (Availability::Lost("hangs again".into()), PATIENCE * 2),
            ] {
                sender.send_replace(then);
                tokio::time::sleep(after).await;
            }
        };
        let (told, ()) = tokio::join!(lost_for_long("x", &mut now), changes);
        assert_eq!(told.as_deref(), Some("x: hangs again"));
    }
}
