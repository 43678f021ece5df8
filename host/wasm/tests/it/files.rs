//! What a guest sees of the node's files: what its pod mounts, and as it mounts it.

use std::fs;

use crate::node::{Guest, Pod, run};

#[test]
fn nothing_is_seen_that_is_not_mounted() {
    run(async {
        let (exit, log) = Guest::new("misbehave", &["forbidden-file"]).outcome().await;
        assert_eq!(exit.code, 1, "{log}");
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("etc")).unwrap();
        let reader = Guest::new("misbehave", &["forbidden-file", "/data/etc/passwd", "/data/../etc/passwd"]);
        let (exit, log) = reader.mount(directory.path(), "/data", false).outcome().await;
        assert_eq!(exit.code, 1, "no link leads out: {log}");
    });
}

#[test]
fn a_read_only_mount_is_read_only() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("word"), "sesame").unwrap();
        let writer = || Guest::new("misbehave", &["write", "/data/word"]);
        let (exit, log) = writer().mount(directory.path(), "/data", true).outcome().await;
        assert_eq!((exit.code, fs::read_to_string(directory.path().join("word")).unwrap().as_str()), (1, "sesame"));
        assert!(log.contains("PermissionDenied") || log.contains("ReadOnly"), "{log}");
        let (_, log) =
            Guest::new("batch", &["cat", "/data/word"]).mount(directory.path(), "/data", true).outcome().await;
        assert_eq!(log, "sesame");
        let (exit, _) = writer().mount(directory.path(), "/data", false).outcome().await;
        assert_eq!(exit.code, 0);
        assert_ne!(fs::read_to_string(directory.path().join("word")).unwrap(), "sesame");
    });
}

#[test]
fn a_program_has_only_so_many_files_open() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let open = |times| Guest::new("batch", &["open", "/data/file", times]).mount(directory.path(), "/data", true);
        let (exit, log) = open("900").outcome().await;
        assert_eq!((exit.code, log.as_str()), (0, "900 times\n"));
        let (exit, _) = open("1100").outcome().await;
        assert_eq!(exit.code, 134);
        assert!(exit.message.contains("resource table"), "{}", exit.message);
    });
}

#[test]
fn containers_share_a_directory() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.log");
        fs::write(&log, "GET /first\n").unwrap();
        let pod = Pod::new();
        let shipper = Guest::new("log-shipper", &["/logs/access.log"]).mount(directory.path(), "/logs", true);
        let shipper = pod.start(shipper).await;
        shipper.says("GET /first").await;
        let writer = Guest::new("misbehave", &["write", "/logs/access.log"]).mount(directory.path(), "/logs", false);
        assert_eq!(pod.start(writer).await.container.exited().await.code, 0);
        shipper.says("misbehaved").await;
        shipper.container.kill();
    });
}

#[test]
fn single_files_are_mounted_as_files() {
    run(async {
        let volume = tempfile::tempdir().unwrap();
        fs::write(volume.path().join("settings"), "from the file").unwrap();
        fs::write(volume.path().join("other"), "from the other").unwrap();
        let settings = volume.path().join("settings");
        let both = |args: &[&str], read_only| {
            let guest = Guest::new(if args[0] == "cat" { "batch" } else { "misbehave" }, args);
            let other = volume.path().join("other");
            guest.mount(&settings, "/etc/app/app.conf", read_only).mount(&other, "/etc/app/other.conf", read_only)
        };
        for (path, content) in [("/etc/app/app.conf", "from the file"), ("/etc/app/other.conf", "from the other")] {
            let (exit, log) = both(&["cat", path], true).outcome().await;
            assert_eq!((exit.code, log.as_str()), (0, content));
        }
        let (exit, log) = both(&["cat", "/etc/app/settings"], true).outcome().await;
        assert_eq!(exit.code, 2, "nothing else of the volume is seen: {log}");
        let (exit, _) = both(&["write", "/etc/app/app.conf"], true).outcome().await;
        assert_eq!((exit.code, fs::read_to_string(&settings).unwrap().as_str()), (1, "from the file"));
        let (exit, _) = both(&["write", "/etc/app/app.conf"], false).outcome().await;
        assert_eq!((exit.code, fs::read_to_string(&settings).unwrap().as_str()), (0, "from the filemisbehaved\n"));
    });
}

#[test]
fn a_file_that_cannot_be_shown_fails_the_start() {
    run(async {
        let volume = tempfile::tempdir().unwrap();
        let file = volume.path().join("file");
        fs::write(&file, "").unwrap();
        let start = async |guest: Guest| Pod::new().try_start(guest).await.err().expect("it does not start").message;
        let into_a_volume = Guest::new("batch", &[]).mount(volume.path(), "/etc", true).mount(&file, "/etc/x", true);
        assert!(start(into_a_volume).await.contains("/etc: a volume is mounted there"));
        let mixed = Guest::new("batch", &[]).mount(&file, "/etc/x", true).mount(&file, "/etc/y", false);
        assert!(start(mixed).await.contains("all read-only or all writable"));
    });
}
