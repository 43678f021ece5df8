//! What makes a process a sandbox for hostile wasm guests: descriptors, limits, Landlock, seccomp, its own user and cgroup.
//!
//! Two parties use it. The sandbox process calls [`confine`] on itself, first thing in its `main`. The node agent starts that
//! process with [`Start`], puts it into a [`Cgroup`], and asks [`kernel_support`] what this machine lacks, so that it can be
//! announced. Whoever reads what other processes use finds their cgroups by [`places_of`]. Nothing here knows of pods, wasm or the agent's protocol, and nothing here spawns a thread.

mod calls;
mod cgroup;
mod clock;
mod confine;
mod descriptors;
mod files;
mod hierarchy;
mod lacking;
mod limits;
mod seccomp;
mod start;

pub use cgroup::{CPU_UNBOUNDED, Cgroup, CgroupLimits};
pub use clock::cpu_time;
pub use confine::{ConfineError, Directory, Plan, Report, confine};
pub use hierarchy::{Place, Version, places, places_of};
pub use lacking::{Lacking, Layer, kernel_support};
pub use start::{SOCKET, Start, USERS_FIRST, USERS_MAX, user};
