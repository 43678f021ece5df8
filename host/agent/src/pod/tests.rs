use std::net::Ipv4Addr;

use wherry_base::Rng;
use wherry_runtime::ExitReason;

use super::*;

/// `i:` init, `s:` sidecar, anything else main; `+startup`, `+live`, `+ready` name probes.
fn outline(containers: &str, restart: RestartPolicy) -> Arc<Outline> {
    let one = |text: &str| {
        let mut words = text.split('+');
        let (role, name) = match words.next().unwrap().split_once(':') {
            Some(("i", name)) => (Role::Init, name),
            Some(("s", name)) => (Role::Sidecar, name),
            _ => (Role::Main, text.split('+').next().unwrap()),
        };
        let probes: Vec<&str> = words.collect();
        ContainerOutline {
            name: name.into(),
            image: "image".into(),
            role,
            startup: probes.contains(&"startup"),
            liveness: probes.contains(&"live"),
            readiness: probes.contains(&"ready"),
        }
    };
    let containers = containers.split(' ').map(one).collect();
    Arc::new(Outline { title: "p".into(), containers, restart, grace_seconds: 30, deadline_seconds: None })
}

fn up() -> Event {
    Event::SetUp(Ipv4Addr::new(10, 128, 0, 2).into())
}

fn started(index: usize) -> Event {
    Event::Started { index, id: "fake://1".into(), digest: "sha256:1".into() }
}

fn exited(index: usize, code: i32) -> Event {
    Event::Exited { index, exit: Exit { code, reason: ExitReason::Error, message: String::new() } }
}

fn stop(why: Why) -> Event {
    Event::Stop { why, grace: Duration::from_secs(30) }
}

fn show(effect: &Effect) -> Option<String> {
    match effect {
        Effect::SetUp => Some("set-up".into()),
        Effect::Start(index) => Some(format!("start {index}")),
        Effect::Stop { index, grace } => Some(format!("stop {index} in {}s", grace.as_secs())),
        Effect::Probe(index) => Some(format!("probe {index}")),
        Effect::Timer(after, _) => Some(format!("wait {}s", after.as_secs())),
        Effect::Release => Some("release".into()),
        Effect::Delete => Some("delete".into()),
        Effect::Forget => Some("forget".into()),
        Effect::Report(_) | Effect::Emit(_) => None,
    }
}

/// Runs events, one a second, after `Begin` and `SetUp`; gives the effects of each in words, reports and notices left out.
fn trace(containers: &str, restart: RestartPolicy, events: Vec<Event>) -> (State, Vec<String>) {
    let mut state = State::new(outline(containers, restart));
    let mut lines = Vec::new();
    for (second, event) in [Event::Begin, up()].into_iter().chain(events).enumerate() {
        let at = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let (next, effects) = step(state, at, event);
        state = next;
        lines.push(effects.iter().filter_map(show).collect::<Vec<_>>().join(", "));
    }
    (state, lines.split_off(1))
}

fn check(containers: &str, restart: RestartPolicy, events: Vec<Event>, expected: &[&str], phase: Phase) {
    let (state, lines) = trace(containers, restart, events);
    assert_eq!(lines, expected, "{containers}");
    assert_eq!(state.phase, phase, "{containers}");
}

#[test]
fn starts_in_order() {
    use RestartPolicy::Always;
    check("a b", Always, vec![started(0), started(1)], &["start 0, start 1", "", ""], Phase::Running);
    check(
        "i:x s:y i:z a",
        Always,
        vec![started(0), exited(0, 0), started(1), started(2), exited(2, 0)],
        &["start 0", "", "start 1", "start 2", "", "start 3"],
        Phase::Running,
    );
    check("s:y+startup a", Always, vec![started(0)], &["start 0", "probe 0"], Phase::Starting);
    let probed = Event::Probed { index: 0, run: 2, probe: ProbeKind::Startup, verdict: true, grace: None };
    check("s:y+startup a", Always, vec![started(0), probed], &["start 0", "probe 0", "start 1"], Phase::Running);
}

#[test]
fn restarts_by_policy() {
    use RestartPolicy::{Always, Never, OnFailure};
    let timer = |turn| Event::Timer(Timer::Slot { index: 0, turn });
    check(
        "a",
        Always,
        vec![started(0), exited(0, 0), started(0), exited(0, 1), timer(5), started(0), exited(0, 1)],
        &["start 0", "", "start 0", "", "wait 10s", "start 0", "", "wait 20s"],
        Phase::Running,
    );
    check(
        "a",
        Always,
        vec![started(0), exited(0, 1), started(0), exited(0, 1), timer(1)],
        &["start 0", "", "start 0", "", "wait 10s", ""],
        Phase::Running,
    );
    check(
        "a",
        OnFailure,
        vec![started(0), exited(0, 0)],
        &["start 0", "", "release"],
        Phase::Terminated(Why::Finished),
    );
    check("a", OnFailure, vec![started(0), exited(0, 3)], &["start 0", "", "start 0"], Phase::Running);
    check(
        "a b",
        Never,
        vec![started(0), started(1), exited(0, 3), exited(1, 0)],
        &["start 0, start 1", "", "", "", "release"],
        Phase::Terminated(Why::Finished),
    );
    check(
        "i:x a",
        Never,
        vec![started(0), exited(0, 3)],
        &["start 0", "", "release"],
        Phase::Terminated(Why::Finished),
    );
    check("i:x a", Always, vec![started(0), exited(0, 3)], &["start 0", "", "start 0"], Phase::Starting);
    let crash = Event::StartFailed { index: 0, reason: "StartError", message: String::new() };
    check("a", Never, vec![crash], &["start 0", "release"], Phase::Terminated(Why::Finished));
}

#[test]
fn waits_for_images_and_configuration() {
    let missing = |reason| Event::NotStarted { index: 0, hindrance: Hindrance { reason, message: "m".into() } };
    let timer = |turn| Event::Timer(Timer::Slot { index: 0, turn });
    check(
        "a",
        RestartPolicy::Always,
        vec![missing("ErrImagePull"), timer(2), timer(3), missing("ErrImagePull"), timer(5), timer(6)],
        &["start 0", "wait 1s", "wait 9s", "start 0", "wait 1s", "wait 19s", "start 0"],
        Phase::Running,
    );
    check(
        "a",
        RestartPolicy::Always,
        vec![missing("CreateContainerConfigError"), timer(2), started(0)],
        &["start 0", "wait 1s", "start 0", ""],
        Phase::Running,
    );
}

#[test]
fn stops_sidecars_last() {
    check(
        "s:x s:y a b",
        RestartPolicy::Always,
        vec![
            started(0),
            started(1),
            started(2),
            started(3),
            stop(Why::Deleted),
            exited(2, 0),
            exited(3, 0),
            exited(1, 0),
            exited(0, 0),
        ],
        &[
            "start 0",
            "start 1",
            "start 2, start 3",
            "",
            "",
            "stop 2 in 30s, stop 3 in 30s",
            "",
            "stop 1 in 28s",
            "stop 0 in 27s",
            "release, delete",
        ],
        Phase::Terminated(Why::Deleted),
    );
    check(
        "s:x a",
        RestartPolicy::Never,
        vec![started(0), started(1), exited(1, 0), exited(0, 0)],
        &["start 0", "start 1", "", "stop 0 in 30s", "release"],
        Phase::Terminated(Why::Finished),
    );
}

#[test]
fn ends_whatever_it_does() {
    use RestartPolicy::Always;
    let deleted = Phase::Terminated(Why::Deleted);
    check(
        "a",
        Always,
        vec![stop(Why::Deleted)],
        &["start 0", ""],
        Phase::Terminating { why: Why::Deleted, until: Timestamp::from_second(32).unwrap() },
    );
    check(
        "a",
        Always,
        vec![stop(Why::Deleted), started(0), exited(0, 0)],
        &["start 0", "", "stop 0 in 29s", "release, delete"],
        deleted.clone(),
    );
    let force = Event::Stop { why: Why::Deleted, grace: Duration::ZERO };
    check(
        "a",
        Always,
        vec![started(0), stop(Why::Deleted), force, exited(0, 137)],
        &["start 0", "", "stop 0 in 30s", "stop 0 in 0s", "release, delete"],
        deleted.clone(),
    );
    check(
        "a",
        Always,
        vec![started(0), stop(Why::Shutdown), exited(0, 0), stop(Why::Gone)],
        &["start 0", "", "stop 0 in 30s", "release", "forget"],
        Phase::Terminated(Why::Gone),
    );
    check(
        "a",
        RestartPolicy::Never,
        vec![started(0), exited(0, 0), stop(Why::Deleted)],
        &["start 0", "", "release", "delete"],
        deleted,
    );
    check(
        "a",
        Always,
        vec![started(0), Event::Timer(Timer::Deadline), exited(0, 0)],
        &["start 0", "", "stop 0 in 30s", "release"],
        Phase::Terminated(Why::Deadline),
    );
    let evict = || Event::Evict { message: "too much".into() };
    check(
        "a",
        Always,
        vec![started(0), evict(), evict(), exited(0, 137), evict()],
        &["start 0", "", "stop 0 in 0s", "", "release", ""],
        Phase::Terminated(Why::Evicted),
    );
}

#[test]
fn a_failed_liveness_probe_restarts_even_after_code_0() {
    let dead = Event::Probed {
        index: 0,
        run: 2,
        probe: ProbeKind::Liveness,
        verdict: false,
        grace: Some(Duration::from_secs(3)),
    };
    check(
        "a+live",
        RestartPolicy::OnFailure,
        vec![started(0), dead, exited(0, 0)],
        &["start 0", "probe 0", "stop 0 in 3s", "start 0"],
        Phase::Running,
    );
}

#[test]
fn what_does_not_start_is_told_in_a_kubelets_words() {
    for (reason, message, told) in [
        (
            "ErrImagePull",
            "failed to pull image \"x\": why",
            "Failed: Failed to pull image \"x\": why, Failed: Error: ErrImagePull",
        ),
        ("ErrImageNeverPull", "why", "ErrImageNeverPull: why, Failed: Error: ErrImageNeverPull"),
        ("InvalidImageName", "why", "InspectFailed: why, Failed: Error: InvalidImageName"),
        ("CreateContainerConfigError", "configmap \"c\" not found", "Failed: Error: configmap \"c\" not found"),
    ] {
        let mut state = State::new(outline("a", RestartPolicy::Always));
        let hindrance = Hindrance { reason, message: message.into() };
        let mut effects = Vec::new();
        for event in [Event::Begin, up(), Event::NotStarted { index: 0, hindrance }] {
            (state, effects) = step(state, Timestamp::UNIX_EPOCH, event);
        }
        let words = |effect: &Effect| match effect {
            Effect::Emit(notice) => Some(format!("{}: {}", notice.reason, notice.message)),
            _ => None,
        };
        assert_eq!(effects.iter().filter_map(words).collect::<Vec<_>>().join(", "), told);
    }
}

#[test]
fn an_image_that_was_late_is_no_crash() {
    let image =
        || Event::NotStarted { index: 0, hindrance: Hindrance { reason: "ErrImageNeverPull", message: String::new() } };
    let mut state = State::new(outline("a", RestartPolicy::Always));
    for event in [Event::Begin, up(), image(), started(0), exited(0, 1)] {
        state = step(state, Timestamp::UNIX_EPOCH, event).0;
    }
    // The first crash is no reason to wait.
    assert_eq!(state.slots[0].stage, Stage::Creating);
}

/// A world that answers effects at random: whatever happened before, a stopped pod ends, starts nothing more, and lets go once.
#[test]
fn every_state_reaches_terminated_under_stop() {
    for seed in 0..2_000 {
        let rng = Rng::seeded(seed);
        let restart = [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never][rng.below(3)];
        let shape = ["a", "a+startup+live b+ready", "i:x s:y+startup i:z a b", "s:x s:y a"][rng.below(4)];
        let mut world = World { state: State::new(outline(shape, restart)), owed: vec![], second: 0, seen: vec![] };
        world.feed(Event::Begin);
        for _ in 0..rng.below(40) {
            world.answer(&rng);
        }
        world.seen.clear();
        let why = [Why::Deleted, Why::Gone, Why::Shutdown][rng.below(3)];
        let before = world.state.is_over();
        world.feed(stop(why));
        for _ in 0..200 {
            world.answer(&rng);
        }
        assert!(world.state.is_over(), "seed {seed}: {:?}", world.state);
        let starts = world.seen.iter().filter(|effect| matches!(effect, Effect::Start(_))).count();
        assert_eq!(starts, 0, "seed {seed}");
        let releases = world.seen.iter().filter(|effect| matches!(effect, Effect::Release)).count();
        assert!(before || releases >= 1, "seed {seed}");
        let live = world.state.slots.iter().any(Slot::is_live);
        assert!(!live, "seed {seed}");
    }
}

struct World {
    state: State,
    owed: Vec<Effect>,
    second: i64,
    seen: Vec<Effect>,
}

impl World {
    fn feed(&mut self, event: Event) {
        self.second += 1;
        let at = Timestamp::from_second(self.second).unwrap();
        let (state, effects) = step(std::mem::take(&mut self.state), at, event);
        self.state = state;
        self.seen.extend(effects.iter().cloned());
        self.owed.extend(effects);
    }

    fn answer(&mut self, rng: &Rng) {
        if self.owed.is_empty() {
            return self.happen(rng);
        }
        let effect = self.owed.remove(rng.below(self.owed.len()));
        match effect {
            Effect::SetUp if rng.below(3) == 0 => {
                let hindrance = Hindrance { reason: "FailedMount", message: String::new() };
                self.feed(Event::SetUpFailed { hindrance, retry: Some(Duration::from_secs(1)) });
            }
            Effect::SetUp => self.feed(up()),
            Effect::Start(index) => match rng.below(4) {
                0 => self.feed(Event::NotStarted {
                    index,
                    hindrance: Hindrance { reason: "ErrImagePull", message: String::new() },
                }),
                1 => self.feed(Event::StartFailed { index, reason: "StartError", message: String::new() }),
                _ => self.feed(started(index)),
            },
            Effect::Stop { index, .. } if self.state.slots[index].running().is_some() => self.feed(exited(index, 137)),
            Effect::Timer(_, timer) => self.feed(Event::Timer(timer)),
            Effect::Probe(index) => {
                let probe = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness][rng.below(3)];
                let verdict = rng.below(2) == 0;
                let run = self.state.slots[index].turn;
                self.feed(Event::Probed { index, run, probe, verdict, grace: None });
            }
            _ => {}
        }
    }

    /// Something by itself: a container that runs ends.
    fn happen(&mut self, rng: &Rng) {
        let running: Vec<usize> =
            self.state.slots.iter().enumerate().filter(|(_, slot)| slot.running().is_some()).map(|(i, _)| i).collect();
        if !running.is_empty() {
            let code = i32::try_from(rng.below(2)).unwrap();
            self.feed(exited(running[rng.below(running.len())], code));
        }
    }
}

#[test]
fn what_runs_already_is_probed_and_not_started_again() {
    let mut state = State::new(outline("i:init s:side a+ready b", RestartPolicy::Always));
    let at = Timestamp::UNIX_EPOCH;
    let running = |id: &str| {
        let (id, ready) = (id.into(), true);
        Stage::Running(Live::new(id, at, true, ready))
    };
    let ending = state.slots[0].ending(Exit { code: 0, reason: ExitReason::Completed, message: String::new() }, at);
    state.slots[0].stage = Stage::Ended(Box::new(ending));
    state.slots[1].stage = running("1");
    state.slots[2].stage = running("2");
    let mut lines = Vec::new();
    for event in [Event::Begin, up(), started(3), stop(Why::Deleted)] {
        let (next, effects) = step(state, at, event);
        state = next;
        lines.push(effects.iter().filter_map(show).collect::<Vec<_>>().join(", "));
    }
    assert_eq!(lines, ["set-up, probe 2", "start 3", "", "stop 2 in 30s, stop 3 in 30s"]);
}
