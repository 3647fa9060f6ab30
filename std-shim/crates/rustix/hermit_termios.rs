//! Terminals: a serial line shows what is written, and has no size and no modes that could be set.

use super::*;

pub(crate) type cc_t = u8;

/// `struct termios`, as on Linux.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct termios {
    pub(crate) c_iflag: tcflag_t,
    pub(crate) c_oflag: tcflag_t,
    pub(crate) c_cflag: tcflag_t,
    pub(crate) c_lflag: tcflag_t,
    pub(crate) c_line: cc_t,
    pub(crate) c_cc: [cc_t; NCCS],
    pub(crate) c_ispeed: speed_t,
    pub(crate) c_ospeed: speed_t,
}

/// Functions that no descriptor is a terminal for.
macro_rules! no_terminal {
    ($($name:ident($($argument:ty),*);)*) => {$(
        pub(crate) unsafe fn $name($(_: $argument),*) -> c_int {
            -ENOTTY
        }
    )*};
}

no_terminal! {
    tcdrain(c_int);
    tcflow(c_int, c_int);
    tcflush(c_int, c_int);
    tcgetattr(c_int, *mut termios);
    tcgetpgrp(c_int);
    tcgetsid(c_int);
    tcsendbreak(c_int, c_int);
    tcsetattr(c_int, c_int, *const termios);
    tcsetpgrp(c_int, pid_t);
}

/// Errors are positive here.
pub(crate) unsafe fn ttyname_r(_: c_int, _: *mut c_char, _: usize) -> c_int {
    ENOTTY
}

pub(crate) unsafe fn cfmakeraw(settings: *mut termios) {
    let settings = &mut *settings;
    settings.c_iflag &= !(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    settings.c_oflag &= !OPOST;
    settings.c_lflag &= !(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    settings.c_cflag = settings.c_cflag & !(CSIZE | PARENB) | CS8;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
}

pub(crate) unsafe fn cfsetispeed(settings: *mut termios, speed: speed_t) -> c_int {
    (*settings).c_ispeed = speed;
    0
}

pub(crate) unsafe fn cfsetospeed(settings: *mut termios, speed: speed_t) -> c_int {
    (*settings).c_ospeed = speed;
    0
}

pub(crate) unsafe fn cfsetspeed(settings: *mut termios, speed: speed_t) -> c_int {
    (*settings).c_ispeed = speed;
    (*settings).c_ospeed = speed;
    0
}
