//! Pods that take more of the disk than there is for them: past a volume's limit, and until the node has none left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wherry_tests::{Cluster, Line, Printed, script, until};

use crate::WHERRY;

fn run(cluster: &Cluster, lines: &[Line]) {
    let verbs = |words: &[&str]| Ok(Printed::from(cluster.wherry(words)?));
    script(&verbs, Path::new("/"), lines);
}

#[test]
fn who_takes_too_much_of_the_disk_is_evicted() {
    let mut cluster = Cluster::start(WHERRY).unwrap();
    cluster.load_guest("misbehave").unwrap();
    past_a_limit(&cluster);
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
    let Some(_small) = SmallDisk::at(&cluster.data().join("node")) else {
        return eprintln!("SKIPPED: this process may not mount a small disk for the node to fill");
    };
    cluster.restart().unwrap();
    until_there_is_none_left(&cluster);
    assert_eq!(cluster.terminate().unwrap(), Some(0), "{}", cluster.errors());
}

fn past_a_limit(cluster: &Cluster) {
    cluster.apply("default", include_str!("disk/limit.yaml")).unwrap();
    let pods = || fs::read_dir(cluster.data().join("node/pods/default")).into_iter().flatten();
    let size = |pod: PathBuf| fs::metadata(pod.join("volumes/v/file")).map_or(0, |file| file.len());
    let phase = || cluster.wherry(&["get", "pod", "limited", "-o", "jsonpath={.status.phase}"]);
    let mut written = 0;
    until("it has failed", || {
        let size = pods().map(|pod| size(pod.unwrap().path())).max().unwrap_or(0);
        written = written.max(size);
        Ok((size == 0 && phase()?.stdout.starts_with(b"Failed")).then_some(()))
    })
    .unwrap();
    println!("a writer without a pause was seen to have {} MiB in a volume of 8", written >> 20);
    run(
        cluster,
        &[
            (
                "get pod limited -o 'jsonpath={.status.reason}: {.status.message}'",
                &["Evicted: Usage of EmptyDir volume \"v\" exceeds the limit \"8Mi\"."],
            ),
            ("delete pod limited", &["deleted"]),
        ],
    );
}

fn until_there_is_none_left(cluster: &Cluster) {
    const CONDITION: &str = "~ get node wherry -o 'jsonpath={.status.conditions[?(@.type==\"DiskPressure\")].reason}'";
    run(cluster, &[(CONDITION, &["KubeletHasNoDiskPressure"])]);
    cluster.apply("default", include_str!("disk/fill.yaml")).unwrap();
    run(
        cluster,
        &[
            ("wait --for jsonpath={.status.phase}=Failed pod/fill --timeout 60s", &["met"]),
            (
                "get pod fill -o 'jsonpath={.status.reason}: {.status.message}'",
                &["Evicted: The node was low on resource: ephemeral-storage."],
            ),
            (CONDITION, &["KubeletHasDiskPressure"]),
            ("~ get node wherry -o jsonpath={.spec.taints}", &["node.kubernetes.io/disk-pressure"]),
        ],
    );
    cluster.apply("default", include_str!("disk/late.yaml")).unwrap();
    run(
        cluster,
        &[
            ("~ events --for pod/late", &["FailedScheduling", "node.kubernetes.io/disk-pressure"]),
            ("wait --for jsonpath={.status.phase}=Failed pod/stubborn --timeout 60s", &["met"]),
            (
                "get pod stubborn -o 'jsonpath={.status.reason}: {.status.message}'",
                &["Evicted: Pod was rejected: The node had condition: [DiskPressure]."],
            ),
        ],
    );
}

/// A small file system in memory over a directory, as long as this is there.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn at(place: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m,mode=755", "small-disk"]).arg(place);
        mount.status().is_ok_and(|status| status.success()).then(|| Self(place.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: where the test failed, processes still use it.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
