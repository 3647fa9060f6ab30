//! A socket device (section 5.10): the host's own, by vhost. Programs of the host use ordinary sockets of the
//! family `AF_VSOCK`.
//!
//! The host's kernel works on the queues itself: the guest tells it directly, and is told directly. The device's
//! thread lets it begin and end.

use std::io;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use vhost::vhost_kern::vsock::Vsock;
use vhost::vsock::VhostVsock;
use vhost::{Error, VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_queue::QueueT;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::queue::{Active, Device, Model, Worker, descriptor};
use crate::jail::{Call, calls};
use crate::memory::Memory;

const VSOCK: u32 = 19;
/// Those that the host works on; the third one is for events, of which there are none.
const QUEUES: usize = 2;

/// The calls to the host's device that the thread makes (Linux, `include/uapi/linux/vhost.h`).
const CALLS: &[Call] = calls! {
    SYS_ioctl(0x4008_af00) // VHOST_SET_FEATURES
    SYS_ioctl(0x4008_af10) // VHOST_SET_VRING_NUM
    SYS_ioctl(0x4028_af11) // VHOST_SET_VRING_ADDR
    SYS_ioctl(0x4008_af12) // VHOST_SET_VRING_BASE
    SYS_ioctl(0x4008_af20) // VHOST_SET_VRING_KICK
    SYS_ioctl(0x4008_af21) // VHOST_SET_VRING_CALL
    SYS_ioctl(0x4004_af61) // VHOST_VSOCK_SET_RUNNING
};

struct Host {
    vsock: Vsock<std::sync::Arc<vm_memory::GuestMemoryMmap>>,
}

/// A device by which the guest has this CID, which no other machine of the host's has.
pub fn open(cid: u32, memory: &Memory) -> Result<Device> {
    let vsock = match Vsock::new(memory.shared()) {
        Ok(vsock) => vsock,
        Err(Error::VhostOpen(error)) => match error.kind() {
            io::ErrorKind::NotFound => {
                bail!("this host has no /dev/vhost-vsock; load its module: modprobe vhost_vsock")
            }
            _ => bail!(
                "cannot open /dev/vhost-vsock: {error}; this user needs the right to write to it"
            ),
        },
        Err(error) => bail!("cannot open /dev/vhost-vsock: {error}"),
    };
    let regions = memory.map().iter().map(|region| VhostUserMemoryRegionInfo {
        guest_phys_addr: region.start_addr().0,
        memory_size: region.len(),
        userspace_addr: region.as_ptr() as u64,
        ..VhostUserMemoryRegionInfo::default()
    });
    let regions = regions.collect::<Vec<_>>();
    let begun = vsock.set_owner().and_then(|()| vsock.set_mem_table(&regions));
    begun.context("/dev/vhost-vsock does not take the guest's memory")?;
    match vsock.set_guest_cid(cid.into()) {
        Ok(()) => {}
        Err(Error::IoctlError(error)) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
            bail!("another machine has the CID {cid}; choose one that is free for --vsock")
        }
        Err(error) => return Err(error).context("/dev/vhost-vsock does not take the CID"),
    }
    let model = Model {
        id: VSOCK,
        features: 0,
        configuration: u64::from(cid).to_le_bytes().to_vec(),
        queues: QUEUES + 1,
        share: |model, _, _| (0..model.queues).collect(),
    };
    Ok((model, vec![Box::new(Host { vsock })]))
}

impl Host {
    fn start(&self, active: &Active) -> vhost::Result<()> {
        self.vsock.set_features(active.features)?;
        for (number, queue) in active.queues.iter().enumerate().take(QUEUES) {
            let place = VringConfigData {
                queue_max_size: queue.max_size(),
                queue_size: queue.size(),
                flags: 0,
                desc_table_addr: queue.desc_table(),
                used_ring_addr: queue.used_ring(),
                avail_ring_addr: queue.avail_ring(),
                log_addr: None,
            };
            self.vsock.set_vring_num(number, queue.size())?;
            self.vsock.set_vring_addr(number, &place)?;
            self.vsock.set_vring_base(number, 0)?;
            self.vsock.set_vring_call(number, &active.interrupt.used)?;
            self.vsock.set_vring_kick(number, &active.kicks[number])?;
        }
        self.vsock.start()
    }
}

impl Worker for Host {
    fn calls(&self) -> &'static [Call] {
        CALLS
    }

    fn run(&mut self, active: &mut Active) -> io::Result<()> {
        self.start(active).map_err(io::Error::other)?;
        let stop = descriptor(&active.stop);
        while poll(&mut [PollFd::new(&stop, PollFlags::IN)], None) == Err(Errno::INTR) {}
        self.vsock.stop().map_err(io::Error::other)
    }
}
