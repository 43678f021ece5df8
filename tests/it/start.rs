//! `wherry up` where it cannot start: the message says what is wrong, where, and what to do about it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wherry_tests::{Cluster, refused_start};

use crate::WHERRY;

/// All of `parts` in what a start with these arguments on this directory says; the exit code is a failure's.
fn check(data: &Path, arguments: &[&str], parts: &[&str]) {
    let (code, text) = refused_start(Path::new(WHERRY), data, arguments).unwrap();
    assert!(code.is_some_and(|code| code != 0), "{arguments:?}: ended with {code:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: wanted {part:?} in {text:?}");
    }
    assert!(!text.contains("panicked") && text.lines().count() <= 6, "{arguments:?}: {text}");
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for flag in ["--api-port", "--http-port", "--https-port", "--kubelet-port", "--registry-port"] {
        let scratch = tempfile::tempdir().unwrap();
        let number = port.to_string();
        let what = format!("cannot listen on 127.0.0.1:{port}");
        check(scratch.path(), &[flag, &number], &["error: ", &what, flag, "in use"]);
        assert!(!scratch.path().join("kubeconfig").exists(), "nothing was begun");
    }
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named_with_the_way_out() {
    let scratch = tempfile::tempdir().unwrap();
    let prepare = |name: &str, file: &str, content: &str| -> PathBuf {
        let path = scratch.path().join(name).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    };
    // Root may write everywhere, but not below a file.
    let below_a_file = prepare("a", "file", "").join("data");
    let newer = prepare("newer", "format", "2\n");
    let unknown = prepare("unknown", "format", "tar\n");
    let shown = |path: &Path| path.display().to_string();
    check(&below_a_file, &[], &["cannot use the data directory", &shown(&below_a_file), "--data-dir"]);
    let parent = shown(newer.parent().unwrap());
    check(newer.parent().unwrap(), &[], &[&parent, "has format 2", "knows up to 1", "use the newer release"]);
    assert_eq!(std::fs::read_to_string(&newer).unwrap(), "2\n", "left as it was");
    check(unknown.parent().unwrap(), &[], &["has format tar", "use the newer release"]);
}

#[test]
fn bad_arguments_are_told_before_anything_is_begun() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["-f", "no/such/file.yaml"], &["no/such/file.yaml", "No such file"]),
        (&["--cluster-cidr", "10.0.0.0/33"], &["--cluster-cidr", "10.0.0.0/33"]),
        (&["--cluster-cidr", "fd00::/64"], &["--cluster-cidr", "fd00::/64", "IPv4"]),
        (&["--service-cidr", "10.128.0.0/16"], &["--service-cidr", "--cluster-cidr", "overlap"]),
        (&["--bind-address", "192.0.2.1"], &["cannot listen on 192.0.2.1", "--bind-address"]),
        (&["--name", "Not_A_Name"], &["--name", "Not_A_Name"]),
    ];
    for (arguments, parts) in cases {
        let scratch = tempfile::tempdir().unwrap();
        check(scratch.path(), arguments, parts);
    }
}

#[test]
fn a_small_limit_of_open_files_is_raised() {
    let scratch = tempfile::tempdir().unwrap();
    let narrow = scratch.path().join("narrow");
    std::fs::write(&narrow, format!("#!/bin/sh\nulimit -S -n 256\nexec {WHERRY} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&narrow, std::fs::Permissions::from_mode(0o755)).unwrap();
    let cluster = Cluster::start(&narrow).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", cluster.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[3] == words[4] && words[3] != "256", "{line}");
}
