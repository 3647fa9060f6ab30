//! The network of a machine whose only process this is: modules are loaded from `/modules/0`,
//! `/modules/1`, … and the first network card gets the address of the variable `SKETE_LINUX_ADDRESS`
//! (like 10.0.0.2/24), which stands on the kernel's command line.
//!
//! This is linked into programs without Rust's own library, so nothing here may call a function of `core`
//! that is not inlined, or panic.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong, c_void};

const VARIABLE: &CStr = c"SKETE_LINUX_ADDRESS";
/// The card's name, and that of the loopback device.
const INTERFACES: [&[u8]; 2] = [b"eth0", b"lo"];

const AF_INET: u16 = 2;
const SOCK_DGRAM: c_int = 2;
const SYS_FINIT_MODULE: c_long = 313;
/// `netdevice(7)`.
const SIOCSIFFLAGS: c_ulong = 0x8914;
const SIOCSIFADDR: c_ulong = 0x8916;
const SIOCSIFNETMASK: c_ulong = 0x891c;
const IFF_UP: u16 = 1;

/// The exit status of a program whose network does not come up.
const FAILED: c_int = 70;
/// How long to wait for the card: so many times 10 ms.
const PATIENCE: u32 = 500;

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn ioctl(descriptor: c_int, request: c_ulong, ...) -> c_int;
    fn write(descriptor: c_int, bytes: *const c_void, count: usize) -> isize;
    fn inet_pton(family: c_int, text: *const c_char, address: *mut c_void) -> c_int;
    fn atoi(text: *const c_char) -> c_int;
    safe fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    safe fn close(descriptor: c_int) -> c_int;
    safe fn usleep(microseconds: c_uint) -> c_int;
    safe fn exit(status: c_int) -> !;
}

/// `struct ifreq` of 64-bit Linux.
#[repr(C)]
struct Request {
    name: [u8; 16],
    /// Flags, or the family of an address.
    first: u16,
    port: u16,
    address: [u8; 4],
    rest: [u8; 16],
}

/// Does nothing without an address; ends the program when something fails.
pub fn bring_up() {
    // SAFETY: the name ends with a zero; nothing changes the environment before `main`.
    let value = unsafe { getenv(VARIABLE.as_ptr()) };
    if value.is_null() {
        return;
    }
    let Some((address, prefix)) = parse(value) else {
        fail(b"SKETE_LINUX_ADDRESS is not like 10.0.0.2/24\n")
    };
    if !load_modules() {
        fail(b"a module for the network cannot be loaded\n");
    }
    let socket = socket(AF_INET.into(), SOCK_DGRAM, 0);
    let mask = (u32::MAX << (32 - prefix)).to_be_bytes();
    for interface in INTERFACES {
        let card = interface == INTERFACES[0];
        let set = |call, first, address| {
            let mut name = [0; 16];
            for (to, from) in name.iter_mut().zip(interface) {
                *to = *from;
            }
            let request = Request { name, first, port: 0, address, rest: [0; 16] };
            // SAFETY: the calls read a `struct ifreq`, which is 40 bytes long as `Request` is.
            unsafe { ioctl(socket, call, &raw const request) == 0 }
        };
        let up = || {
            let addressed =
                !card || set(SIOCSIFADDR, AF_INET, address) && set(SIOCSIFNETMASK, AF_INET, mask);
            addressed && set(SIOCSIFFLAGS, IFF_UP, [0; 4])
        };
        let mut waited = 0;
        while !up() {
            waited += 1;
            if waited > PATIENCE {
                fail(b"there is no network card that comes up\n");
            }
            usleep(10_000);
        }
    }
    close(socket);
}

const _: () = assert!(size_of::<Request>() == 40);

/// An address and the length of its prefix.
fn parse(value: *const c_char) -> Option<([u8; 4], u32)> {
    // Long enough for an address, its prefix, and the zero behind them.
    let mut text: [c_char; 20] = [0; 20];
    let mut slash = None;
    let mut from = value;
    for (at, to) in text.iter_mut().take(19).enumerate() {
        // SAFETY: the value ends with a zero, behind which nothing is read.
        let byte = unsafe { *from };
        if byte == 0 {
            break;
        }
        *to = byte;
        if byte == b'/'.cast_signed() {
            *to = 0;
            slash = Some(at + 1);
        }
        from = from.wrapping_add(1);
    }
    let mut address = [0; 4];
    // SAFETY: the text ends with a zero; an address of IPv4 has four bytes.
    let read = unsafe { inet_pton(AF_INET.into(), text.as_ptr(), address.as_mut_ptr().cast()) };
    // SAFETY: as above.
    let prefix = unsafe { atoi(text.as_ptr().wrapping_add(slash?)) };
    (read == 1 && 0 < prefix && prefix <= 32).then_some((address, prefix.cast_unsigned()))
}

fn load_modules() -> bool {
    let mut path = *b"/modules/0\0";
    loop {
        // SAFETY: the path ends with a zero; 0 is `O_RDONLY`.
        let file = unsafe { open(path.as_ptr().cast(), 0) };
        if file < 0 {
            return true;
        }
        // SAFETY: the parameters are an empty string, there are no flags.
        let done = unsafe { syscall(SYS_FINIT_MODULE, file, c"".as_ptr(), 0 as c_int) };
        close(file);
        path[9] += 1;
        if done != 0 || path[9] > b'9' {
            return false;
        }
    }
}

fn fail(why: &[u8]) -> ! {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { write(2, why.as_ptr().cast(), why.len()) };
    exit(FAILED)
}
