//! A flattened device tree (Devicetree Specification 0.4, chapter 5): just enough to find a property by its
//! name. It is the monitor's, who is trusted.

const TOTAL: usize = 4;
const STRUCTURE: usize = 8;
const STRINGS: usize = 12;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

/// A device tree in memory.
#[derive(Clone, Copy, Debug)]
pub struct Tree(*const u8);

impl Tree {
    /// The tree at this address.
    ///
    /// # Safety
    ///
    /// It is one, and stays where it is as long as this value and its properties are used.
    #[must_use]
    pub const unsafe fn new(start: *const u8) -> Tree {
        Tree(start)
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(self) -> usize {
        self.number(TOTAL)
    }

    fn number(self, at: usize) -> usize {
        // SAFETY: inside the tree, as its own numbers say.
        u32::from_be(unsafe { self.0.add(at).cast::<u32>().read_unaligned() }) as usize
    }

    /// The number of bytes before the zero at the end of a text.
    fn text(self, at: usize) -> &'static [u8] {
        // SAFETY: names in a tree end with a zero.
        unsafe { core::ffi::CStr::from_ptr(self.0.add(at).cast()) }.to_bytes()
    }

    /// The value of the first property with this name, in whatever node it is.
    #[must_use]
    pub fn property(self, name: &[u8]) -> Option<&'static [u8]> {
        let strings = self.number(STRINGS);
        let mut at = self.number(STRUCTURE);
        loop {
            let token = self.number(at) as u32;
            at += 4;
            match token {
                BEGIN_NODE => at += self.text(at).len() + 1,
                PROPERTY => {
                    let length = self.number(at);
                    let own = self.text(strings + self.number(at + 4));
                    at += 8;
                    if own == name {
                        // SAFETY: the property's value, which is inside the tree.
                        return Some(unsafe {
                            core::slice::from_raw_parts(self.0.add(at), length)
                        });
                    }
                    at += length;
                }
                END_NODE | NOP => {}
                _ => return None,
            }
            at = at.next_multiple_of(4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_fdt::FdtWriter;

    #[test]
    fn properties_are_found_by_their_names() {
        let mut writer = FdtWriter::new().unwrap();
        let root = writer.begin_node("").unwrap();
        writer.property_u32("#size-cells", 2).unwrap();
        let node = writer.begin_node("memory@0").unwrap();
        writer.property_string("boot", "no").unwrap();
        writer.end_node(node).unwrap();
        let node = writer.begin_node("chosen").unwrap();
        writer.property_string("bootargs", "a b -- c").unwrap();
        writer.property_null("empty").unwrap();
        writer.end_node(node).unwrap();
        writer.end_node(root).unwrap();
        let bytes = writer.finish().unwrap();
        // SAFETY: a tree, which lives to the end of the test.
        let tree = unsafe { Tree::new(bytes.as_ptr()) };
        assert_eq!(tree.length(), bytes.len());
        assert_eq!(tree.property(b"bootargs"), Some(&b"a b -- c\0"[..]));
        assert_eq!(tree.property(b"boot"), Some(&b"no\0"[..]));
        assert_eq!(tree.property(b"empty"), Some(&b""[..]));
        assert_eq!(tree.property(b"bootarg"), None);
    }
}
