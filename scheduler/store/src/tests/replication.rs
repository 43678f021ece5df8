//! Three members: what one acknowledges all have, in order, whoever dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};
use wherry_api::{ObjectKey, resource::find};
use wherry_base::Rng;

use super::cluster::Cluster;
use super::{create, delete, dump, pods, put, told};
use crate::{
    Applied, Change, Command, Encoded, Expect, Leadership, MemberError, ProposeError, Revision, Role, Start, Store,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn names(store: &Store) -> BTreeSet<String> {
    store.linearizable().await.unwrap();
    store.snapshot(pods()).objects.keys().map(|key| key.name.to_string()).collect()
}

/// Writes by way of whoever leads, until it is certain. True if it was written by this.
async fn write(cluster: &Cluster, command: impl Fn() -> Command) -> Option<Applied> {
    loop {
        match cluster.leader().await.propose(command()).await {
            Ok(applied) => return Some(applied),
            Err(ProposeError::Conflict(_)) => return None,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn make(cluster: &Cluster, name: &str) -> Option<Applied> {
    write(cluster, || put(name, Expect::Absent, "x")).await
}

#[tokio::test(start_paused = true)]
async fn all_members_show_the_same_at_the_same_revisions() {
    let cluster = Cluster::of(1, &NAMES).await;
    let leader = cluster.leader().await;
    let mut watches: Vec<_> =
        cluster.stores.values().map(|store| store.watch(pods(), leader.revision()).unwrap()).collect();
    let from = leader.revision().0;
    let a = create(&leader, "a").await;
    let b = create(&leader, "b").await;
    leader.propose(put("a", Expect::Revision(a.revision), "z")).await.unwrap();
    leader.propose(delete("b", b.revision)).await.unwrap();
    let expected: Vec<_> = ["Created ns/a", "Created ns/b", "Updated ns/a", "Deleted ns/b"].into();
    for store in cluster.stores.values() {
        assert_eq!(store.linearizable().await.unwrap(), Revision(from + 4));
        assert_eq!(dump(store), dump(&leader));
    }
    for watch in &mut watches {
        let mut changes: Vec<Arc<Change>> = Vec::new();
        while changes.len() < 4 {
            changes.extend(watch.next(10).await.unwrap());
        }
        let numbered = expected.iter().enumerate().map(|(i, text)| format!("{} {text}", from + 1 + i as u64));
        assert_eq!(told(&changes), numbered.collect::<Vec<_>>());
    }
    let roles: Vec<_> = leader.members().borrow().clone().into_iter().map(|(_, role)| role).collect();
    assert_eq!(roles, [Role::Voter; 3]);
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_refuses_writes_and_volatile_reads_and_names_the_leader() {
    let leases = find("coordination.k8s.io", "v1", "leases").unwrap();
    let cluster = Cluster::of(2, &NAMES).await;
    let leader = cluster.leader().await;
    let lease = |name: &str| Command::Put {
        resource: leases,
        key: ObjectKey::new("ns", name),
        expect: Expect::Absent,
        object: Encoded::new(&json!({"metadata": {"name": name}})),
    };
    let revision = leader.propose(lease("l")).await.unwrap().revision;
    for follower in cluster.others(&leader) {
        follower.linearizable().await.unwrap();
        let refused = follower.propose(put("x", Expect::Absent, "x")).await;
        let Err(ProposeError::NotLeader(to)) = refused else { panic!("{refused:?}") };
        assert_eq!(to.leader, Some(leader.me()));
        assert_eq!(follower.readable(leases).unwrap_err().leader, Some(leader.me()));
        assert!(follower.readable(pods()).is_ok());
        assert!(follower.snapshot(leases).objects.is_empty());
        assert!(follower.watch(leases, revision).is_err(), "it has no history of them");
        assert_eq!(follower.revision(), revision, "a read barrier brings the leader's revision");
    }
    assert_eq!(leader.snapshot(leases).objects.len(), 1);
    let shown = leader.propose(lease("m")).await.unwrap().revision;
    leader.hand_over_leadership().await.unwrap();
    for store in cluster.others(&leader) {
        let reached = store.linearizable().await.unwrap();
        assert!(reached >= shown, "nobody goes back behind what the leader before has shown: {reached} < {shown}");
    }
    let next = cluster.leader().await;
    assert_ne!(next.me(), leader.me());
    assert!(next.snapshot(leases).objects.is_empty(), "they are written anew");
    assert!(next.watch(leases, revision).is_err(), "whoever saw the old ones must list again");
    assert!(next.propose(lease("l")).await.unwrap().revision > revision);
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_whoever_dies() {
    for seed in 0..4 {
        let rng = Rng::seeded(seed);
        let mut cluster = Cluster::of(seed, &NAMES).await;
        let mut acknowledged = BTreeSet::new();
        let mut last = Revision(0);
        for round in 0..6 {
            cluster.net.lose(rng.below(10));
            for i in 0..5 + rng.below(20) {
                let name = format!("{round}-{i}");
                if let Some(applied) = make(&cluster, &name).await {
                    assert!(applied.revision > last, "seed {seed}: revisions only grow");
                    last = applied.revision;
                }
                acknowledged.insert(name);
            }
            // The leader, most of the time.
            let leader = cluster.leader().await.me().name;
            let victim = if rng.below(4) > 0 { leader } else { NAMES[rng.below(3)].to_owned() };
            let began = Instant::now();
            cluster.crash(&victim);
            make(&cluster, &format!("{round}-after")).await;
            acknowledged.insert(format!("{round}-after"));
            let gap = began.elapsed();
            assert!(gap < Duration::from_secs(4), "seed {seed}: no writes for {gap:?}");
            cluster.net.heal();
            cluster.start(&victim, Start::Join);
        }
        for store in cluster.stores.values() {
            assert!(names(store).await.is_superset(&acknowledged), "seed {seed}");
            assert_eq!(dump(store), dump(&cluster.leader().await), "seed {seed}");
        }
        cluster.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn watches_neither_miss_nor_reorder_while_leaders_change() {
    for seed in 10..13 {
        let rng = Rng::seeded(seed);
        let cluster = Cluster::of(seed, &NAMES).await;
        let from = cluster.leader().await.revision();
        let mut watches = Vec::new();
        for store in cluster.stores.values() {
            store.linearizable().await.unwrap();
            watches.push(store.watch(pods(), from).unwrap());
        }
        for round in 0..8 {
            cluster.net.lose(rng.below(15));
            for i in 0..rng.below(20) {
                let made = make(&cluster, &format!("{round}-{i}")).await;
                if let Some(made) = made.filter(|_| rng.below(2) == 0) {
                    write(&cluster, || delete(&format!("{round}-{i}"), made.revision)).await;
                }
            }
            let leader = cluster.leader().await;
            if rng.below(2) == 0 {
                let _ = leader.hand_over_leadership().await;
            } else {
                let other = cluster.others(&leader).remove(rng.below(2));
                cluster.net.cut(&leader.me().name, &other.me().name);
                tokio::time::sleep(Duration::from_millis(rng.below(3000) as u64)).await;
            }
            cluster.net.heal();
        }
        let mut seen = Vec::new();
        for (store, watch) in cluster.stores.values().zip(&mut watches) {
            store.linearizable().await.unwrap();
            let mut changes = Vec::new();
            while watch.position() < store.revision() {
                changes.extend(watch.next(7).await.unwrap());
            }
            assert!(changes.is_sorted_by(|a, b| a.revision < b.revision), "seed {seed}");
            seen.push(told(&changes));
        }
        assert!(seen.iter().all(|changes| changes == &seen[0]), "seed {seed}");
        let created = seen[0].iter().filter(|change| change.contains("Created")).count();
        let deleted = seen[0].iter().filter(|change| change.contains("Deleted")).count();
        assert_eq!(created - deleted, cluster.leader().await.snapshot(pods()).objects.len(), "seed {seed}");
        cluster.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_back_soon_after_the_leader_died() {
    let mut cluster = Cluster::of(3, &NAMES).await;
    for round in 0..5 {
        let leader = cluster.leader().await.me().name;
        cluster.crash(&leader);
        let began = Instant::now();
        make(&cluster, &format!("p{round}")).await.unwrap();
        let gap = began.elapsed();
        assert!(gap < Duration::from_millis(2000), "{gap:?}");
        cluster.start(&leader, Start::Join);
        names(&cluster.store(&leader)).await;
    }
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_acknowledges_nothing() {
    let cluster = Cluster::of(4, &NAMES).await;
    let old = cluster.leader().await;
    create(&old, "before").await;
    let new = cluster.depose(&old).await;
    let stale = old.propose(put("stale", Expect::Absent, "x")).await;
    assert!(matches!(stale, Err(ProposeError::Unavailable(_) | ProposeError::NotLeader(_))), "{stale:?}");
    assert!(old.linearizable().await.is_err());
    assert_eq!(*old.leadership().borrow(), Leadership::Isolated);
    create(&new, "after").await;
    cluster.net.heal();
    timeout(Duration::from_secs(10), old.linearizable()).await.unwrap().unwrap();
    assert_eq!(dump(&old), dump(&new));
    assert!(!names(&old).await.contains("stale"), "what only the old leader had is gone");
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_missed_another_ones_writes_decides_nothing_on_what_it_knows() {
    let leases = find("coordination.k8s.io", "v1", "leases").unwrap();
    let lease = |expect| Command::Put {
        resource: leases,
        key: ObjectKey::new("ns", "l"),
        expect,
        object: Encoded::new(&json!({"metadata": {"name": "l"}})),
    };
    for case in 0..9 {
        let cluster = Cluster::of(100 + case, &NAMES).await;
        let old = cluster.leader().await;
        let (x, y) = (create(&old, "x").await.revision, create(&old, "y").await.revision);
        let l = old.propose(lease(Expect::Absent)).await.unwrap().revision;
        let new = cluster.depose(&old).await;
        let newer = new.propose(put("x", Expect::Revision(x), "new")).await.unwrap().revision;
        new.propose(delete("y", y)).await.unwrap();
        create(&new, "z").await;
        cluster.net.heal();
        // It has heard nothing of that yet.
        assert_eq!(old.snapshot(pods()).objects[&ObjectKey::new("ns", "x")].revision, x);
        let command = match case {
            // These would be right where it stands,
            0 => put("x", Expect::Revision(x), "stale"),
            1 => delete("x", x),
            2 => put("y", Expect::Revision(y), "stale"),
            3 => put("z", Expect::Absent, "stale"),
            4 => put("w", Expect::Absent, "stale"),
            5 => lease(Expect::Revision(l)),
            // and these are right where the others stand: to be told of a conflict would be wrong.
            6 => put("x", Expect::Revision(newer), "late"),
            7 => put("y", Expect::Absent, "late"),
            _ => lease(Expect::Absent),
        };
        let told = old.propose(command).await;
        assert!(matches!(told, Err(ProposeError::NotLeader(_) | ProposeError::Unavailable(_))), "{case}: {told:?}");
        for store in [&old, &new] {
            assert_eq!(names(store).await, BTreeSet::from(["x".to_owned(), "z".to_owned()]), "case {case}");
        }
        assert_eq!(dump(&old), dump(&new), "case {case}");
        cluster.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_member_gets_a_snapshot_and_the_log_stays_short() {
    let mut cluster = Cluster::of(5, &["a"]).await;
    let store = cluster.store("a");
    let padding = "x".repeat(10_000);
    for i in 0..150 {
        let made = store.propose(put(&format!("p{i}"), Expect::Absent, &padding)).await.unwrap();
        store.propose(delete(&format!("p{i}"), made.revision)).await.unwrap();
    }
    create(&store, "kept").await;
    cluster.start("b", Start::Join);
    let mut watch = cluster.store("b").watch(pods(), Revision(0)).unwrap();
    store.add_member(cluster.store("b").me()).await.unwrap();
    assert!(watch.next(1).await.is_err(), "a snapshot has no history");
    assert_eq!(names(&cluster.store("b")).await, BTreeSet::from(["kept".to_owned()]));
    assert_eq!(dump(&cluster.store("b")), dump(&cluster.leader().await));
    cluster.crash("b");
    cluster.start("b", Start::Join);
    assert_eq!(names(&cluster.store("b")).await, BTreeSet::from(["kept".to_owned()]));
    let bytes = cluster.disks["a"].bytes("log");
    assert!(bytes < 2 << 20, "150 changes of 30 kB leave a log of {bytes} bytes");
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn members_are_added_replaced_and_removed_one_at_a_time() {
    let mut cluster = Cluster::of(6, &NAMES).await;
    create(&cluster.leader().await, "x").await;
    cluster.start("d", Start::Join);
    let leader = cluster.leader().await;
    let gone = cluster.others(&leader).into_iter().find(|store| store.me().name != "d").unwrap();
    leader.replace_member(gone.me().id, cluster.store("d").me()).await.unwrap();
    let present = |store: &Store| {
        store.members().borrow().clone().into_iter().map(|(member, _)| member.name).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<_> =
        ["a", "b", "c", "d"].map(str::to_owned).into_iter().filter(|n| *n != gone.me().name).collect();
    assert_eq!(present(&leader), expected);
    assert!(names(&cluster.store("d")).await.contains("x"));
    // Two of three: one that answers must stay.
    let dead = cluster.others(&leader).into_iter().find(|s| s.me().name != "d" && s.me() != gone.me()).unwrap();
    cluster.crash(&dead.me().name);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = leader.remove_member(cluster.store("d").me().id).await;
    assert!(matches!(refused, Err(MemberError::QuorumLost { voters: 2, left: 1 })), "{refused:?}");
    leader.remove_member(dead.me().id).await.unwrap();
    assert!(matches!(leader.remove_member(dead.me().id).await, Err(MemberError::Unknown(_))));
    // The leader itself goes once another leads, who does it.
    let Err(MemberError::NotLeader(to)) = leader.remove_member(leader.me().id).await else {
        panic!("it removed itself")
    };
    assert!(to.leader.is_some_and(|to| to != leader.me()));
    let next = cluster.leader().await;
    next.remove_member(leader.me().id).await.unwrap();
    assert!(matches!(next.remove_member(next.me().id).await, Err(MemberError::Last)));
    create(&next, "alone").await;
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_is_reached_where_it_moved_to() {
    let mut cluster = Cluster::of(9, &NAMES).await;
    let leader = cluster.leader().await;
    let moved = cluster.others(&leader).remove(0).me().name;
    cluster.crash(&moved);
    cluster.start_at(&moved, "elsewhere", Start::Join);
    leader.add_member(cluster.store(&moved).me()).await.unwrap();
    create(&leader, "x").await;
    // Nobody else leads meanwhile, who would look its address up anew.
    assert!(names(&cluster.store(&moved)).await.contains("x"));
    assert_eq!(cluster.leader().await.me(), leader.me());
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn all_members_come_back_after_all_lost_power() {
    let mut cluster = Cluster::of(7, &NAMES).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        for i in 0..20 {
            create(&cluster.leader().await, &format!("{round}-{i}")).await;
            acknowledged.insert(format!("{round}-{i}"));
        }
        NAMES.iter().for_each(|name| cluster.crash(name));
        NAMES.iter().for_each(|name| cluster.start(name, Start::Join));
        for store in cluster.stores.values() {
            assert_eq!(names(store).await, acknowledged, "round {round}");
        }
    }
    cluster.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_member_restores_the_cluster_that_lost_its_majority() {
    let mut cluster = Cluster::of(8, &NAMES).await;
    let leader = cluster.leader().await;
    create(&leader, "x").await;
    let follower = cluster.others(&leader).remove(0);
    follower.linearizable().await.unwrap();
    let (name, id) = (follower.me().name, follower.me().id);
    NAMES.iter().for_each(|name| cluster.crash(name));
    let new_id = crate::open::restore_alone(Arc::new(cluster.disks[&name].clone())).unwrap();
    assert_ne!(new_id, id);
    cluster.start(&name, Start::Join);
    let alone = cluster.leader().await;
    assert_eq!((alone.me().name, alone.me().id), (name, new_id));
    assert_eq!(names(&alone).await, BTreeSet::from(["x".to_owned()]));
    let after = create(&alone, "y").await;
    assert!(after.revision > follower.revision());
    cluster.end().await;
}
