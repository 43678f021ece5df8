//! Cells of pods: what one word says of the whole pod's state.

use jiff::Timestamp;
use serde_json::Value;

use super::age::human;
use super::view::{NONE, age_of, condition, flag, list, name, number, text, text_or};

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let address = list(pod, "/status/podIPs").first().map_or(text(pod, "/status/podIP"), |ip| text(ip, "/ip"));
    vec![
        name(pod),
        format!("{}/{}", summary.ready, total(pod)).into(),
        summary.reason.into(),
        summary.restarts.cell(now).into(),
        age_of(pod, now),
        Some(address).filter(|ip| !ip.is_empty()).unwrap_or(NONE).into(),
        text_or(pod, "/spec/nodeName", NONE).into(),
        text_or(pod, "/status/nominatedNodeName", NONE).into(),
        gates(pod).into(),
    ]
}

/// How often containers were restarted, and when the last of them ended.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        let ended = text(status, "/lastState/terminated/finishedAt").parse().ok();
        self.count += number(status, "/restartCount");
        self.last = self.last.max(ended);
    }

    fn cell(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => format!("{} ({} ago)", self.count, human(now, last)),
            _ => self.count.to_string(),
        }
    }
}

struct Summary {
    reason: String,
    ready: usize,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let mut summary = Self { reason: phase_reason(pod).to_owned(), ready: 0, restarts: Restarts::default() };
        let initializing = summary.add_init(pod);
        if !initializing || condition(pod, "Initialized") == "True" {
            summary.add_main(pod);
        }
        if pod.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string) {
            summary.add_deletion(pod);
        }
        summary
    }

    /// Goes through the init containers up to the first that holds up the pod; tells whether one does.
    fn add_init(&mut self, pod: &Value) -> bool {
        let count = list(pod, "/spec/initContainers").len();
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            self.restarts.add(status);
            if has(status, "/state/terminated") && number(status, "/state/terminated/exitCode") == 0 {
                continue;
            }
            if is_sidecar(pod, text(status, "/name")) && flag(status, "/started") {
                self.ready += usize::from(flag(status, "/ready"));
                continue;
            }
            self.reason = init_reason(status).unwrap_or_else(|| format!("Init:{index}/{count}"));
            return true;
        }
        false
    }

    fn add_main(&mut self, pod: &Value) {
        self.restarts = Restarts::default();
        let sidecars = list(pod, "/status/initContainerStatuses").iter();
        sidecars.filter(|status| is_sidecar(pod, text(status, "/name"))).for_each(|s| self.restarts.add(s));
        let mut running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.restarts.add(status);
            if let Some(reason) = main_reason(status) {
                self.reason = reason;
            } else if flag(status, "/ready") && has(status, "/state/running") {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition(pod, "Ready") == "True";
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn add_deletion(&mut self, pod: &Value) {
        let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if text(pod, "/status/reason") == "NodeLost" {
            self.reason = "Unknown".to_owned();
        } else if !ended {
            self.reason = "Terminating".to_owned();
        }
    }
}

fn has(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).is_some_and(Value::is_object)
}

fn phase_reason(pod: &Value) -> &str {
    let gated = |c: &Value| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated";
    if list(pod, "/status/conditions").iter().any(gated) {
        return "SchedulingGated";
    }
    text_or(pod, "/status/reason", text(pod, "/status/phase"))
}

/// Whether the init container of that name restarts, and so runs beside the others.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    let found = list(pod, "/spec/initContainers").iter().find(|container| text(container, "/name") == name);
    found.is_some_and(|container| text(container, "/restartPolicy") == "Always")
}

fn total(pod: &Value) -> usize {
    let sidecars = list(pod, "/spec/initContainers").iter().filter(|c| text(c, "/restartPolicy") == "Always");
    list(pod, "/spec/containers").len() + sidecars.count()
}

fn init_reason(status: &Value) -> Option<String> {
    if has(status, "/state/terminated") {
        return Some(format!("Init:{}", end_reason(status)));
    }
    let waiting = Some(text(status, "/state/waiting/reason")).filter(|r| !r.is_empty() && *r != "PodInitializing");
    waiting.map(|reason| format!("Init:{reason}"))
}

fn main_reason(status: &Value) -> Option<String> {
    match text(status, "/state/waiting/reason") {
        "" if has(status, "/state/terminated") => Some(end_reason(status)),
        "" => None,
        reason => Some(reason.to_owned()),
    }
}

/// Why a terminated container ended: its reason, or else its signal, or else its exit code.
fn end_reason(status: &Value) -> String {
    match (text(status, "/state/terminated/reason"), number(status, "/state/terminated/signal")) {
        ("", 0) => format!("ExitCode:{}", number(status, "/state/terminated/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType")) == "True").count();
    format!("{open}/{}", gates.len())
}
