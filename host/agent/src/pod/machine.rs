//! The transitions behind `step`: one method an event, and `advance`, which looks at the whole pod.

mod ending;
mod telling;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::outline::{ContainerOutline, Outline, RestartPolicy, Role};
use super::slot::{Ending, Live, Slot, Stage};
use super::{Effect, Event, Hindrance, Phase, ProbeKind, State, Timer, Urgency, Why};

/// The first and the longest wait of an image that is not to be had.
const PULL_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// The first and the longest wait of a configuration that is not to be had.
const CONFIG_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long `ErrImagePull` is shown before `ImagePullBackOff` is.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);
/// The exit code of a container that did not start.
const NOT_STARTED_CODE: i32 = 128;

/// A step in progress.
pub struct Machine {
    pub state: State,
    pub at: Timestamp,
    pub effects: Vec<Effect>,
}

impl Machine {
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Begin => self.begin(),
            Event::Changed(outline) => self.changed(outline),
            Event::SetUp(address) => self.set_up(address),
            Event::SetUpFailed { hindrance, retry } => self.set_up_failed(hindrance, retry),
            Event::Started { index, id, digest } => self.started(index, id, digest),
            Event::NotStarted { index, hindrance } => self.not_started(index, hindrance),
            Event::StartFailed { index, reason, message } => {
                let ending = Ending {
                    id: Arc::from(""),
                    code: NOT_STARTED_CODE,
                    reason: reason.into(),
                    message,
                    since: None,
                    at: self.at,
                };
                self.warn(Some(index), "Failed", format!("Error: {}", ending.message));
                self.ended(index, ending);
            }
            Event::Exited { index, exit } => {
                if let Some(slot) = self.state.slots.get(index) {
                    let ending = slot.ending(exit, self.at);
                    self.ended(index, ending);
                }
            }
            Event::Probed { index, run, probe, verdict, grace } => {
                if self.state.slots.get(index).is_some_and(|slot| slot.turn == run) {
                    self.probed(index, probe, verdict, grace);
                }
            }
            Event::Unhealthy { index, run, probe, message } => self.unhealthy(index, run, probe, &message),
            Event::Silence { runtime, why } => self.silence(runtime, why.as_ref()),
            Event::Timer(timer) => self.timer(timer),
            Event::Evict { message } => self.evict(message),
            Event::Stop { why, grace } => self.stop(why, grace),
        }
    }

    fn begin(&mut self) {
        let since = *self.state.since.get_or_insert(self.at);
        self.effects.push(Effect::SetUp);
        let running = self.state.outline.containers.iter().zip(&self.state.slots).enumerate();
        let heard = |slot: &Slot| slot.running().is_some_and(|live| live.silence.is_none());
        let probed = running.filter(|(_, (outline, slot))| outline.is_probed() && heard(slot));
        self.effects.extend(probed.map(|(index, _)| Effect::Probe(index)));
        if let Some(seconds) = self.state.outline.deadline_seconds {
            let spent = Duration::try_from(self.at.duration_since(since)).unwrap_or_default();
            let left = Duration::from_secs(seconds.into()).saturating_sub(spent);
            self.effects.push(Effect::Timer(left, Timer::Deadline));
        }
        self.report(Urgency::Soon);
    }

    /// Containers whose image changed are ended, and started again with the new one.
    fn changed(&mut self, outline: Arc<Outline>) {
        let before = std::mem::replace(&mut self.state.outline, outline.clone());
        let pairs = before.containers.iter().zip(&outline.containers).enumerate();
        let changed = pairs.filter(|(_, (old, new))| old.image != new.image).map(|(index, (_, new))| (index, new));
        for (index, container) in changed.filter(|_| !self.state.is_ending()).collect::<Vec<_>>() {
            let Some(slot) = self.state.slots.get_mut(index) else { continue };
            if matches!(&slot.stage, Stage::Held(hindrance) if is_of_image(hindrance.reason)) {
                (slot.failures, slot.misses) = (0, 0);
                self.start(index, false);
            } else if let Some(live) = slot.running_mut() {
                live.condemned = true;
                let why = format!("Container {} definition changed, will be restarted", container.name);
                self.stop_slot(index, self.after(self.grace()), why);
            }
        }
        self.report(Urgency::Now);
    }

    fn set_up(&mut self, address: IpAddr) {
        match self.state.phase {
            Phase::Pending | Phase::Stuck(_) => {
                self.state.address = Some(address);
                self.state.phase = Phase::Starting;
                self.advance();
            }
            Phase::Terminated(_) => self.effects.push(Effect::Release),
            Phase::Starting | Phase::Running | Phase::Terminating { .. } => {}
        }
    }

    fn set_up_failed(&mut self, hindrance: Hindrance, retry: Option<Duration>) {
        if matches!(self.state.phase, Phase::Pending | Phase::Stuck(_)) {
            self.state.phase = Phase::Stuck(hindrance);
            self.effects.extend(retry.map(|after| Effect::Timer(after, Timer::SetUp)));
            self.report(Urgency::Now);
        }
    }

    fn started(&mut self, index: usize, id: Arc<str>, digest: Arc<str>) {
        let Some((outline, slot)) = slot_of(&mut self.state, index) else { return };
        let started = !outline.startup;
        let ready = started && !outline.readiness;
        let probed = outline.is_probed();
        let name = outline.name.clone();
        slot.enter(Stage::Running(Live::new(id, self.at, started, ready)));
        slot.digest = Some(digest);
        slot.misses = 0;
        self.tell(Some(index), "Created", format!("Created container: {name}"));
        self.tell(Some(index), "Started", format!("Started container {name}"));
        if self.state.is_ending() {
            return self.wind_down();
        }
        self.effects.extend(probed.then_some(Effect::Probe(index)));
        self.advance();
        let urgency = if self.all_ready() { Urgency::Now } else { Urgency::Soon };
        self.report(urgency);
    }

    fn all_ready(&self) -> bool {
        let ready = |(outline, slot): (&ContainerOutline, &Slot)| {
            outline.role == Role::Init || slot.running().is_some_and(|live| live.ready)
        };
        self.state.outline.containers.iter().zip(&self.state.slots).all(ready)
    }

    fn not_started(&mut self, index: usize, hindrance: Hindrance) {
        let ending = self.state.is_ending();
        let Some((_, slot)) = slot_of(&mut self.state, index) else { return };
        let (first, most) = if is_of_image(hindrance.reason) { PULL_BACKOFF } else { CONFIG_BACKOFF };
        let wait = slot.miss(first, most);
        let shown = if hindrance.reason == "ErrImagePull" { PULL_ERROR_SHOWN } else { wait };
        slot.enter(Stage::Held(hindrance.clone()));
        let timer = Timer::Slot { index, turn: slot.turn };
        if ending {
            return self.wind_down();
        }
        self.tell_not_started(index, &hindrance);
        self.effects.push(Effect::Timer(shown, timer));
        self.report(Urgency::Now);
    }

    fn ended(&mut self, index: usize, ending: Ending) {
        let ending_pod = self.state.is_ending();
        let restart = self.state.outline.restart;
        let Some((outline, slot)) = slot_of(&mut self.state, index).filter(|(_, slot)| slot.is_live()) else { return };
        let role = outline.role;
        let condemned = slot.running().is_some_and(|live| live.condemned) && restart != RestartPolicy::Never;
        if ending_pod {
            slot.enter(Stage::Ended(Box::new(ending)));
            return self.wind_down();
        }
        if restart.restarts(role, ending.code) || condemned {
            return self.crashed(index, ending);
        }
        let failed = ending.code != 0;
        slot.enter(Stage::Ended(Box::new(ending)));
        if role == Role::Init && failed {
            self.finish(Why::Finished)
        } else {
            self.advance()
        }
        self.report(Urgency::Now);
    }

    /// A container ended and is to be started again: at once the first time, later and later after that.
    fn crashed(&mut self, index: usize, ending: Ending) {
        let title = self.state.outline.title.clone();
        let Some((outline, slot)) = slot_of(&mut self.state, index) else { return };
        let name = outline.name.clone();
        let wait = slot.crash(ending.since, self.at);
        slot.last = Some(Box::new(ending));
        if wait.is_zero() {
            self.start(index, true);
        } else {
            let seconds = wait.as_secs();
            let message = format!("back-off {seconds}s restarting failed container={name} pod={title}");
            slot.enter(Stage::Held(Hindrance { reason: "CrashLoopBackOff", message }));
            let timer = Timer::Slot { index, turn: slot.turn };
            self.effects.push(Effect::Timer(wait, timer));
            self.warn(Some(index), "BackOff", format!("Back-off restarting failed container {name} in pod {title}"));
        }
        self.report(Urgency::Now);
    }

    fn start(&mut self, index: usize, again: bool) {
        if let Some(slot) = self.state.slots.get_mut(index) {
            slot.restarts += u32::from(again);
            slot.enter(Stage::Creating);
            self.effects.push(Effect::Start(index));
        }
    }

    fn probed(&mut self, index: usize, probe: ProbeKind, verdict: bool, grace: Option<Duration>) {
        let grace = grace.unwrap_or_else(|| self.grace());
        let Some((outline, slot)) = slot_of(&mut self.state, index) else { return };
        let readiness = outline.readiness;
        let name = outline.name.clone();
        let Some(live) = slot.running_mut() else { return };
        match (probe, verdict) {
            (ProbeKind::Startup, true) => {
                live.started = true;
                live.ready = !readiness;
            }
            (ProbeKind::Readiness, verdict) => live.ready = verdict,
            (ProbeKind::Liveness, true) => return,
            (ProbeKind::Startup | ProbeKind::Liveness, false) => live.condemned = true,
        }
        let condemned = live.condemned;
        if condemned && !self.state.is_ending() {
            let probe = probe.word().to_lowercase();
            let why = format!("Container {name} failed {probe} probe, will be restarted");
            return self.stop_slot(index, self.after(grace), why);
        }
        self.advance();
        self.report(Urgency::Now);
    }

    fn unhealthy(&mut self, index: usize, run: u32, probe: ProbeKind, message: &str) {
        let current = self.state.slots.get(index).is_some_and(|slot| slot.turn == run && slot.running().is_some());
        if current && !self.state.is_ending() {
            self.warn(Some(index), "Unhealthy", format!("{} probe failed: {message}", probe.word()));
        }
    }

    /// Who is heard again is probed from the start: one that was taken over in silence was not probed yet.
    fn silence(&mut self, runtime: &str, why: Option<&Arc<str>>) {
        let probes_begin = why.is_none() && !self.state.is_ending();
        let mut is_news = false;
        for (index, (outline, slot)) in self.state.outline.containers.iter().zip(&mut self.state.slots).enumerate() {
            let live = slot.running_mut().filter(|live| live.is_of(runtime) && live.silence.as_ref() != why);
            let Some(live) = live else { continue };
            live.silence = why.cloned();
            is_news = true;
            self.effects.extend((probes_begin && outline.is_probed()).then_some(Effect::Probe(index)));
        }
        if is_news {
            self.report(Urgency::Now);
        }
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::SetUp if matches!(self.state.phase, Phase::Stuck(_)) => {
                self.state.phase = Phase::Pending;
                self.effects.push(Effect::SetUp);
            }
            Timer::Deadline if !self.state.is_ending() => {
                self.tell(
                    None,
                    "DeadlineExceeded",
                    "Pod was active on the node longer than the specified deadline".into(),
                );
                self.finish(Why::Deadline);
                self.report(Urgency::Now);
            }
            Timer::Slot { index, turn } if !self.state.is_ending() => self.held_long_enough(index, turn),
            Timer::SetUp | Timer::Deadline | Timer::Slot { .. } => {}
        }
    }

    fn held_long_enough(&mut self, index: usize, turn: u32) {
        let Some((outline, slot)) = slot_of(&mut self.state, index).filter(|(_, slot)| slot.turn == turn) else {
            return;
        };
        let Stage::Held(hindrance) = &slot.stage else { return };
        match hindrance.reason {
            "ErrImagePull" => {
                let back_off = format!("Back-off pulling image \"{}\"", outline.image);
                let message = format!("{back_off}: ErrImagePull: {}", hindrance.message);
                slot.misses = slot.misses.saturating_sub(1);
                let wait = slot.miss(PULL_BACKOFF.0, PULL_BACKOFF.1).saturating_sub(PULL_ERROR_SHOWN);
                slot.enter(Stage::Held(Hindrance { reason: "ImagePullBackOff", message }));
                let timer = Timer::Slot { index, turn: slot.turn };
                self.effects.push(Effect::Timer(wait, timer));
                self.tell(Some(index), "BackOff", back_off);
                self.warn(Some(index), "Failed", "Error: ImagePullBackOff".into());
                self.report(Urgency::Now);
            }
            "CrashLoopBackOff" => self.start(index, true),
            _ => self.start(index, false),
        }
    }

    /// Starts what is due: the next init container, or all main ones; ends a pod whose main containers have ended.
    fn advance(&mut self) {
        if self.state.phase == Phase::Starting {
            self.advance_inits();
        }
        if self.state.phase == Phase::Running {
            let mains =
                || self.state.outline.containers.iter().zip(&self.state.slots).filter(|(o, _)| o.role == Role::Main);
            if mains().all(|(_, slot)| slot.ended().is_some()) {
                self.finish(Why::Finished);
            }
        }
    }

    fn advance_inits(&mut self) {
        let outline = self.state.outline.clone();
        let inits = outline.containers.iter().enumerate().filter(|(_, o)| o.role != Role::Main);
        for (index, container) in inits {
            let Some(slot) = self.state.slots.get(index) else { return };
            match (&slot.stage, container.role) {
                (Stage::Ended(_), Role::Init) => {}
                (Stage::Running(live), Role::Sidecar) if live.started => {}
                (Stage::Idle, _) => return self.start(index, false),
                _ => return,
            }
        }
        self.state.phase = Phase::Running;
        let idle = |index: usize| self.state.slots.get(index).is_some_and(|slot| slot.stage == Stage::Idle);
        let mains = outline.containers.iter().enumerate().filter(|(_, container)| container.role == Role::Main);
        let due: Vec<usize> = mains.map(|(index, _)| index).filter(|index| idle(*index)).collect();
        due.into_iter().for_each(|index| self.start(index, false));
    }
}

fn slot_of(state: &mut State, index: usize) -> Option<(&ContainerOutline, &mut Slot)> {
    state.outline.containers.get(index).zip(state.slots.get_mut(index))
}

fn is_of_image(reason: &str) -> bool {
    matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "ErrImageInspect")
}
