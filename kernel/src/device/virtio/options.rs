//! Devices that the command line tells of, as Linux has it: `virtio_mmio.device=SIZE@BASE:IRQ[:ID]` (Linux,
//! kernel-parameters.txt). Firecracker and QEMU's microvm write that.

/// A device with its registers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the registers are.
    pub base: usize,
    /// Its interrupt line.
    pub line: u32,
}

/// The name of the option.
pub const NAME: &str = "virtio_mmio.device";

/// Bytes that a device has at least: the common registers.
const SMALLEST: usize = 0x100;

/// A number as C writes it, with K, M or G behind it for the units.
fn number(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        _ => (digits, 10),
    };
    let number = usize::from_str_radix(digits, radix);
    number.ok()?.checked_mul(1 << shift)
}

/// Reads the option's value. `None` when it is none.
#[must_use]
pub fn parse(value: &str) -> Option<Place> {
    let (size, rest) = value.split_once('@')?;
    let mut rest = rest.split(':');
    let base = number(rest.next()?)?;
    let line = u32::try_from(number(rest.next()?)?).ok()?;
    // An ID for the device, which has no use here.
    let id = rest.next().map(number);
    let right = number(size)? >= SMALLEST
        && base.is_multiple_of(4)
        && id.is_none_or(|id| id.is_some())
        && rest.next().is_none();
    right.then_some(Place { base, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_linux_reads_them() {
        let place = |base, line| Some(Place { base, line });
        assert_eq!(parse("512@0xfeb00e00:12"), place(0xfeb0_0e00, 12));
        assert_eq!(parse("4K@0xc0001000:5"), place(0xc000_1000, 5));
        assert_eq!(parse("0x200@0x1e000000:72:3"), place(0x1e00_0000, 72));
        for wrong in [
            "",
            "512",
            "512@",
            "512@0x10",
            "8@0x1000:5",
            "512@0x1001:5",
            "512@0x1000:5:x",
            "512@0x1000:5:1:2",
            "512@-1:5",
            "1G@99999999999999G:5",
            "ä@1:2",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
