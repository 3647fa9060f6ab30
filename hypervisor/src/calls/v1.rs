//! Version 1 of the interface: parameters lie below 4 GiB, and the buffers of reads and writes have virtual
//! addresses, which are looked up in the guest's page tables.
//!
//! Hermit's kernels before 0.12 speak it.

use std::mem::offset_of;

use uhyve_interface::v1::parameters::{
    CmdsizeParams, CmdvalParams, ExitParams, LseekParams, ReadParams, SerialWriteBufferParams,
    WriteParams,
};
use uhyve_interface::v1::{HypercallAddress, MAX_ARGC_ENVC};
use uhyve_interface::v2::HypercallAddress as Newer;

use super::{Context, Done, Flow, v2};
use crate::paging::{self, PAGE};

/// Does a call; `tables` are the page tables that the guest uses.
pub fn handle(
    context: &Context,
    number: HypercallAddress,
    argument: u64,
    tables: &dyn Fn() -> u64,
) -> Done {
    match number {
        HypercallAddress::Exit => {
            Err(Flow::Exit(fields!(context, argument, ExitParams { arg: i32 })))
        }
        HypercallAddress::Uart => {
            context.console.put(&[argument as u8]);
            Ok(())
        }
        HypercallAddress::SerialBufferWrite => {
            let (buffer, length) =
                fields!(context, argument, SerialWriteBufferParams { buf: u64, len: u64 });
            context.print(1, buffer, length).map(drop)
        }
        HypercallAddress::Cmdsize => sizes(context, argument),
        HypercallAddress::Cmdval => values(context, argument),
        HypercallAddress::FileWrite => {
            let (descriptor, buffer, length) =
                fields!(context, argument, WriteParams { fd: i32, buf: u64, len: u64 });
            let work = |part, length| v2::write_file(context, descriptor, part, length);
            // There is no place for a result.
            by_parts(context, tables(), buffer, length, work).map(drop)
        }
        HypercallAddress::FileRead => {
            let (descriptor, buffer, length) =
                fields!(context, argument, ReadParams { fd: i32, buf: u64, len: u64 });
            let work = |part, length| Ok(v2::read_file(context, descriptor, part, length));
            let result = by_parts(context, tables(), buffer, length, work)?;
            context.write(argument, offset_of!(ReadParams, ret), result)
        }
        HypercallAddress::FileLseek => {
            let (descriptor, offset, whence) =
                fields!(context, argument, LseekParams { fd: i32, offset: i64, whence: u32 });
            let result = v2::seek_file(context, descriptor, offset, whence).max(-1);
            context.write(argument, offset_of!(LseekParams, offset), result)
        }
        // The same as later.
        HypercallAddress::FileOpen => v2::handle(context, Newer::FileOpen, argument),
        HypercallAddress::FileClose => v2::handle(context, Newer::FileClose, argument),
        HypercallAddress::FileUnlink => v2::handle(context, Newer::FileUnlink, argument),
        _ => Ok(()),
    }
}

/// Reads or writes a buffer at a virtual address, each part that lies in one piece for itself. Gives the number
/// of bytes, or an error's negative number when there are none.
fn by_parts(
    context: &Context,
    tables: u64,
    buffer: u64,
    length: u64,
    mut work: impl FnMut(u64, u64) -> Result<i64, Flow>,
) -> Result<i64, Flow> {
    let length = length.min(v2::MOST);
    let find = |at: u64| {
        let address = buffer.checked_add(at)?;
        let found = paging::translate(&context.memory, tables, address)?;
        Some((found, (PAGE - address % PAGE).min(length - at)))
    };
    let mut done = 0;
    while done < length {
        let Some((start, mut part)) = find(done) else {
            return Ok(if done > 0 { done as i64 } else { -i64::from(libc::EFAULT) });
        };
        while done + part < length
            && let Some((next, more)) = find(done + part)
            && next == start + part
        {
            part += more;
        }
        match work(start, part)? {
            error if error < 0 => return Ok(if done > 0 { done as i64 } else { error }),
            count => {
                done += count as u64;
                if (count as u64) < part {
                    break;
                }
            }
        }
    }
    Ok(done as i64)
}

/// The program's name and arguments, and its environment.
fn texts(context: &Context) -> [Vec<String>; 2] {
    let options = &context.options;
    let name = options.image.to_string_lossy().into_owned();
    let arguments = std::iter::once(name).chain(options.arguments.iter().cloned());
    let environment = options.environment.iter().map(|(key, value)| format!("{key}={value}"));
    [arguments.take(MAX_ARGC_ENVC).collect(), environment.take(MAX_ARGC_ENVC).collect()]
}

/// Tells how long they are, each with a zero at its end.
fn sizes(context: &Context, at: u64) -> Done {
    let fields = [
        (offset_of!(CmdsizeParams, argc), offset_of!(CmdsizeParams, argsz)),
        (offset_of!(CmdsizeParams, envc), offset_of!(CmdsizeParams, envsz)),
    ];
    for (texts, (count, lengths)) in texts(context).iter().zip(fields) {
        context.write(at, count, texts.len() as i32)?;
        for (number, text) in texts.iter().enumerate() {
            context.write(at, lengths + 4 * number, text.len() as i32 + 1)?;
        }
    }
    Ok(())
}

/// Copies them to where the guest has room for each.
fn values(context: &Context, at: u64) -> Done {
    let fields = [offset_of!(CmdvalParams, argv), offset_of!(CmdvalParams, envp)];
    for (texts, field) in texts(context).iter().zip(fields) {
        let places = context.read::<u64>(at, field)?;
        for (number, text) in texts.iter().enumerate() {
            let place = context.read::<u64>(places, 8 * number)?;
            let mut bytes = text.clone().into_bytes();
            bytes.push(0);
            context.memory.write(&bytes, place).map_err(|_| Flow::NoParameters(place))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;
    use crate::calls::Call;
    use crate::console::Console;
    use crate::files::Files;
    use crate::memory::Memory;
    use crate::options::{Mount, Options};

    /// A guest whose page at 0x4000_0000 is at 0x5000, the next one at 0x3_0000, the one after that there too.
    fn guest(place: &std::path::Path) -> Result<Context> {
        let mut options = Options::new("image".into());
        options.mounts.push(Mount { host: place.into(), guest: "/data".into(), read_only: false });
        let memory = Memory::new(2 << 20, false)?;
        for (address, entry) in [
            (0x1000, 0x2003_u64),
            (0x2008, 0x3003),
            (0x3000, 0x4003),
            (0x4000, 0x5003),
            (0x4008, 0x3_0003),
            (0x4010, 0x3_0003),
        ] {
            memory.write(&entry.to_le_bytes(), address)?;
        }
        Ok(Context {
            memory,
            console: Console::new(Some(&place.join("output")))?,
            files: Files::new(&options.mounts)?,
            options,
        })
    }

    /// Reads or writes at a virtual address, as Hermit does; gives the result of a read.
    fn transfer(
        guest: &Context,
        port: u16,
        descriptor: i32,
        buffer: u64,
        length: u64,
    ) -> Result<i64> {
        let at = 0x6000;
        for (offset, bytes) in [
            (offset_of!(ReadParams, fd), &descriptor.to_le_bytes()[..]),
            (offset_of!(ReadParams, buf), &buffer.to_le_bytes()),
            (offset_of!(ReadParams, len), &length.to_le_bytes()),
        ] {
            guest.memory.write(bytes, at + offset as u64)?;
        }
        let call = Call { port, argument: 0, value: at as u32 };
        assert_eq!(guest.handle(call, &|| 0x1000), Some(Flow::Continue));
        Ok(guest.read(at, offset_of!(ReadParams, ret)).unwrap_or(i64::MIN))
    }

    #[test]
    fn buffers_have_virtual_addresses() -> Result<()> {
        const WRITE: u16 = HypercallAddress::FileWrite as u16;
        const READ: u16 = HypercallAddress::FileRead as u16;
        let place = tempfile::tempdir()?;
        let guest = guest(place.path())?;
        guest.memory.write(b"Hello, ", 0x5ff9)?;
        guest.memory.write(b"world!\n", 0x3_0000)?;
        transfer(&guest, WRITE, 1, 0x4000_0ff9, 14)?;
        // Nothing of what is not there.
        transfer(&guest, WRITE, 1, 0x3fff_fff0, 20)?;
        let output = std::fs::read(place.path().join("output"))?;
        assert_eq!(output, b"Hello, world!\n");

        std::fs::write(place.path().join("file"), [7; 5000])?;
        let file = guest.files.open("/data/file", 0, 0).unwrap_or(-1);
        assert_eq!(transfer(&guest, READ, file, 0x4000_0800, 5000)?, 5000);
        assert_eq!(transfer(&guest, READ, file, 0x4000_0000, 10)?, 0);
        for (at, length) in [(0x5800, 2048), (0x3_0000, 2952)] {
            let mut bytes = vec![0; length + 1];
            vm_memory::Bytes::read_slice(
                guest.memory.map(),
                &mut bytes,
                vm_memory::GuestAddress(at),
            )?;
            assert!(bytes[..length].iter().all(|byte| *byte == 7));
        }
        for buffer in [0x4000_3000, 0x1000, u64::MAX - 3] {
            let result = transfer(&guest, READ, file, buffer, 100)?;
            assert_eq!(result, -i64::from(libc::EFAULT), "{buffer:#x}");
        }
        Ok(())
    }
}
