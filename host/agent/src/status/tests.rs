use serde_json::json;

use super::*;
use crate::pod::{Effect, Event, Hindrance, step};
use wherry_runtime::{Exit, ExitReason, PodRef, Survivor};

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u" },
        "spec": {
            "containers": [{ "name": "a", "image": "i", "readinessProbe": { "tcpSocket": { "port": 80 } } }],
            "restartPolicy": "Never",
        },
        "status": { "conditions": [{ "type": "PodScheduled", "status": "True" }] },
    }))
    .unwrap()
}

/// Phase, the conditions that hold, the container's state.
fn summary(state: &State, pod: &Pod) -> String {
    let status = of(state, pod, "10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let conditions = status.conditions.unwrap();
    let held: Vec<&str> = conditions.iter().filter(|c| c.status == "True").map(|c| c.type_.as_str()).collect();
    let container = &status.container_statuses.as_ref().unwrap()[0];
    let stage = container.state.as_ref().unwrap();
    let waiting = stage.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    let running = stage.running.as_ref().map(|_| "running".to_owned());
    let ended = stage.terminated.as_ref().and_then(|ended| ended.reason.clone());
    format!("{} [{}] {}", status.phase.unwrap(), held.join(" "), waiting.or(running).or(ended).unwrap())
}

#[test]
fn follows_the_state() {
    let pod = pod();
    let up = || Event::SetUp("10.128.0.2".parse().unwrap());
    let hindrance = || Hindrance { reason: "ErrImagePull", message: "m".into() };
    let started = || Event::Started { index: 0, id: "fake://1".into(), digest: "d".into() };
    let ready =
        || Event::Probed { index: 0, run: 2, probe: crate::pod::ProbeKind::Readiness, verdict: true, grace: None };
    let exited = |code| {
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::OomKilled };
        Event::Exited { index: 0, exit: Exit { code, reason, message: String::new() } }
    };
    let stop = || Event::Stop { why: Why::Deleted, grace: std::time::Duration::from_secs(1) };
    let live = "PodReadyToStartContainers Initialized";
    let cases: Vec<(Vec<Event>, String)> = vec![
        (vec![Event::Begin], "Pending [Initialized PodScheduled] ContainerCreating".into()),
        (
            vec![up(), Event::NotStarted { index: 0, hindrance: hindrance() }],
            format!("Pending [{live} PodScheduled] ErrImagePull"),
        ),
        (vec![up(), started()], format!("Running [{live} PodScheduled] running")),
        (vec![up(), started(), ready()], format!("Running [{live} Ready ContainersReady PodScheduled] running")),
        (vec![up(), started(), ready(), stop()], format!("Running [{live} PodScheduled] running")),
        (vec![up(), started(), exited(0)], "Succeeded [Initialized PodScheduled] Completed".into()),
        (vec![up(), started(), exited(137)], "Failed [Initialized PodScheduled] OOMKilled".into()),
        (
            vec![up(), started(), Event::Evict { message: "much".into() }, exited(0)],
            "Failed [Initialized PodScheduled DisruptionTarget] Completed".into(),
        ),
    ];
    for (events, expected) in cases {
        let mut state = resume(&pod, Timestamp::UNIX_EPOCH);
        for event in events {
            state = step(state, Timestamp::UNIX_EPOCH, event).0;
        }
        assert_eq!(summary(&state, &pod), expected);
    }
}

#[test]
fn what_a_lost_runtime_has_is_unknown() {
    let pod: Pod = serde_json::from_value(json!({
        "spec": { "containers": [{ "name": "a", "image": "i" }, { "name": "b", "image": "i" }] },
    }))
    .unwrap();
    let started = |index: usize, id: &str| Event::Started { index, id: id.into(), digest: "d".into() };
    let silence = |runtime, why: Option<&str>| Event::Silence { runtime, why: why.map(Into::into) };
    let mut state = resume(&pod, Timestamp::UNIX_EPOCH);
    let mut check = |event: Event, expected: [&str; 4]| {
        state = step(std::mem::take(&mut state), Timestamp::UNIX_EPOCH, event).0;
        let status = of(&state, &pod, "10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
        let conditions = status.conditions.unwrap();
        let ready = conditions.iter().find(|condition| condition.type_ == "ContainersReady").unwrap();
        let shown = |name: &str| {
            let statuses = status.container_statuses.iter().flatten();
            statuses.into_iter().any(|status| status.name == name && status.ready).to_string()
        };
        let message = ready.message.clone().unwrap_or_default();
        let told = [status.reason.unwrap_or_default(), format!("{} {message}", ready.status), shown("a"), shown("b")];
        assert_eq!(told, expected.map(str::to_owned));
    };
    check(
        Event::SetUp("10.128.0.2".parse().unwrap()),
        ["", "False containers with unready status: [a b]", "false", "false"],
    );
    check(started(0, "modules://1"), ["", "False containers with unready status: [b]", "true", "false"]);
    check(started(1, "linux://1"), ["", "True ", "true", "true"]);
    let unknown = "Unknown containers with unknown status: [b]: it hangs";
    check(silence("linux", Some("it hangs")), ["Unknown", unknown, "true", "false"]);
    let exit = Exit { code: 1, reason: ExitReason::Error, message: String::new() };
    let both = "False containers with unready status: [a]";
    check(Event::Exited { index: 0, exit }, ["Unknown", both, "false", "false"]);
    check(started(0, "modules://2"), ["Unknown", unknown, "true", "false"]);
    check(silence("linux", None), ["", "True ", "true", "true"]);
    let known = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
    let unknown = PodStatus { reason: Some("Unknown".into()), ..known.clone() };
    for (status, before, reason) in
        [(&known, &unknown, Some(json!(null))), (&known, &known, None), (&unknown, &unknown, Some(json!("Unknown")))]
    {
        let patch = patch(status, &Pod { status: Some(before.clone()), ..Pod::default() }).unwrap();
        let patch: serde_json::Value = serde_json::from_str(&patch).unwrap();
        assert_eq!((patch.get("reason").cloned(), &patch["phase"]), (reason, &json!("Running")));
    }
}

#[test]
fn takes_up_what_ran_with_one_restart_more() {
    let mut pod = pod();
    let status = json!([{ "name": "a", "image": "i", "imageID": "d", "ready": true, "restartCount": 2, "containerID": "fake://1",
        "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } } }]);
    pod.status.as_mut().unwrap().container_statuses = serde_json::from_value(status).unwrap();
    let state = resume(&pod, Timestamp::UNIX_EPOCH);
    assert_eq!(state.slots[0].restarts, 3);
    assert_eq!(state.slots[0].last.as_ref().unwrap().code, 137);
}

#[test]
fn classes_of_service() {
    let cases = [
        (json!({}), "BestEffort"),
        (json!({ "requests": { "cpu": "1" } }), "Burstable"),
        (json!({ "limits": { "cpu": "1", "memory": "1Gi" } }), "Guaranteed"),
        (
            json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m", "memory": "1Gi" } }),
            "Burstable",
        ),
    ];
    for (resources, expected) in cases {
        let spec = serde_json::from_value(json!({ "containers": [{ "name": "a", "resources": resources }] })).unwrap();
        assert_eq!(qos(Some(&spec)), expected, "{resources}");
    }
}

fn survivor(name: &str, run: u32, exit: Option<i32>) -> Survivor {
    let exit = exit.map(|code| Exit { code, reason: ExitReason::Error, message: String::new() });
    Survivor {
        id: format!("{name}{run}"),
        pod: PodRef { namespace: "default".into(), name: "web".into(), uid: "u".into() },
        address: [10, 128, 0, 2].into(),
        name: name.into(),
        run,
        reference: "i".into(),
        digest: "d".into(),
        since: Timestamp::UNIX_EPOCH,
        exit,
        runtime: "fake",
        place: String::new(),
    }
}

/// Each container's restarts, what it does, and how its run before ended.
fn inherited(statuses: &serde_json::Value, policy: &str, survivors: &[Survivor]) -> String {
    let pod = serde_json::from_value(json!({
        "spec": { "restartPolicy": policy, "initContainers": [{ "name": "i", "image": "i" }], "containers": [{ "name": "c", "image": "i" }] },
        "status": { "initContainerStatuses": [statuses["i"]], "containerStatuses": [statuses["c"]] },
    }));
    let state = inherit(&pod.unwrap(), survivors, Timestamp::UNIX_EPOCH);
    let one = |slot: &Slot| {
        let stage = match &slot.stage {
            Stage::Running(live) => format!("runs {} since {}", live.id, live.since.as_second()),
            Stage::Ended(ending) => format!("ended {}", ending.code),
            stage => format!("{stage:?}").to_lowercase(),
        };
        let last = slot.last.as_ref().map(|ending| format!(" after {}", ending.code)).unwrap_or_default();
        format!("{} {stage}{last}", slot.restarts)
    };
    state.slots.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_left_goes_on_and_what_has_ended_stays_ended() {
    let status = |name: &str, restarts: u32, state: serde_json::Value| {
        let id = format!("fake://{name}{restarts}");
        json!({ "name": name, "image": "i", "imageID": "d", "ready": true, "restartCount": restarts, "containerID": id, "state": state })
    };
    let running = || json!({ "running": { "startedAt": "1970-01-01T00:00:09Z" } });
    let ended =
        |id: &str, code: i32| json!({ "terminated": { "exitCode": code, "containerID": format!("fake://{id}") } });
    let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
    let done = status("i", 0, ended("i0", 0));
    let with = |main: serde_json::Value| json!({ "i": done, "c": main });
    let check = |main: serde_json::Value, policy: &str, survivors: &[Survivor], expected: &str| {
        assert_eq!(inherited(&with(main), policy, survivors), format!("0 ended 0, {expected}"));
    };
    let runs = |run| survivor("c", run, None);
    check(status("c", 0, running()), "OnFailure", &[runs(0)], "0 runs fake://c0 since 9");
    check(status("c", 2, running()), "OnFailure", &[runs(2)], "2 runs fake://c2 since 9");
    // The status was not written any more.
    check(status("c", 0, waiting("ContainerCreating")), "OnFailure", &[runs(0)], "0 runs fake://c0 since 0");
    let crashed = survivor("c", 0, Some(3));
    check(status("c", 0, running()), "OnFailure", &[crashed.clone(), runs(1)], "1 runs fake://c1 since 0 after 3");
    check(status("c", 0, running()), "OnFailure", &[runs(1)], "1 runs fake://c1 since 0 after 137");
    // Its end is heard like any other.
    check(status("c", 0, running()), "OnFailure", std::slice::from_ref(&crashed), "0 runs fake://c0 since 9");
    check(status("c", 0, ended("c0", 3)), "Never", std::slice::from_ref(&crashed), "0 ended 3");
    let mut back_off = status("c", 0, waiting("CrashLoopBackOff"));
    back_off["lastState"] = ended("c0", 3);
    check(back_off.clone(), "OnFailure", std::slice::from_ref(&crashed), "1 idle after 3");
    let mut again = status("c", 1, waiting("ContainerCreating"));
    again["lastState"] = ended("c0", 3);
    check(again, "OnFailure", &[crashed], "1 idle after 3");
    // An init container that runs: the main one has not had its turn.
    let statuses = json!({ "i": status("i", 0, running()), "c": status("c", 0, waiting("PodInitializing")) });
    assert_eq!(inherited(&statuses, "Always", &[survivor("i", 0, None)]), "0 runs fake://i0 since 9, 0 idle");
}

#[test]
fn what_a_lost_runtime_had_is_remembered_and_probed_when_it_is_heard() {
    let status = |name: &str, id: &str, state: &str| json!({ "name": name, "image": "i", "imageID": "d", "ready": true, "restartCount": 2, "containerID": id, "state": { state: {} } });
    let probe = json!({ "tcpSocket": { "port": 80 } });
    let probed = |name: &str| json!({ "name": name, "image": "i", "livenessProbe": probe });
    let statuses = [
        status("a", "linux://1", "running"),
        status("b", "modules://2", "running"),
        status("c", "linux://3", "terminated"),
    ];
    let pod: Pod = serde_json::from_value(json!({
        "spec": { "restartPolicy": "Never", "containers": [probed("a"), probed("b"), probed("c")] },
        "status": { "podIP": "10.128.0.2", "containerStatuses": statuses },
    }))
    .unwrap();
    let name = PodRef { namespace: "default".into(), name: "web".into(), uid: "u".into() };
    let left = remembered(&pod, &name, "linux");
    let told: Vec<_> = left.iter().map(|left| (&*left.name, &*left.id, left.run, &left.pod)).collect();
    assert_eq!(told, [("a", "1", 2, &name)]);

    let mut state = inherit(&pod, &left, Timestamp::UNIX_EPOCH);
    let mut probes = |event| {
        let (next, effects) = step(std::mem::take(&mut state), Timestamp::UNIX_EPOCH, event);
        state = next;
        effects
            .into_iter()
            .filter_map(|effect| if let Effect::Probe(index) = effect { Some(index) } else { None })
            .collect::<Vec<_>>()
    };
    let silence = |why: Option<&str>| Event::Silence { runtime: "linux", why: why.map(Into::into) };
    assert!(probes(silence(Some("it hangs"))).is_empty());
    assert!(probes(Event::Begin).is_empty(), "nobody reaches it yet");
    assert_eq!(probes(silence(None)), [0]);
}
