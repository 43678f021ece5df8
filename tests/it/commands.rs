//! The binary's own verbs, as lines: their words stand apart by single blanks.

use wherry_tests::Cluster;

/// Runs a verb that must succeed; what it printed.
pub fn verb(cluster: &Cluster, line: &str) -> String {
    attempt(cluster, line).unwrap()
}

/// Runs a verb; what it printed, or where it failed, all that it said.
pub fn attempt(cluster: &Cluster, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    let output = cluster.wherry(&words).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(format!("{line}: {printed}{}", String::from_utf8_lossy(&output.stderr)))
}
