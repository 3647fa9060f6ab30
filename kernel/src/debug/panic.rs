//! Panics of the kernel: bugs, told loudly.

use core::fmt::Write;

use super::Line;
use crate::arch::{power, trap};
use crate::boot::status;
use crate::sched;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut line = Line::new();
    line.text("skete: kernel bug: ");
    match info.message().as_str() {
        Some(message) => _ = line.text(message),
        None => _ = write!(line, "{}", info.message()),
    }
    if let Some(location) = info.location() {
        line.text(" at ").text(location.file()).text(":").number(u64::from(location.line()));
    }
    line.text(" in thread ").number(u64::from(sched::current_id())).end();
    trap::print_own_stack();
    power::end(status::KERNEL_BUG)
}
