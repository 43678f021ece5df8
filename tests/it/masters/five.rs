//! Five masters: two die at once, the leader among them; then each of the five is replaced by another.

use tokio::time::Instant;
use wherry_tests::until;

use super::group::{Ack, Group, Writer};
use super::none_lost;
use super::watching::watch;
use crate::commands::{attempt, verb};

const COUNT: u8 = 5;

#[test]
fn two_of_five_die_at_once_and_all_are_replaced() {
    let mut group = Group::of(COUNT);
    let mut names: Vec<char> = ('a'..).take(COUNT.into()).collect();
    let mut writers = [group.writer("v"), group.writer("w")];
    let mut acked = after(&mut writers, Instant::now());

    // The leader comes first from here on.
    let leader = group.leader();
    group.masters.rotate_left(leader);
    names.rotate_left(leader);
    let watching = watch(&group, 2);
    let mut over_the_kill = after(&mut writers, Instant::now());
    group.masters[0].kill().unwrap();
    group.masters[1].kill().unwrap();
    let killed = Instant::now();
    over_the_kill.extend(after(&mut writers, killed));
    let first = over_the_kill.iter().map(|ack| ack.done).filter(|done| *done >= killed).min().unwrap();
    println!("a write {:?} after kill -9 of the leader and of another of five", first - killed);
    watching.has_shown(&group.runtime, over_the_kill.iter());
    acked.extend(over_the_kill);

    for (number, old) in (COUNT + 1..=2 * COUNT).zip(names) {
        let new = char::from(b'a' + number - 1).to_string();
        let by = group.masters.len() - 1;
        group.join(&new, number, by, &["--replace", &old.to_string()]);
        for writer in &writers {
            *writer.clients.lock().unwrap() = group.clients().split_off(1);
        }
        group.masters.remove(0);
        acked.extend(after(&mut writers, Instant::now()));
        println!("master {old} is replaced by {new}; {} writes", acked.len());
    }
    for writer in writers {
        acked.extend(writer.end(&group.runtime));
    }
    none_lost(&group, &acked);
    for master in &group.masters {
        until("five are members", || {
            let list = attempt(master, "masters list").unwrap_or_default();
            Ok((list.lines().count() == 1 + usize::from(COUNT) && !list.contains("\na ")).then_some(()))
        })
        .unwrap();
    }
    println!("{}\n{} writes acknowledged, none lost", verb(&group.masters[0], "masters list"), acked.len());
}

/// The acknowledgements of all writers, until each has one of a write that began after a moment.
fn after(writers: &mut [Writer], moment: Instant) -> Vec<Ack> {
    writers.iter_mut().flat_map(|writer| writer.until_after(moment)).collect()
}
