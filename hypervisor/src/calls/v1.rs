//! Version 1 of the interface: parameters lie below 4 GiB, and some buffers have virtual addresses.
//!
//! Hermit's kernels before 0.12 speak it. The page tables that a buffer's address is looked up in are those
//! that the guest had at the beginning: they map its memory identically, so that addresses are the same.

use std::mem::offset_of;

use uhyve_interface::v1::parameters::{
    CmdsizeParams, CmdvalParams, ExitParams, LseekParams, ReadParams, SerialWriteBufferParams,
    WriteParams,
};
use uhyve_interface::v1::{HypercallAddress, MAX_ARGC_ENVC};
use uhyve_interface::v2::HypercallAddress as Newer;

use super::{Context, Done, Flow, v2};

/// Does a call.
pub fn handle(context: &Context, number: HypercallAddress, argument: u64) -> Done {
    match number {
        HypercallAddress::Exit => {
            let status = context.read::<i32>(argument, offset_of!(ExitParams, arg))?;
            Err(Flow::Exit(status))
        }
        HypercallAddress::Uart => {
            context.console.put(&[argument as u8]);
            Ok(())
        }
        HypercallAddress::SerialBufferWrite => {
            let buffer = context.read::<u64>(argument, offset_of!(SerialWriteBufferParams, buf))?;
            let length = context.read::<u64>(argument, offset_of!(SerialWriteBufferParams, len))?;
            context.print(1, buffer, length).map(drop)
        }
        HypercallAddress::Cmdsize => sizes(context, argument),
        HypercallAddress::Cmdval => values(context, argument),
        HypercallAddress::FileWrite => {
            let descriptor = context.read::<i32>(argument, offset_of!(WriteParams, fd))?;
            let buffer = context.read::<u64>(argument, offset_of!(WriteParams, buf))?;
            let length = context.read::<u64>(argument, offset_of!(WriteParams, len))?;
            // There is no place for a result.
            v2::write_file(context, descriptor, buffer, length).map(drop)
        }
        HypercallAddress::FileRead => {
            let descriptor = context.read::<i32>(argument, offset_of!(ReadParams, fd))?;
            let buffer = context.read::<u64>(argument, offset_of!(ReadParams, buf))?;
            let length = context.read::<u64>(argument, offset_of!(ReadParams, len))?;
            let result = v2::read_file(context, descriptor, buffer, length);
            context.write(argument, offset_of!(ReadParams, ret), result)
        }
        HypercallAddress::FileLseek => {
            let descriptor = context.read::<i32>(argument, offset_of!(LseekParams, fd))?;
            let offset = context.read::<i64>(argument, offset_of!(LseekParams, offset))?;
            let whence = context.read::<u32>(argument, offset_of!(LseekParams, whence))?;
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

/// The program's name and arguments, and its environment.
fn texts(context: &Context) -> [Vec<String>; 2] {
    let options = &context.options;
    let name = options.image.to_string_lossy().into_owned();
    let arguments = std::iter::once(name).chain(options.arguments.iter().cloned());
    let environment = options
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    [
        arguments.take(MAX_ARGC_ENVC).collect(),
        environment.take(MAX_ARGC_ENVC).collect(),
    ]
}

/// Tells how long they are, each with a zero at its end.
fn sizes(context: &Context, at: u64) -> Done {
    let fields = [
        (
            offset_of!(CmdsizeParams, argc),
            offset_of!(CmdsizeParams, argsz),
        ),
        (
            offset_of!(CmdsizeParams, envc),
            offset_of!(CmdsizeParams, envsz),
        ),
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
    let fields = [
        offset_of!(CmdvalParams, argv),
        offset_of!(CmdvalParams, envp),
    ];
    for (texts, field) in texts(context).iter().zip(fields) {
        let places = context.read::<u64>(at, field)?;
        for (number, text) in texts.iter().enumerate() {
            let place = context.read::<u64>(places, 8 * number)?;
            let mut bytes = text.clone().into_bytes();
            bytes.push(0);
            context
                .memory
                .write(&bytes, place)
                .map_err(|_| Flow::NoParameters(place))?;
        }
    }
    Ok(())
}
