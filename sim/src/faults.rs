//! What goes wrong in a run, and when: follows from the seed alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wherry_base::Rng;

use crate::net::{Host, up_to};
use crate::world::Size;

/// How long until the next trouble at the most, and how long one lasts.
const CALM_MOST: Duration = Duration::from_secs(4);
const TROUBLE_LEAST: Duration = Duration::from_millis(100);
const TROUBLE_MOST: Duration = Duration::from_secs(7);

/// How many operations a disk may take before the power that fails is gone.
const LAST_OPERATIONS_MOST: usize = 40;

const LOST_PERCENT_MOST: usize = 20;
const SLOW_MOST: Duration = Duration::from_millis(400);
const SLOW_DISK_MOST: Duration = Duration::from_millis(600);

/// What the world does to hosts and network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails, for a master within so many operations of its disk.
    Crash(Host, usize),
    /// The power is back.
    Start(Host),
    /// A master is gone with its disk: another one, with an empty disk, takes its place.
    Replace(Host),
    /// A master that leads lets another one lead.
    HandOver(Host),
    /// The host stands still.
    Pause(Host),
    Resume(Host),
    /// From whom to whom nothing passes.
    Cut(Vec<(Host, Host)>),
    Mend(Vec<(Host, Host)>),
    /// So many of a hundred messages are lost.
    Lose(usize),
    /// Some messages take so much longer, and are overtaken.
    Slow(Duration),
    /// The disk takes so long; none: as usual.
    SlowDisk(Host, Option<Duration>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Until when hosts are away.
#[derive(Default)]
struct Absences(BTreeMap<Host, Duration>);

impl Absences {
    /// Whether a host may go now. No two masters are ever away by their own fault.
    fn allow(&self, host: Host, now: Duration) -> bool {
        let is_away = |other: &Host| self.0.get(other).is_some_and(|until| now < *until);
        let is_master = |host: &Host| matches!(host, Host::Master(_));
        let is_second = is_master(&host) && self.0.keys().any(|other| is_master(other) && is_away(other));
        !(is_second || is_away(&host))
    }

    fn note(&mut self, begin: &Fault, until: Duration) {
        if let Fault::Crash(host, _) | Fault::Pause(host) = begin {
            self.0.insert(*host, until);
        }
    }
}

/// Troubles, and their ends, in order.
pub fn plan(rng: &Rng, size: Size, from: Duration, until: Duration) -> Vec<(Duration, Fault)> {
    let mut plan = Vec::new();
    let mut now = from;
    let mut absences = Absences::default();
    // The data of two masters must not be lost before the first has a successor.
    let mut may_replace = true;
    loop {
        now += up_to(rng, CALM_MOST);
        let ends = now + TROUBLE_LEAST + up_to(rng, TROUBLE_MOST);
        if ends >= until {
            break;
        }
        let (begin, mut end) = trouble(rng, size, |host| absences.allow(host, now));
        absences.note(&begin, ends + TROUBLE_LEAST);
        if let Fault::Start(lost @ Host::Master(_)) = end
            && may_replace
            && rng.below(3) == 0
        {
            (may_replace, end) = (false, Fault::Replace(lost));
        }
        plan.extend([(now, begin), (ends, end)]);
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// What goes wrong, and how it ends; only hosts go away that may.
fn trouble(rng: &Rng, size: Size, may_go: impl Fn(Host) -> bool) -> (Fault, Fault) {
    let master = Host::Master(rng.below(size.masters));
    let node = (size.nodes > 0).then(|| Host::Node(rng.below(size.nodes)));
    // Masters are the more interesting ones.
    let victim = match node {
        Some(node) if !may_go(master) || rng.below(2) == 0 => Some(node),
        _ => Some(master),
    };
    let victim = victim.filter(|victim| may_go(*victim));
    match (rng.below(8), victim) {
        (0 | 1, Some(victim)) => (Fault::Crash(victim, 1 + rng.below(LAST_OPERATIONS_MOST)), Fault::Start(victim)),
        (2, Some(victim)) => (Fault::Pause(victim), Fault::Resume(victim)),
        (3, _) => (Fault::Lose(1 + rng.below(LOST_PERCENT_MOST)), Fault::Lose(0)),
        (4, _) => (Fault::Slow(up_to(rng, SLOW_MOST)), Fault::Slow(Duration::ZERO)),
        (5, _) => (Fault::HandOver(master), Fault::HandOver(Host::Master(rng.below(size.masters)))),
        (6, _) => (Fault::SlowDisk(master, Some(up_to(rng, SLOW_DISK_MOST))), Fault::SlowDisk(master, None)),
        _ => {
            let cut = cut(rng, size);
            (Fault::Cut(cut.clone()), Fault::Mend(cut))
        }
    }
}

/// Some hosts from the others, or only in one direction.
fn cut(rng: &Rng, size: Size) -> Vec<(Host, Host)> {
    let all = size.hosts();
    let (ours, theirs): (Vec<Host>, Vec<Host>) = match rng.below(3) {
        // One master, or one node.
        0 => {
            let alone = all.get(rng.below(size.masters + size.nodes)).copied();
            all.iter().partition(|host| Some(**host) == alone)
        }
        _ => all.iter().partition(|_| rng.below(2) == 0),
    };
    let pairs = |from: &[Host], to: &[Host]| -> Vec<(Host, Host)> {
        from.iter().flat_map(|from| to.iter().map(|to| (*from, *to))).collect()
    };
    let mut cut = pairs(&ours, &theirs);
    if rng.below(3) > 0 {
        cut.extend(pairs(&theirs, &ours));
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn never_are_two_masters_away_nor_a_host_twice_and_all_come_back() {
        let (from, until) = (Duration::from_secs(10), Duration::from_secs(100));
        for seed in 0..200 {
            let plan = plan(&Rng::seeded(seed), Size { masters: 3, nodes: 5 }, from, until);
            let (mut away, mut replaced, mut kinds) = (0, 0, 0);
            let mut nodes = BTreeSet::new();
            for (at, fault) in &plan {
                assert!((from..until).contains(at), "{at:?}");
                match fault {
                    Fault::Crash(Host::Master(_), _) | Fault::Pause(Host::Master(_)) => away += 1,
                    Fault::Start(Host::Master(_)) | Fault::Resume(Host::Master(_)) => away -= 1,
                    Fault::Crash(node, _) | Fault::Pause(node) => assert!(nodes.insert(*node), "seed {seed}: {node}"),
                    Fault::Start(node) | Fault::Resume(node) => assert!(nodes.remove(node), "seed {seed}: {node}"),
                    Fault::Replace(_) => (away, replaced) = (away - 1, replaced + 1),
                    _ => kinds += 1,
                }
                assert!((0..=1).contains(&away), "seed {seed}: {plan:?}");
            }
            assert!(away == 0 && nodes.is_empty() && replaced <= 1 && kinds > 0, "seed {seed}");
            assert_eq!(plan, super::plan(&Rng::seeded(seed), Size { masters: 3, nodes: 5 }, from, until));
        }
    }
}
