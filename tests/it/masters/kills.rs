//! The leader dies under writes, again and again: `WHERRY_LEADER_KILLS` says how often, once where it says nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::group::{Ack, Group};
use super::none_lost;
use super::watching::watch;

const KILLS: &str = "WHERRY_LEADER_KILLS";

#[test]
fn nothing_is_lost_with_the_leader() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut group = Group::of(3);
    let mut writer = group.writer("w");
    let (mut acked, mut times) = (Vec::<Ack>::new(), Vec::new());
    acked.extend(writer.until_after(Instant::now()));
    for _ in 0..kills {
        let leader = group.leader();
        let follower = (leader + 1) % 3;
        let watching = watch(&group, follower);
        let before = acked.len();
        acked.extend(writer.until_after(Instant::now()));
        group.masters[leader].kill().unwrap();
        let killed = Instant::now();
        acked.extend(writer.until_after(killed));
        let first = acked.iter().skip(before).find(|ack| ack.done >= killed).unwrap();
        times.push(first.done - killed);
        println!("a write {:?} after kill -9 of the leader", first.done - killed);
        group.masters[leader].restart().unwrap();
        // The watch of a follower went on over the election, without a gap.
        watching.has_shown(&group.runtime, acked.iter().skip(before));
    }
    acked.extend(writer.end(&group.runtime));
    none_lost(&group, &acked);
    println!("{} writes acknowledged, none lost; first write after {kills} kills: {}", acked.len(), spread(&mut times));
}

#[test]
fn the_leader_hands_over_when_it_ends() {
    let mut group = Group::of(3);
    let mut writer = group.writer("w");
    writer.until_after(Instant::now());
    let leader = group.leader();
    let began = Instant::now();
    assert_eq!(group.masters[leader].terminate().unwrap(), Some(0), "{}", group.masters[leader].errors());
    let acks = writer.until_after(Instant::now());
    let gaps = acks.iter().filter(|ack| ack.done >= began).map(|ack| ack.done - ack.began);
    println!("the longest write over a clean end of the leader took {:?}", gaps.max().unwrap());
    let errors = group.masters[leader].errors();
    assert!(!errors.contains("no other master has taken over"), "{errors}");
    group.masters[leader].restart().unwrap();
    writer.end(&group.runtime);
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("min {:?}, median {:?}, p90 {:?}, p99 {:?}, max {:?}", at(0), at(50), at(90), at(99), at(100))
}
