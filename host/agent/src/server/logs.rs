//! `/containerLogs/NAMESPACE/POD/CONTAINER`, with the options of `kubectl logs`.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use wherry_runtime::StdStream;

use crate::agent::AgentHandle;
use crate::logs::{ReadOptions, Since, read};
use crate::pod::Stage;
use crate::status;
use crate::worker::Worker;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameters {
    follow: Option<String>,
    previous: Option<String>,
    timestamps: Option<String>,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    since_seconds: Option<i64>,
    since_time: Option<jiff::Timestamp>,
    stream: Option<String>,
}

pub async fn logs(
    State(agent): State<AgentHandle>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let Some(worker) = agent.context.named(&namespace, &pod) else {
        return (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found\n")).into_response();
    };
    let run = match run_of(&worker, &container, truth(parameters.previous.as_ref())) {
        Ok(run) => run,
        Err((status, message)) => return (status, message).into_response(),
    };
    let stream = read(&agent.context.logs, &worker.pod, &container, run, &parameters.options());
    ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(stream)).into_response()
}

/// As Go's `strconv.ParseBool` reads it.
fn truth(word: Option<&String>) -> bool {
    matches!(word.map(String::as_str), Some("true" | "1" | "True" | "TRUE" | "t" | "T"))
}

impl Parameters {
    fn options(&self) -> ReadOptions {
        let seconds = self.since_seconds.map(Since::Seconds);
        let stream = match self.stream.as_deref() {
            Some("Stdout") => Some(StdStream::Out),
            Some("Stderr") => Some(StdStream::Err),
            _ => None,
        };
        ReadOptions {
            stream,
            tail_lines: self.tail_lines,
            since: seconds.or(self.since_time.map(Since::Time)),
            timestamps: truth(self.timestamps.as_ref()),
            follow: truth(self.follow.as_ref()),
            limit_bytes: self.limit_bytes,
        }
    }
}

/// Which run's log is meant; the error is what `kubectl logs` prints.
pub(super) fn run_of(worker: &Worker, container: &str, previous: bool) -> Result<u32, (StatusCode, String)> {
    let bad = |message: String| Err((StatusCode::BAD_REQUEST, message));
    let pod = &worker.pod.name;
    worker.inspect(|state| {
        let mut pairs = state.outline.containers.iter().zip(&state.slots);
        let Some((outline, slot)) = pairs.find(|(outline, _)| *outline.name == *container) else {
            return bad(format!("container {container} is not valid for pod {pod}"));
        };
        match (&slot.stage, previous) {
            (Stage::Running(_) | Stage::Ended(_), true) if slot.restarts > 0 => Ok(slot.restarts - 1),
            // A container that waits for its next run: its last one is both the present and the one before.
            (Stage::Held(_) | Stage::Creating, _) if slot.last.is_some() => {
                Ok(slot.restarts - u32::from(matches!(slot.stage, Stage::Creating) && slot.restarts > 0))
            }
            (_, true) => bad(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")),
            (Stage::Running(_) | Stage::Ended(_), false) => Ok(slot.restarts),
            (Stage::Held(_) | Stage::Idle | Stage::Creating, false) => {
                let why = match status::waiting_reason(state, outline, slot) {
                    "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image",
                    reason => reason,
                };
                bad(format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {why}"))
            }
        }
    })
}
