//! Starting a container of the engine exactly once, though the answer may be lost.
//!
//! An engine that is busy may start a container and say so too late. Who took that for a failure would start the pod's container a
//! second time, beside or after one that has run.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::StartContainerOptions;
use wherry_base::Backoff;

use crate::engine::{CHANGE_MAX, EngineError, within};
use crate::inner::Inner;
use crate::survivors::since;

/// The first and the longest wait before the engine is asked again what came of a start.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Inner {
    /// Starts a container, and tells how it is. Where the engine does not say what came of it, it is asked until it does: that is
    /// an error only where the container has not been started. Whoever waits no longer removes the container.
    pub async fn begin(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        let engine = self.engine.get()?;
        let asked = within(CHANGE_MAX, engine.api.start_container(name, None::<StartContainerOptions>)).await;
        let doubt = match asked {
            Ok(()) => None,
            Err(doubt @ EngineError::Silent(_)) => Some(doubt),
            Err(refusal) => return Err(refusal),
        };
        let found = self.inspect_surely(name).await?;
        match doubt {
            Some(doubt) if found.state.as_ref().and_then(since).is_none() => Err(doubt),
            _ => Ok(found),
        }
    }

    /// All that the engine knows of a container, whenever it answers.
    async fn inspect_surely(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match self.inspect(name).await {
                Err(EngineError::Silent(why)) => {
                    tracing::warn!(name, why, "what came of a container's start is not known yet");
                    tokio::time::sleep(backoff.fail()).await;
                }
                answer => return answer,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEngine;
    use crate::sandbox::pid_of;

    const MADE: &str = r#"{"State": {"Running": false, "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"}}"#;
    const RUNS: &str = r#"{"State": {"Running": true, "Pid": 7, "StartedAt": "2026-01-01T00:00:00Z"}}"#;
    const ENDED: &str = r#"{"State": {"Running": false, "Pid": 0, "StartedAt": "2026-01-01T00:00:00Z"}}"#;

    /// An engine that answers a start so, or never, and the first questions about the container never, the next so.
    async fn engine(start: Option<(u16, &'static str)>, unanswered: u32, state: &'static str) -> FakeEngine {
        let mut questions = 0;
        FakeEngine::start(move |call| {
            if call.starts_with("POST /containers/c/start") {
                return start.map(|(status, body)| (status, body.to_owned()));
            }
            if !call.starts_with("GET /containers/c/json") {
                return Some((404, "{}".to_owned()));
            }
            questions += 1;
            (questions > unanswered).then(|| (200, state.to_owned()))
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_whose_answer_is_late_is_one_start() {
        for (start, unanswered, state, pid) in [
            (Some((204, "")), 0, RUNS, Some(7)),
            (Some((204, "")), 3, RUNS, Some(7)),
            (None, 0, RUNS, Some(7)),
            (None, 3, ENDED, None),
        ] {
            let engine = engine(start, unanswered, state).await;
            let found = engine.inner.begin("c").await.unwrap();
            assert_eq!((pid_of(&found), engine.asked("/start")), (pid, 1), "{start:?} {unanswered} {state}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_came_to_nothing_is_an_error() {
        let lost = engine(None, 1, MADE).await;
        assert!(matches!(lost.inner.begin("c").await, Err(EngineError::Silent(_))));
        let refused = engine(Some((500, r#"{"message": "no such program"}"#)), 0, MADE).await;
        assert_eq!(refused.inner.begin("c").await, Err(EngineError::Refused("no such program".to_owned())));
        assert_eq!(refused.asked("/json"), 0);
    }
}
