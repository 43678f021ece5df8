//! Where the machine's cgroup hierarchies are, and which cgroup of each a process is in: read off two files of /proc.

use std::path::PathBuf;
use std::{fs, io};

/// The two interfaces of cgroups. A machine may have both, with the controllers shared out between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for a few controllers.
    One,
    /// The unified one.
    Two,
}

/// A process' cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which kind of hierarchy it is.
    pub version: Version,
    /// What the hierarchy controls; the unified one tells that in a file of each cgroup.
    pub controllers: Vec<String>,
    /// Where the cgroup's files are.
    pub directory: PathBuf,
}

/// The cgroups of a process: of its number, or of `self`. The error names the file that cannot be read.
pub fn places_of(process: &str) -> Result<Vec<Place>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error: io::Error| format!("{path}: {error}"));
    Ok(places(&read("/proc/self/mountinfo")?, &read(&format!("/proc/{process}/cgroup"))?))
}

/// The same, given `/proc/self/mountinfo` and the process' `/proc/PID/cgroup`.
pub fn places(mountinfo: &str, cgroups: &str) -> Vec<Place> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(mount).collect();
    cgroups.lines().filter_map(|line| place(line, &mounts)).collect()
}

struct Mount<'a> {
    version: Version,
    root: &'a str,
    point: &'a str,
    options: &'a str,
}

/// `24 30 0:22 ROOT POINT rw,relatime shared:4 - cgroup SOURCE rw,memory`
fn mount(line: &str) -> Option<Mount<'_>> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    Some(Mount { version, root, point, options: kind.nth(1).unwrap_or_default() })
}

/// `4:memory:/PATH`, or `0::/PATH` for the unified hierarchy.
fn place(line: &str, mounts: &[Mount<'_>]) -> Option<Place> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let controllers: Vec<String> = controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
    let version = if controllers.is_empty() { Version::Two } else { Version::One };
    let holds = |mount: &&Mount<'_>| {
        mount.version == version && controllers.iter().all(|c| mount.options.split(',').any(|option| option == c))
    };
    let mount = mounts.iter().find(holds)?;
    let below = if mount.root == "/" { path } else { path.strip_prefix(mount.root)? };
    let directory = PathBuf::from(format!("{}{}", mount.point, below.trim_end_matches('/')));
    Some(Place { version, controllers, directory })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mountinfo: &str, cgroups: &str, expected: &[(Version, &str, &str)]) {
        let found = places(mountinfo, cgroups);
        let found: Vec<_> =
            found.iter().map(|p| (p.version, p.controllers.join(","), p.directory.display().to_string())).collect();
        let expected: Vec<_> = expected.iter().map(|(v, c, d)| (*v, (*c).to_owned(), (*d).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_unified_hierarchy() {
        check(
            "22 1 8:1 / / rw - ext4 /dev/sda rw\n35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            "0::/system.slice/wherry.service\n",
            &[(Version::Two, "", "/sys/fs/cgroup/system.slice/wherry.service")],
        );
    }

    #[test]
    fn a_hierarchy_for_each_controller() {
        check(
            "35 24 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 24 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n37 24 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n",
            "9:name=systemd:/a\n4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/\n",
            &[
                (Version::One, "name=systemd", "/sys/fs/cgroup/systemd/a"),
                (Version::One, "memory", "/sys/fs/cgroup/memory/a/b"),
                (Version::One, "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            ],
        );
    }

    #[test]
    fn a_container_that_sees_only_its_own() {
        let mountinfo = "35 24 0:30 /docker/77 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        check(mountinfo, "4:memory:/docker/77/x\n", &[(Version::One, "memory", "/sys/fs/cgroup/memory/x")]);
        check(mountinfo, "4:memory:/elsewhere\n", &[]);
    }
}
