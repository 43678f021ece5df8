//! Whether this process may have as many memory maps as its guests can come to need. They, not memory, bound how many
//! guests a process can hold: past the limit the kernel refuses an instance for lack of memory.

use crate::places::STACKS_A_CONCURRENT_PLACE;

/// What a request's instance adds to the maps of its pool's empty slot, at most, and what a command takes (measured).
const MAPS_A_REQUEST: u64 = 4;
const MAPS_A_COMMAND: u64 = 7;
/// A stack of a pool and its guard, for each stack of both pools.
const MAPS_OF_STACKS: u64 = 2 * (1 + STACKS_A_CONCURRENT_PLACE as u64);
/// For all else that the process maps: code, files, threads.
const MAPS_ELSE: u64 = 3_000;

/// Says how to raise the limit where it is too low for so many requests at once, and commands beside them.
pub(crate) fn warn_if_few(requests: u32, commands: u32) {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    let needed = needed(requests, commands);
    if limit.is_some_and(|limit: u64| limit < needed) {
        tracing::warn!(
            "{requests} requests at once and {commands} command modules can need {needed} memory maps, but Linux grants \
             a process fewer: guests beyond that fail to start. Raise it with `sysctl -w vm.max_map_count={needed}`, \
             and in /etc/sysctl.d to keep it"
        );
    }
}

fn needed(requests: u32, commands: u32) -> u64 {
    u64::from(requests) * (MAPS_A_REQUEST + MAPS_OF_STACKS) + u64::from(commands) * MAPS_A_COMMAND + MAPS_ELSE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_linux_is_enough_for_thousands() {
        assert_eq!(needed(4_096, 3_072), 65_464);
    }
}
