//! Names for the addresses of a fault's stack trace, as the guest prints it.

use std::path::PathBuf;

use addr2line::Loader;

/// Watches what the guest writes to standard error, and adds to each address of a stack trace the
/// function, file and line that it belongs to. Everything else passes as it is, at once.
pub struct Trace {
    image: PathBuf,
    /// The image's symbols; read when the first trace comes.
    symbols: Option<Option<Loader>>,
    /// The start of the line that is being written.
    line: Vec<u8>,
    place: Place,
}

/// Where in a stack trace the guest is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere.
    Outside,
    /// Before the first address, which is that of an instruction.
    Start,
    /// Before another one, which is where a call returns to.
    Caller,
}

/// The line before the addresses.
const HEADING: &[u8] = b"stack:";
/// Longer lines are not looked at.
const LONGEST: usize = 40;

impl Trace {
    /// A watcher for the output of `image`.
    pub fn new(image: impl Into<PathBuf>) -> Trace {
        Trace {
            image: image.into(),
            symbols: None,
            line: Vec::new(),
            place: Place::Outside,
        }
    }

    /// What is to be shown for `bytes`.
    pub fn annotate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < LONGEST {
                    self.line.push(byte);
                }
                shown.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let address = address(&line).filter(|_| self.place != Place::Outside);
            if let Some(address) = address {
                // A call may be its function's last instruction: what it returns to is another's.
                let inside = address - u64::from(self.place == Place::Caller);
                if let Some(name) = self.name(inside) {
                    shown.extend_from_slice(b"  ");
                    shown.extend_from_slice(name.as_bytes());
                }
            }
            self.place = match address {
                Some(_) => Place::Caller,
                None if line == HEADING => Place::Start,
                None => Place::Outside,
            };
            shown.push(b'\n');
        }
        shown
    }

    fn name(&mut self, address: u64) -> Option<String> {
        let image = &self.image;
        let symbols = self.symbols.get_or_insert_with(|| Loader::new(image).ok());
        name(symbols.as_ref()?, address)
    }
}

/// The address that a line of a trace consists of.
fn address(line: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(line).ok()?.strip_prefix("  0x")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The function that an address lies in, with file and line when the image knows them.
fn name(symbols: &Loader, address: u64) -> Option<String> {
    let frame = symbols
        .find_frames(address)
        .ok()
        .and_then(|mut frames| frames.next().ok()?);
    let function = frame.as_ref().and_then(|frame| {
        let function = frame.function.as_ref()?;
        Some(function.demangle().ok()?.into_owned())
    });
    let function = function.or_else(|| {
        let symbol = symbols.find_symbol(address)?;
        Some(format!("{:#}", rustc_demangle::demangle(symbol)))
    })?;
    let location = frame.and_then(|frame| {
        let location = frame.location?;
        Some(format!(" ({}:{})", location.file?, location.line?))
    });
    Some(function + &location.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This test's own executable stands in for an image.
    fn own() -> (PathBuf, u64) {
        use object::{Object, ObjectSymbol};
        let path = std::env::current_exe().unwrap();
        let data = std::fs::read(&path).unwrap();
        let file = object::File::parse(&*data).unwrap();
        let symbol = file
            .symbols()
            .find(|symbol| symbol.name().is_ok_and(|name| name == "main"))
            .unwrap();
        (path, symbol.address())
    }

    #[test]
    fn addresses_of_a_trace_get_names() {
        let (path, main) = own();
        let mut trace = Trace::new(path);
        let text = format!("x\nstack:\n  {main:#018x}\n  {:#018x}\nend\n", main + 1);
        let shown = String::from_utf8(trace.annotate(text.as_bytes())).unwrap();
        let expected = format!(
            "x\nstack:\n  {main:#018x}  main\n  {:#018x}  main\nend\n",
            main + 1
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn everything_else_passes_in_pieces() {
        let (path, main) = own();
        let mut trace = Trace::new(path);
        let text = format!(
            "  {main:#018x}\nstack: no\n  {main:#018x}\n{}\n\0\u{ff}",
            "y".repeat(90)
        );
        let shown: Vec<u8> = text
            .bytes()
            .flat_map(|byte| trace.annotate(&[byte]))
            .collect();
        assert_eq!(shown, text.as_bytes());
    }

    #[test]
    fn an_image_without_symbols_is_no_error() {
        let mut trace = Trace::new("/dev/null");
        let text = b"stack:\n  0x0000000000200000\n";
        assert_eq!(trace.annotate(text), text);
    }
}
