//! Whether this process may have as many memory maps as its pool of instances can come to need. They, not memory, bound
//! how many guests a process can hold: past the limit the kernel refuses an instance for lack of memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

/// What an instance adds to the maps of its pool's empty slot, at most (measured).
const MAPS_AN_INSTANCE: u64 = 4;
/// For all else that the process maps later: code, files, threads.
const MAPS_ELSE: u64 = 2_000;

/// Says how to raise the limit where it is too low for `instances`; call it once the pool is there.
pub(crate) fn warn_if_few(instances: u32) {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    let (Some(limit), Ok(present)) = (limit, present()) else { return };
    if let Some(needed) = lacking(limit, present, instances) {
        tracing::warn!(
            "this node's pool holds {instances} instances, which can need {needed} memory maps, but Linux grants a \
             process {limit}: guests beyond that fail to start. Raise it with `sysctl -w vm.max_map_count={needed}`, \
             and in /etc/sysctl.d to keep it"
        );
    }
}

/// How many maps this process has. Their text is megabytes long: it is counted as it is read.
fn present() -> std::io::Result<u64> {
    let maps = BufReader::new(File::open("/proc/self/maps")?);
    maps.split(b'\n').try_fold(0, |count, line| line.map(|_| count + 1))
}

/// How many maps are needed, if that is more than `limit`.
fn lacking(limit: u64, present: u64, instances: u32) -> Option<u64> {
    let needed = present + u64::from(instances) * MAPS_AN_INSTANCE + MAPS_ELSE;
    (needed > limit).then_some(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_linux_is_enough_for_thousands() {
        assert_eq!(lacking(65_530, 20_000, 4_096), None);
        assert_eq!(lacking(65_530, 60_000, 10_000), Some(102_000));
    }
}
