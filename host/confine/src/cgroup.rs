//! A cgroup for a sandbox: memory, threads and CPU, in the unified hierarchy or in the older ones, below the agent's own.
//!
//! In the unified hierarchy a cgroup that hands controllers down may hold no process itself. Where the agent is alone in
//! its cgroup (a unit with `Delegate=yes`), it moves into a leaf of its own for that; where it is not, there is no cgroup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::hierarchy::{Place, Version, places_of};
use crate::lacking::Lacking;

/// Where the agent itself goes in the unified hierarchy; `DelegateSubgroup=` of a systemd unit may name it too.
const AGENT_LEAF: &str = "wherry-agent";

/// In which CPU time is shared out: short, so that a sandbox that used up its share does not stall for long.
const CPU_PERIOD_MICROSECONDS: u64 = 20_000;

/// What the kernel takes for a quota at least.
const QUOTA_LEAST: u64 = 1000;

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// What a cgroup is to bound; `None` leaves a resource alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupLimits {
    /// Memory, the page cache of its files included, in bytes; past it the kernel ends the sandbox. No swap.
    pub memory_bytes_max: Option<u64>,
    /// Threads.
    pub threads_max: Option<u64>,
    /// CPU time, in thousandths of a CPU; [`CPU_UNBOUNDED`] where it is bounded later.
    pub cpu_millis_max: Option<u64>,
}

/// All the CPU time there is.
pub const CPU_UNBOUNDED: u64 = u64::MAX;

/// The cgroup of one sandbox. It is removed when it is dropped, unless a process is still in it.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<(Version, PathBuf)>,
}

impl Cgroup {
    /// Makes the cgroup `name` (or takes the one that is there), as far as this machine lets us: what is not bounded is named.
    pub fn make(name: &str, limits: &CgroupLimits) -> (Option<Self>, Vec<Lacking>) {
        match places_of("self") {
            Ok(places) => make_in(&places, name, limits),
            Err(why) => (None, limits.wanted().map(|(controller, _)| lack(controller, why.clone())).collect()),
        }
    }

    /// The cgroup `name` that another agent made for the process `pid`; `None` where it is not in one.
    pub fn adopt(name: &str, pid: u32) -> Option<Self> {
        let named = |place: &Place| place.directory.file_name().is_some_and(|last| last == name);
        let directories = places_of(&pid.to_string()).ok()?.into_iter().filter(named);
        let directories: Vec<_> = directories.map(|place| (place.version, place.directory)).collect();
        (!directories.is_empty()).then_some(Self { directories })
    }

    /// Moves a process into the cgroup. What it allocated before is not counted.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.directories
            .iter()
            .try_for_each(|(_, directory)| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }

    /// Bounds CPU time from now on, in thousandths of a CPU. Whether it can: else it must be done otherwise.
    pub fn bound_cpu(&self, millis_max: u64) -> bool {
        let has = |member: &&(Version, PathBuf)| {
            settings(member.0, "cpu", millis_max).iter().all(|(file, ..)| member.1.join(file).exists())
        };
        self.directories.iter().find(has).is_some_and(|member| bound(member, "cpu", millis_max).is_ok())
    }

    /// Removes those whose names begin so, below the calling process' own, in which no process is any more: what an
    /// earlier process has left behind. Whether all are gone.
    pub fn sweep(prefix: &str) -> bool {
        let mut all = true;
        for place in places_of("self").unwrap_or_default() {
            let entries = fs::read_dir(base(place).directory).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
                all &= fs::remove_dir(entry.path()).is_ok();
            }
        }
        all
    }

    /// How often the kernel ended a process here for want of memory; `None` where memory is not bounded.
    pub fn oom_kills(&self) -> Option<u64> {
        self.directories.iter().find_map(|(version, directory)| {
            let file = match version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            let text = fs::read_to_string(directory.join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
        })
    }

    /// Removes the cgroup, whose processes must have ended.
    pub fn remove(mut self) -> io::Result<()> {
        self.remove_directories()
    }

    /// All of them, also where one cannot be removed; the last error counts.
    fn remove_directories(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for (_, directory) in std::mem::take(&mut self.directories) {
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
                _ => {}
            }
        }
        result
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove_directories() {
            tracing::debug!(%error, "a sandbox's cgroup stays, since a process is in it");
        }
    }
}

/// A file of a cgroup, what to write into it, and whether a kernel may lack it.
type Setting = (&'static str, String, bool);

impl CgroupLimits {
    fn wanted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let values = [self.memory_bytes_max, self.threads_max, self.cpu_millis_max];
        CONTROLLERS.into_iter().zip(values).filter_map(|(controller, value)| Some((controller, value?)))
    }
}

fn settings(version: Version, controller: &str, value: u64) -> Vec<Setting> {
    let quota =
        (value != CPU_UNBOUNDED).then(|| (value.saturating_mul(CPU_PERIOD_MICROSECONDS) / 1000).max(QUOTA_LEAST));
    let quota = |unbounded: &str| quota.map_or_else(|| unbounded.to_owned(), |quota| quota.to_string());
    match (version, controller) {
        (Version::One, "memory") => vec![
            ("memory.limit_in_bytes", value.to_string(), false),
            ("memory.memsw.limit_in_bytes", value.to_string(), true),
        ],
        (Version::Two, "memory") => {
            vec![("memory.max", value.to_string(), false), ("memory.swap.max", "0".to_owned(), true)]
        }
        (_, "pids") => vec![("pids.max", value.to_string(), false)],
        (Version::One, _) => vec![
            ("cpu.cfs_period_us", CPU_PERIOD_MICROSECONDS.to_string(), false),
            ("cpu.cfs_quota_us", quota("-1"), false),
        ],
        (Version::Two, _) => vec![("cpu.max", format!("{} {CPU_PERIOD_MICROSECONDS}", quota("max")), false)],
    }
}

/// What the calling process cannot bound on this machine. Nothing is changed.
pub fn lacking() -> Vec<Lacking> {
    let places = places_of("self");
    let possible = |controller: &'static str| {
        let places = places.as_ref().map_err(Clone::clone)?;
        possible(&parent(places, controller)?, controller)
    };
    CONTROLLERS.into_iter().filter_map(|c| possible(c).err().map(|why| lack(c, why))).collect()
}

fn make_in(places: &[Place], name: &str, limits: &CgroupLimits) -> (Option<Cgroup>, Vec<Lacking>) {
    let mut cgroup = Cgroup { directories: Vec::new() };
    let mut lacking = Vec::new();
    for (controller, value) in limits.wanted() {
        let made = make_one(places, name, controller).and_then(|member| {
            if !cgroup.directories.contains(&member) {
                cgroup.directories.push(member.clone());
            }
            bound(&member, controller, value)
        });
        lacking.extend(made.err().map(|why| lack(controller, why)));
    }
    ((!cgroup.directories.is_empty()).then_some(cgroup), lacking)
}

fn make_one(places: &[Place], name: &str, controller: &str) -> Result<(Version, PathBuf), String> {
    if name.is_empty() || name.contains('/') || name == AGENT_LEAF {
        return Err(format!("{name:?} cannot be its name"));
    }
    let parent = parent(places, controller)?;
    possible(&parent, controller)?;
    if parent.version == Version::Two {
        hand_down(&parent.directory, controller)?;
    }
    let directory = parent.directory.join(name);
    match fs::create_dir(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&directory, &error)),
        _ => Ok((parent.version, directory)),
    }
}

fn bound((version, directory): &(Version, PathBuf), controller: &str, value: u64) -> Result<(), String> {
    for (file, text, optional) in settings(*version, controller, value) {
        let file = directory.join(file);
        if optional && !file.exists() {
            continue;
        }
        fs::write(&file, text).map_err(|error| at(&file, &error))?;
    }
    Ok(())
}

/// Where the agent's cgroup for a controller is, below which a sandbox's can be made.
fn parent(places: &[Place], controller: &str) -> Result<Place, String> {
    let has = |place: &&Place| match place.version {
        Version::One => place.controllers.iter().any(|c| c == controller),
        Version::Two => lists(&place.directory.join("cgroup.controllers"), controller),
    };
    let place = places.iter().find(has).cloned().ok_or("no hierarchy offers it to the agent")?;
    Ok(base(place))
}

/// The cgroup that is the agent's to divide, whether or not it has moved into its leaf.
fn base(mut place: Place) -> Place {
    if place.version == Version::Two && place.directory.file_name().is_some_and(|last| last == AGENT_LEAF) {
        place.directory.pop();
    }
    place
}

fn possible(parent: &Place, controller: &str) -> Result<(), String> {
    let directory = &parent.directory;
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| at(directory, &error.into()))?;
    let handed_down = || lists(&directory.join("cgroup.subtree_control"), controller);
    // The root cgroup, which has no type, may both hold processes and hand down.
    let root = || !directory.join("cgroup.type").exists();
    if parent.version == Version::One || handed_down() || root() || is_alone(directory) {
        return Ok(());
    }
    Err(format!("other processes share the agent's cgroup {}: run it as a unit with Delegate=yes", directory.display()))
}

/// Lets the cgroups below `directory` have a controller, for which the agent may have to leave it.
fn hand_down(directory: &Path, controller: &str) -> Result<(), String> {
    let file = directory.join("cgroup.subtree_control");
    if lists(&file, controller) {
        return Ok(());
    }
    let enable = || fs::write(&file, format!("+{controller}"));
    let moved = match enable() {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy && is_alone(directory) => {
            move_agent(&directory.join(AGENT_LEAF)).and_then(|()| enable())
        }
        result => result,
    };
    moved.map_err(|error| at(&file, &error))
}

fn move_agent(leaf: &Path) -> io::Result<()> {
    if !leaf.exists() {
        fs::create_dir(leaf)?;
    }
    fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())
}

/// Whether the agent, or nobody, is in the cgroup.
fn is_alone(directory: &Path) -> bool {
    let own = std::process::id().to_string();
    fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|text| text.lines().all(|pid| pid == own))
}

fn lists(file: &Path, controller: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|word| word == controller))
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn lack(controller: &'static str, why: String) -> Lacking {
    Lacking::Cgroup { controller, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CgroupLimits =
        CgroupLimits { memory_bytes_max: Some(1 << 30), threads_max: Some(64), cpu_millis_max: Some(1500) };

    /// A directory that looks like a cgroup, and all files below it as text once a sandbox's cgroup was made there.
    fn check(version: Version, controllers: &[&str], files: &[(&str, &str)]) -> (Vec<String>, Vec<Lacking>) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            fs::write(root.path().join(file), text).unwrap();
        }
        let controllers = controllers.iter().map(|&c| c.to_owned()).collect();
        let place = Place { version, controllers, directory: root.path().to_owned() };
        let (cgroup, lacking) = make_in(&[place], "box", &LIMITS);
        let mut written = Vec::new();
        for directory in cgroup.iter().flat_map(|c| c.directories.iter()).map(|(_, directory)| directory) {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let text = fs::read_to_string(entry.path()).unwrap();
                written.push(format!("{}={text}", entry.file_name().display()));
            }
        }
        written.sort();
        (written, lacking)
    }

    #[test]
    fn bounds_in_the_unified_hierarchy() {
        let files = [
            ("cgroup.controllers", "cpuset cpu io memory pids\n"),
            ("cgroup.subtree_control", "cpu memory pids\n"),
            ("cgroup.type", "domain\n"),
            ("cgroup.procs", "1\n2\n"),
        ];
        let (written, lacking) = check(Version::Two, &[], &files);
        assert_eq!(written, ["cpu.max=30000 20000", "memory.max=1073741824", "pids.max=64"]);
        assert_eq!(lacking, []);
    }

    #[test]
    fn a_shared_cgroup_cannot_hand_down() {
        let files = [
            ("cgroup.controllers", "memory pids\n"),
            ("cgroup.subtree_control", "pids\n"),
            ("cgroup.type", "domain\n"),
            ("cgroup.procs", "1\n2\n"),
        ];
        let (written, lacking) = check(Version::Two, &[], &files);
        assert_eq!(written, ["pids.max=64"]);
        let lacking: Vec<String> = lacking.iter().map(ToString::to_string).collect();
        assert!(lacking[0].starts_with("No cgroup bounds the memory") && lacking[0].contains("Delegate=yes"));
        assert_eq!(lacking[1], "No cgroup bounds the cpu of a sandbox: no hierarchy offers it to the agent.");
        assert_eq!(lacking.len(), 2);
    }

    #[test]
    fn bounds_in_an_older_hierarchy() {
        let (written, lacking) = check(Version::One, &["memory", "pids", "cpu"], &[]);
        let expected =
            ["cpu.cfs_period_us=20000", "cpu.cfs_quota_us=30000", "memory.limit_in_bytes=1073741824", "pids.max=64"];
        assert_eq!(written, expected);
        assert_eq!(lacking, []);
    }

    #[test]
    fn cpu_is_bounded_later_where_its_files_are() {
        let root = tempfile::tempdir().unwrap();
        let (with, without) = (root.path().join("with"), root.path().join("without"));
        fs::create_dir(&with).unwrap();
        fs::create_dir(&without).unwrap();
        fs::write(with.join("cpu.max"), "max 100000\n").unwrap();
        let bounded =
            |directory: PathBuf, millis| Cgroup { directories: vec![(Version::Two, directory)] }.bound_cpu(millis);
        for (millis, text) in [(250, "5000 20000"), (1, "1000 20000"), (CPU_UNBOUNDED, "max 20000")] {
            assert!(bounded(with.clone(), millis));
            assert_eq!(fs::read_to_string(with.join("cpu.max")).unwrap(), text);
        }
        assert!(!bounded(without, 250));
    }

    #[test]
    fn counts_kills_for_want_of_memory() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        let cgroup = Cgroup { directories: vec![(Version::Two, root.path().to_owned())] };
        assert_eq!(cgroup.oom_kills(), Some(2));
        assert_eq!(Cgroup { directories: vec![] }.oom_kills(), None);
    }

    #[test]
    fn a_name_stays_below_its_parent() {
        for name in ["", "../x", "a/b", AGENT_LEAF] {
            assert!(make_one(&[], name, "memory").is_err_and(|why| why.ends_with("cannot be its name")));
        }
    }
}
