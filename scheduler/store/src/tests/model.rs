//! The store against a `BTreeMap`: any commands, in any groups, give what they would give one after another.

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::prelude::*;

use super::disk::Disk;
use super::{delete, dump, pods, put, told};
use crate::{Applied, Command, Conflict, Expect, ProposeError, Revision};

/// What may be asked of one of a few keys.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Create,
    /// Expecting the present revision less this.
    Update(u64),
    Delete(u64),
}

fn any_ask() -> impl Strategy<Value = (u8, Ask)> {
    let ask = prop_oneof![Just(Ask::Create), (0..2_u64).prop_map(Ask::Update), (0..2_u64).prop_map(Ask::Delete)];
    (0..4_u8, ask)
}

#[derive(Default)]
struct Model {
    revision: u64,
    objects: BTreeMap<String, u64>,
    changes: Vec<String>,
}

impl Model {
    /// The command, and what must come of it.
    fn ask(&mut self, (key, ask): (u8, Ask)) -> (Command, String) {
        let name = format!("k{key}");
        let present = self.objects.get(&name).copied();
        let expected = |back: u64| Revision(present.unwrap_or(1000).saturating_sub(back));
        let (command, is_met, word) = match ask {
            Ask::Create => (put(&name, Expect::Absent, "x"), present.is_none(), "Created"),
            Ask::Update(back) => {
                let command = put(&name, Expect::Revision(expected(back)), "y");
                (command, present.is_some() && back == 0, "Updated")
            }
            Ask::Delete(back) => (delete(&name, expected(back)), present.is_some() && back == 0, "Deleted"),
        };
        if !is_met {
            return (command, present.map_or("missing".into(), |revision| format!("exists {revision}")));
        }
        self.revision += 1;
        self.changes.push(format!("{} {word} ns/{name}", self.revision));
        match ask {
            Ask::Delete(_) => self.objects.remove(&name),
            _ => self.objects.insert(name, self.revision),
        };
        (command, format!("applied {}", self.revision))
    }
}

fn outcome(result: Result<Applied, ProposeError>) -> String {
    match result {
        Ok(applied) => format!("applied {}", applied.revision),
        Err(ProposeError::Conflict(Conflict::Exists(entry))) => format!("exists {}", entry.revision),
        Err(ProposeError::Conflict(Conflict::Missing)) => "missing".into(),
        Err(other) => other.to_string(),
    }
}

async fn check(groups: Vec<Vec<(u8, Ask)>>) {
    let disk = Disk::default();
    let mut model = Model::default();
    let before = {
        let store = disk.open().unwrap();
        let mut watch = store.watch(pods(), Revision(0)).unwrap();
        for group in groups {
            let (commands, expected): (Vec<_>, Vec<_>) = group.into_iter().map(|ask| model.ask(ask)).unzip();
            let results = join_all(commands.into_iter().map(|command| store.propose(command))).await;
            assert_eq!(results.into_iter().map(outcome).collect::<Vec<_>>(), expected);
        }
        let present: BTreeMap<String, u64> =
            store.snapshot(pods()).objects.iter().map(|(k, e)| (k.name.to_string(), e.revision.0)).collect();
        assert_eq!(present, model.objects);
        let mut seen = Vec::new();
        while seen.len() < model.changes.len() {
            seen.extend(told(&watch.next(3).await.unwrap()));
        }
        assert_eq!(seen, model.changes);
        assert_eq!(watch.position(), store.revision());
        dump(&store)
    };
    assert_eq!(dump(&disk.open().unwrap()), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_commands_in_any_groups(groups in prop::collection::vec(prop::collection::vec(any_ask(), 1..12), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(groups));
    }
}
