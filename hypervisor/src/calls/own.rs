//! A call that uhyve does not have: changes of names, lengths, modes and times (docs/boot-protocol.md).

use std::mem::offset_of;
use std::sync::Arc;

use rustix::fs::{self, Mode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use vm_memory::ByteValued;

use super::{Context, Done};

/// The call's port.
pub const PORT: u16 = 0x1f00;

/// Its parameters.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Change {
    operation: u32,
    /// A number, or an error's negative number.
    result: i32,
    /// Where the path lies.
    path: u64,
    /// Where another path, a link's target or two times lie.
    other: u64,
    /// An open file's descriptor; below 0 when the path tells the file.
    descriptor: i64,
    /// A mode or a length.
    number: u64,
}

// SAFETY: numbers without anything between them.
unsafe impl ByteValued for Change {}

/// Does it.
pub fn handle(context: &Context, at: u64) -> Done {
    let change = context.read::<Change>(at, 0)?;
    let result = carry_out(context, change).unwrap_or_else(|error| -error.raw_os_error());
    context.write(at, offset_of!(Change, result), result)
}

fn carry_out(context: &Context, change: Change) -> Result<i32, Errno> {
    let files = &context.files;
    let path = || context.path(change.path);
    let done = match change.operation {
        1 => files.rename(&path()?, &context.path(change.other)?),
        2 => files.make_link(&context.path(change.other)?, &path()?),
        3 => files.link(&path()?, &context.path(change.other)?),
        4 => {
            let target = files.read_link(&path()?)?;
            let length = target.len().min(change.number as usize);
            let written = context.memory.write(&target[..length], change.other);
            return written.map(|()| length as i32).map_err(|_| Errno::FAULT);
        }
        number => {
            let file = match i32::try_from(change.descriptor) {
                Ok(descriptor) if descriptor >= 0 => files.get(descriptor)?,
                _ => Arc::new(files.find(&path()?)?),
            };
            let mode = Mode::from_bits_truncate(change.number as u32 & 0o777);
            match number {
                7 => fs::fsync(&file),
                _ if file.read_only => Err(Errno::ROFS),
                5 => fs::fchmod(&file, mode),
                6 => fs::ftruncate(&file, change.number),
                8 => fs::futimens(&file, &times(context, change.other)?),
                _ => Err(Errno::NOSYS),
            }
        }
    };
    done.map(|()| 0)
}

/// Two times in nanoseconds since 1970, the lowest number for one that stays: access, modification.
fn times(context: &Context, at: u64) -> Result<Timestamps, Errno> {
    let time = |offset| match context.read::<i64>(at, offset) {
        Err(_) => Err(Errno::FAULT),
        Ok(i64::MIN) => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
        Ok(time) => Ok(Timespec {
            tv_sec: time.div_euclid(1_000_000_000),
            tv_nsec: time.rem_euclid(1_000_000_000),
        }),
    };
    Ok(Timestamps { last_access: time(0)?, last_modification: time(8)? })
}
