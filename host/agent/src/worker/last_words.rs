//! What a container left as the message of its end.

use std::sync::Arc;

use wherry_runtime::Exit;

use super::Worker;
use super::start::container_at;
use crate::logs;
use crate::termination;

impl Worker {
    /// The exit, with what the container wrote for it or, if the pod says so, printed last.
    pub(super) async fn with_last_words(self: &Arc<Self>, index: usize, exit: Exit) -> Exit {
        let (pod, run) = {
            let mut live = self.live();
            (live.pod(), live.state.slots.get(index).map_or(0, |slot| slot.restarts))
        };
        let Some(fields) = pod.spec.as_ref().and_then(|spec| container_at(spec, index)) else { return exit };
        let mut words = String::new();
        if let Some(path) = termination::file(&self.context.messages_folder(&self.pod), fields) {
            words = wherry_base::spawn_blocking(move || termination::read(&path)).await.unwrap_or_default();
        }
        if words.is_empty() && termination::wants_log(fields, &exit) {
            let log = logs::read(&self.context.logs, &self.pod, &fields.name, run, &termination::log_options());
            words = termination::end_of(log).await;
        }
        Exit { message: termination::joined(exit.message, &words), ..exit }
    }
}
