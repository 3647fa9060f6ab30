//! The checks of the nested Linux on this host's own KVM: in namespaces, with the same shell and the same programs, so
//! that they neither see nor change what is the host's.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::initramfs;
use super::nested::{Check, Done, job, limit, outcomes};
use crate::process;

/// Makes a root of the directory `$1`, in namespaces that are new, and runs the job there. The root is a mount above
/// the one that was there, which a program could not leave (`pivot_root(2)`).
pub const SCRIPT: &str = r#"
set -e; mount --rbind "$1" "$1"; cd "$1"; mkdir -p proc sys dev tmp out etc
mount -t proc proc proc; mount --rbind /sys sys; mount -t tmpfs tmp tmp; mount -t tmpfs dev dev; mkdir dev/net dev/shm
for node in kvm null zero random urandom net/tun; do
    if [ -e /dev/$node ]; then : > dev/$node; mount --bind /dev/$node dev/$node; fi
done
mount -t tmpfs shm dev/shm; echo root:x:0:0::/:/bin/sh > etc/passwd
mount --move . /
exec chroot . /bin/busybox sh -c '/bin/busybox --install -s /bin; export PATH=/bin HOME=/ TERM=dumb
    ip link set lo up; cd /; exec sh /job/run'
"#;

/// A command in namespaces of its own.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--net", "--pid", "--fork"]);
    command.args(["--kill-child", "sh"]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Whether this user may have namespaces.
pub fn is_possible() -> bool {
    let tried = apart().args(["-c", "mount -t tmpfs tmp /tmp"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Runs the checks one after the other with the tools of `base`, and gives what came of each, in the same order.
pub fn run(base: &Path, files: &[(&str, &[u8])], checks: &[Check]) -> Result<Vec<Done>> {
    let place = tempfile::tempdir().context("cannot make a temporary directory")?;
    let [root, complaints] = ["root", "complaints"].map(|name| place.path().join(name));
    let base = fs::read(base).context("cannot read the tools")?;
    for archive in [base, job(files, checks).context("cannot pack the checks")?] {
        initramfs::unpack(&archive, &root).context("cannot unpack the tools")?;
    }
    let mut command = apart();
    command.args(["-c", SCRIPT, "sh"]).arg(&root);
    command.stderr(fs::File::create(&complaints).context("cannot make a file")?);
    let mut child = command.spawn().context("cannot start unshare")?;
    let status = process::wait(&mut child, limit(checks))?;
    let said = fs::read_to_string(&complaints).unwrap_or_default();
    let status = status.with_context(|| format!("the checks did not end; they said:\n{said}"))?;
    ensure!(status.success(), "the checks ended too early ({status}): {said}");
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("out")).context("nothing came of the checks")? {
        let entry = entry?;
        found.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    Ok(outcomes(found, checks.len()))
}
