//! The conditions of a Node. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeCondition, NodeStatus};
use wherry_api::kinds::Time;
use wherry_runtime::Availability;

/// What is to be told of a node.
pub struct Facts<'a> {
    /// Its disk is almost full.
    pub is_pressed: bool,
    /// What keeps guests in sandboxes and the machine lacks.
    pub lacking: &'a [String],
    /// The runtimes that come and go.
    pub runtimes: Vec<(&'static str, Availability)>,
}

/// The conditions; each keeps the time of its last change that it had `before`.
pub fn conditions(before: Option<&NodeStatus>, now: Timestamp, facts: &Facts<'_>) -> Vec<NodeCondition> {
    let disk = if facts.is_pressed {
        ("DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure")
    } else {
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
    };
    let lack = facts.lacking.join(" ");
    let confinement = if facts.lacking.is_empty() {
        ("SandboxConfinement", "True", "ConfinementComplete", "all that keeps guests in their sandboxes is in force")
    } else {
        ("SandboxConfinement", "False", "ConfinementIncomplete", lack.as_str())
    };
    let runtimes = runtimes(&facts.runtimes);
    let rows = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        disk,
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        confinement,
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let one = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let same = before
            .and_then(|before| before.conditions.as_ref()?.iter().find(|c| c.type_ == kind && c.status == status));
        NodeCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: same.and_then(|same| same.last_transition_time.clone()).or(Some(Time(now))),
        }
    };
    let coming = runtimes.iter().map(|(status, reason, message)| ("RuntimesReady", *status, *reason, message.as_str()));
    rows.into_iter().chain(coming).map(one).collect()
}

/// Status, reason and message of the runtimes that come and go; of those that were never there nothing is said.
fn runtimes(all: &[(&'static str, Availability)]) -> Option<(&'static str, &'static str, String)> {
    let told = |(name, now): &(&str, Availability)| match now {
        Availability::Absent(_) => None,
        Availability::Ready(what) => Some((true, format!("{name}: {what}"))),
        Availability::Lost(why) => Some((false, format!("{name}: {why}"))),
    };
    let (well, texts): (Vec<bool>, Vec<String>) = all.iter().filter_map(told).unzip();
    let (status, reason) =
        if well.iter().all(|well| *well) { ("True", "RuntimesReady") } else { ("False", "RuntimeLost") };
    (!texts.is_empty()).then(|| (status, reason, texts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_a_condition() {
        let now = Timestamp::UNIX_EPOCH;
        let check = |lacking: &[&str], status: &str, message: &str| {
            let lacking: Vec<String> = lacking.iter().map(|&lack| lack.to_owned()).collect();
            let all = conditions(None, now, &Facts { is_pressed: false, lacking: &lacking, runtimes: vec![] });
            let found = all.iter().find(|condition| condition.type_ == "SandboxConfinement").unwrap();
            assert_eq!((found.status.as_str(), found.message.as_deref()), (status, Some(message)));
        };
        check(&[], "True", "all that keeps guests in their sandboxes is in force");
        check(&["No Landlock.", "No cgroup."], "False", "No Landlock. No cgroup.");
    }

    #[test]
    fn a_runtime_that_is_lost_is_a_condition() {
        let check = |now: Availability, expected: Option<(&str, &str)>| {
            let facts = Facts { is_pressed: false, lacking: &[], runtimes: vec![("x", now)] };
            let all = conditions(None, Timestamp::UNIX_EPOCH, &facts);
            let found = all.iter().find(|condition| condition.type_ == "RuntimesReady");
            assert_eq!(found.map(|found| (found.status.as_str(), found.message.as_deref().unwrap())), expected);
        };
        check(Availability::Absent("no socket".into()), None);
        check(Availability::Ready("X 1.0".into()), Some(("True", "x: X 1.0")));
        check(Availability::Lost("it is silent".into()), Some(("False", "x: it is silent")));
    }
}
