//! The processes that are measured: where the binary is, what it is given, what /proc tells of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;
use wherry_tests::Cluster;

use crate::figures::Samples;

/// Modules in the node's process: for what is budgeted as one process.
pub const SHARED: [&str; 2] = ["--isolation", "shared"];

/// The `wherry` that was built together with this program.
pub fn wherry() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("wherry");
    anyhow::ensure!(path.exists(), "{} is missing: run this by `cargo xtask bench`", path.display());
    Ok(path)
}

/// Resident memory in MiB.
pub fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    mib(&status, "VmRSS:")
}

/// CPU seconds used so far, in user and kernel.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    /// `USER_HZ`, which Linux fixes at 100 on every architecture that we run on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
    // Fields 14 and 15 of proc_pid_stat(5): the state, field 3, is the first after the name.
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

/// Whether a process is there, and has not ended.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// What a cluster has used and uses: its own process and those that it has started.
pub struct Cost {
    pub cpu_seconds: f64,
    pub pss_mib: f64,
    /// The share of the processes that it has started.
    pub sandboxes_mib: f64,
    pub sandboxes: usize,
}

impl Cost {
    /// The share of its own process.
    pub fn node_mib(&self) -> f64 {
        self.pss_mib - self.sandboxes_mib
    }
}

/// Asks /proc.
pub fn cost(cluster: &Cluster) -> anyhow::Result<Cost> {
    let node = cluster.pid();
    let sandboxes = children(node)?;
    let (mut cpu_seconds, mut sandboxes_mib) = (self::cpu_seconds(node)?, 0.0);
    for pid in &sandboxes {
        cpu_seconds += self::cpu_seconds(*pid)?;
        sandboxes_mib += pss_mib(*pid)?;
    }
    Ok(Cost { cpu_seconds, pss_mib: pss_mib(node)? + sandboxes_mib, sandboxes_mib, sandboxes: sandboxes.len() })
}

/// Memory in MiB (`Pss`) of all processes whose command line has this word in it, and of all that those have started.
pub fn family_mib(word: &str) -> f64 {
    let pids = || {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    };
    let parents: HashMap<u32, u32> = pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let is_named = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(word));
    let ancestors = |pid: u32| std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    let family = parents.keys().filter(|pid| ancestors(**pid).any(is_named));
    // One that has ended meanwhile takes nothing.
    family.filter_map(|pid| pss_mib(*pid).ok()).sum()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 4 of proc_pid_stat(5): the second after the name.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Memory in MiB, of which shared pages count in part.
fn pss_mib(pid: u32) -> anyhow::Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    mib(&rollup, "Pss:")
}

fn mib(text: &str, name: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let mut all = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children"))?;
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(all)
}

/// The share of a core that a process uses while nothing is asked of it, over `time`, once it had `settling` to come to rest.
pub fn idle_cpu(pid: u32, settling: Duration, time: Duration) -> anyhow::Result<f64> {
    thread::sleep(settling);
    let before = cpu_seconds(pid)?;
    thread::sleep(time);
    Ok((cpu_seconds(pid)? - before) / time.as_secs_f64())
}

/// What leads from the host `web.example` to the Service `web`.
pub const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - host: web.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
";

/// `wherry apply` of a manifest.
pub fn apply(cluster: &Cluster, manifest: &str) -> anyhow::Result<()> {
    let file = cluster.data().join("bench.yaml");
    fs::write(&file, manifest)?;
    let output = cluster.wherry(&["apply", "-f", &file.display().to_string()])?;
    anyhow::ensure!(output.status.success(), "apply: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What one durable write of a small file costs here.
pub fn fdatasync(directory: &Path) -> anyhow::Result<Samples> {
    let mut file = File::create(directory.join("fdatasync"))?;
    let mut once = || -> anyhow::Result<Duration> {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        Ok(began.elapsed())
    };
    Ok(Samples::new((0..100).map(|_| once()).collect::<anyhow::Result<_>>()?))
}
