//! What a container uses, read from the files of its cgroup: the engine's own statistics take a second each.
//!
//! Knows both of Linux' hierarchies: version 2, and version 1 with a hierarchy for each controller.

use std::fs;
use std::path::{Path, PathBuf};

use wherry_runtime::Usage;

/// Where Linux distributions mount cgroups.
const ROOT: &str = "/sys/fs/cgroup";

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
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::parse(&table, Path::new(ROOT))
    }

    /// From lines of `/proc/PID/cgroup`: `NUMBER:CONTROLLERS:PATH`. A machine may have both versions: where version 1 has the
    /// controllers, it counts.
    fn parse(table: &str, root: &Path) -> Option<Self> {
        let rows = || table.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let place = |controller: &str| {
            let (_, path) = rows().find(|(controllers, _)| controllers.split(',').any(|one| one == controller))?;
            Some(root.join(controller).join(path.trim_start_matches('/')))
        };
        if let (Some(cpu), Some(memory)) = (place("cpuacct"), place("memory")) {
            return Some(Self::Version1 { cpu, memory });
        }
        let (_, path) = rows().find(|(controllers, _)| controllers.is_empty())?;
        Some(Self::Version2(root.join(path.trim_start_matches('/'))))
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
        put("docker/a/cpu.stat", "usage_usec 7\nuser_usec 1\n");
        put("docker/a/memory.current", "100\n");
        put("docker/a/memory.stat", "anon 60\ninactive_file 40\n");
        put("cpuacct/docker/a/cpuacct.usage", "9000\n");
        put("memory/docker/a/memory.usage_in_bytes", "50\n");
        put("memory/docker/a/memory.stat", "inactive_file 1\ntotal_inactive_file 60\n");
        let check = |table: &str, expected: Option<(u64, u64)>| {
            let usage = Cgroup::parse(table, scratch.path()).map(|cgroup| cgroup.usage());
            assert_eq!(usage.map(|usage| (usage.cpu_nanos, usage.memory_bytes)), expected, "{table}");
        };
        check("0::/docker/a\n", Some((7000, 60)));
        check("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/x\n", Some((9000, 0)));
        check("0::/gone\n", Some((0, 0)));
        check("", None);
    }
}
