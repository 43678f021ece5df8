//! What a container uses, read from the files of its cgroup: the engine's own statistics take a second each.
//!
//! Knows both of Linux' hierarchies: version 2, and version 1 with a hierarchy for each controller.

use std::fs;
use std::path::{Path, PathBuf};

use wherry_confine::{Place, Version, places_of};
use wherry_runtime::Usage;

/// Where a container's use can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup {
    /// One directory for all.
    Version2(PathBuf),
    /// One for each controller.
    Version1 {
        /// That of the CPU.
        cpu: PathBuf,
        /// That of memory.
        memory: PathBuf,
    },
}

impl Cgroup {
    /// That of a process; `None` where there is none, or the process is gone.
    pub fn of(pid: i32) -> Option<Self> {
        Self::among(&places_of(&pid.to_string()).ok()?)
    }

    /// A machine may have both versions: where version 1 has the controllers, it counts.
    fn among(places: &[Place]) -> Option<Self> {
        let directory = |is_it: &dyn Fn(&Place) -> bool| {
            places.iter().find(|place| is_it(place)).map(|place| place.directory.clone())
        };
        let of = |controller: &str| directory(&|place| place.controllers.iter().any(|one| one == controller));
        match (of("cpuacct"), of("memory")) {
            (Some(cpu), Some(memory)) => Some(Self::Version1 { cpu, memory }),
            _ => directory(&|place| place.version == Version::Two).map(Self::Version2),
        }
    }

    /// What is used now: nothing, where it is gone. Pages of files that could be dropped at any time do not count.
    pub fn usage(&self) -> Usage {
        let (cpu_nanos, current, inactive) = match self {
            Self::Version2(place) => (
                field(&place.join("cpu.stat"), "usage_usec") * 1000,
                number(&place.join("memory.current")),
                field(&place.join("memory.stat"), "inactive_file"),
            ),
            Self::Version1 { cpu, memory } => (
                number(&cpu.join("cpuacct.usage")),
                number(&memory.join("memory.usage_in_bytes")),
                field(&memory.join("memory.stat"), "total_inactive_file"),
            ),
        };
        Usage { cpu_nanos, memory_bytes: current.saturating_sub(inactive) }
    }
}

fn number(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

fn field(file: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = scratch.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put("docker/a/cpu.stat", "usage_usec 7\nuser_usec 1\nsystem_usec 6\nnr_periods 0\nnr_throttled 0\n");
        put("docker/a/memory.current", "100\n");
        let stat = "anon 60\nfile 44\nkernel 6\nfile_mapped 3\nfile_dirty 0\ninactive_anon 60\nactive_anon 0\n\
            inactive_file 40\nactive_file 4\nunevictable 0\nworkingset_refault_file 12\n";
        put("docker/a/memory.stat", stat);
        put("cpuacct/docker/a/cpuacct.usage", "9000\n");
        put("memory/docker/a/memory.usage_in_bytes", "50\n");
        put("memory/docker/a/memory.stat", "inactive_file 1\ntotal_inactive_file 60\n");
        let root = scratch.path().display();
        let mounts = format!(
            "1 1 0:1 / {root} rw - cgroup2 none rw\n2 1 0:2 / {root}/cpuacct rw - cgroup none rw,cpu,cpuacct\n\
             3 1 0:3 / {root}/memory rw - cgroup none rw,memory\n"
        );
        let check = |table: &str, expected: Option<(u64, u64)>| {
            let usage = Cgroup::among(&wherry_confine::places(&mounts, table)).map(|cgroup| cgroup.usage());
            assert_eq!(usage.map(|usage| (usage.cpu_nanos, usage.memory_bytes)), expected, "{table}");
        };
        check("0::/docker/a\n", Some((7000, 60)));
        check("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/x\n", Some((9000, 0)));
        check("0::/gone\n", Some((0, 0)));
        check("", None);
    }
}
