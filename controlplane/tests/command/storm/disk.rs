//! A small disk for a database: a tmpfs, which root may mount, and whoever may have a user namespace in one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set in the test's second process, inside a namespace.
const INSIDE: &str = "TORCH_REMOTE_TEST_INSIDE_NAMESPACE";

/// A tmpfs. Dropped, it is unmounted.
pub struct Disk(PathBuf);

/// What a test has to do.
pub enum Where {
    /// Go on, on this disk.
    Here(Disk),
    /// Nothing: it was run in a process that may mount.
    Done,
    /// Nothing: nobody here may mount.
    Nowhere,
}

impl Disk {
    /// Mounts one of `mebibytes` at `path`, or runs the test named `test` again where that can be done.
    pub fn mount(path: &Path, mebibytes: u32, test: &str) -> Where {
        fs::create_dir_all(path).unwrap();
        if quiet(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=755"), "tmpfs", path.to_str().unwrap()],
        ) {
            return Where::Here(Self(path.to_owned()));
        }
        let namespace = ["--user", "--map-root-user", "--mount"];
        if std::env::var_os(INSIDE).is_some() || !quiet("unshare", &[&namespace[..], &["true"]].concat()) {
            return Where::Nowhere;
        }
        let mut again = Command::new("unshare");
        again.args(namespace).arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
        let status = again.env(INSIDE, "1").stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{test} failed in a namespace of its own: {status}");
        Where::Done
    }

    /// Takes all that is free.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        for chunk in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; chunk]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        quiet("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn quiet(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
