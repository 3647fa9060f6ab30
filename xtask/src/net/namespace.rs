//! A network namespace of its own for tests and measurements (`network_namespaces(7)`).
//!
//! It has no name: it ends with the last process and the last descriptor in it, and so do the devices
//! in it. Nothing is left behind, however this process ends.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::tap::Tap;
use crate::process;

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// Why no namespace can be made here, if so.
    pub fn obstacle() -> Option<&'static str> {
        if !rustix::process::geteuid().is_root() {
            return Some("needs root, for a network namespace and TAP devices");
        }
        if !fs::exists("/dev/net/tun").unwrap_or(false) {
            return Some("this host has no TAP devices (/dev/net/tun)");
        }
        process::which("ip").is_none().then_some("needs the program `ip` (package iproute2)")
    }

    /// Makes one with nothing but its loopback device, which is up.
    pub fn new() -> Result<Namespace> {
        let make = || -> Result<File> {
            // SAFETY: the flag concerns this thread's network alone, not its descriptors.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
                .context("cannot make a network namespace (root is needed)")?;
            File::open("/proc/thread-self/ns/net").context("cannot open a network namespace")
        };
        // The thread stays in it, so it is one that ends.
        let file = thread::spawn(make).join().map_err(|_| anyhow!("a thread has panicked"))??;
        let namespace = Namespace(Arc::new(file));
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Does something on a thread within the namespace: what it opens belongs to it and stays so.
    pub fn within<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.0).context("cannot enter a network namespace")?;
                action()
            });
            inside.join().map_err(|_| anyhow!("a thread has panicked"))?
        })
    }

    /// A command that will run within the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let namespace = Arc::clone(&self.0);
        let enter = move || Ok(enter(&namespace)?);
        // SAFETY: `enter` makes one system call and allocates nothing, so it is sound after a fork of a
        // process that has more threads.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) -> Result<()> {
        process::output(self.command("ip").args(words.split(' '))).map(drop)
    }

    /// Makes a TAP device, up and with an address like 10.0.0.1/24.
    pub fn tap(&self, name: &str, queues: u32, address: &str) -> Result<Tap> {
        let tap = self.within(|| Tap::make(name, queues))?;
        self.bring_up(name, address)?;
        Ok(tap)
    }

    /// Makes a TAP device whose frames this program reads and writes, up and with an address.
    pub fn plain_tap(&self, name: &str, address: &str) -> Result<File> {
        let tap = self.within(|| Tap::make_plain(name))?;
        self.bring_up(name, address)?;
        tap.into_queue()
    }

    fn bring_up(&self, name: &str, address: &str) -> Result<()> {
        // An address of IPv6 would have to wait until nobody else turns out to have it.
        self.setting(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
        for address in address.split(' ') {
            self.ip(&format!("addr add {address} dev {name}"))?;
        }
        self.ip(&format!("link set {name} up"))
    }

    /// Writes a setting below `/proc/sys/net`.
    pub fn setting(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        self.within(|| fs::write(&path, value).with_context(|| format!("cannot write {path}")))
    }
}

fn enter(namespace: &File) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_within_is_not_seen_outside() -> Result<()> {
        if Namespace::obstacle().is_some() {
            return Ok(());
        }
        let namespace = Namespace::new()?;
        let tap = namespace.tap("skete-test", 1, "10.0.0.1/24")?;
        assert_eq!(tap.name(), "skete-test");
        assert!(Tap::check("skete-test").is_err());
        namespace.within(|| Tap::check("skete-test"))?;
        let shown = process::output(namespace.command("ip").args(["-4", "addr"]))?;
        assert!(shown.contains("10.0.0.1/24"), "{shown}");
        drop(tap);
        assert!(namespace.within(|| Tap::check("skete-test")).is_err());
        Ok(())
    }
}
