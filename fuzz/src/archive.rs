//! Archives, whole and damaged: what is read has to be what another reader reads, and what the kernel's tree then
//! has. Damage has to be told, in one line, and leave the rest as it is.

mod input;

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use skete_archive::{Entry, Kind};
use skete_kernel::fs::{self, Options, Tree};
use skete_kernel::mm::frames;

use input::Input;

/// Reads the archive that the bytes mean.
///
/// # Panics
///
/// When something is wrong with what is read.
pub fn run(data: &[u8]) {
    // Either an archive as it is, or a description of one.
    let archive = match data.split_first() {
        None | Some((0, _)) => data.get(1..).unwrap_or_default().to_vec(),
        Some((_, description)) => match Input::arbitrary(&mut Unstructured::new(description)) {
            Ok(input) => input.archive(),
            Err(_) => return,
        },
    };
    let entries: Result<Vec<_>, _> = skete_archive::entries(&archive).collect();
    if let Ok(entries) = &entries {
        compare(&archive, entries);
    }
    unpack(&archive);
}

/// Compares with what the crate `tar` reads.
fn compare(archive: &[u8], entries: &[Entry<'_>]) {
    let mut theirs = tar::Archive::new(archive);
    let mut ours = entries.iter();
    for their in theirs.entries().expect("a slice can be read") {
        let their = match their {
            Ok(their) => their,
            Err(error) => {
                // It knows no sums of signed bytes and no numbers without a digit, and lets no header override
                // another.
                let known = ["checksum", "not a number", "describing the same member"];
                let error = error.to_string();
                assert!(
                    known.iter().any(|text| error.contains(text)),
                    "an archive that only one reader reads: {error}"
                );
                return;
            }
        };
        let kind = their.header().entry_type();
        match kind.as_byte() {
            b'g' | b'V' => continue,
            // It knows these only behind the magic of a format that has them.
            b'x' | b'L' | b'K' => return,
            _ => {}
        }
        let our = ours.next().expect("as many entries as another reader finds");
        let kinds = match our.kind {
            Kind::File(_) => kind.is_file() || kind.is_contiguous(),
            // A file whose name ends in a slash is one as well.
            Kind::Directory => kind.is_dir() || kind.is_file() || kind.is_contiguous(),
            Kind::Symlink(_) => kind.is_symlink(),
            Kind::HardLink(_) => kind.is_hard_link(),
        };
        assert!(kinds, "{:?} instead of {kind:?}", our.kind);
        if let Kind::File(content) = our.kind {
            let start = content.as_ptr() as usize - archive.as_ptr() as usize;
            let theirs = (their.raw_file_position(), their.size());
            assert_eq!((start as u64, content.len() as u64), theirs);
        }
    }
    assert_eq!(ours.next(), None, "more entries than another reader finds");
}

/// Makes a tree, looks at everything in it, and changes it.
fn unpack(archive: &[u8]) {
    frames::set_available(frames::total());
    let leaked: &'static mut [u8] = archive.to_vec().leak();
    let start = leaked.as_mut_ptr();
    let leaked: &'static [u8] = leaked;
    {
        let mut tree = Tree::new().expect("a tree");
        tree.add_devices().expect("devices");
        let outcome = fs::unpack(&tree, leaked);
        if let Err(damage) = &outcome {
            let mut line = String::new();
            damage.describe(&mut |text| line.push_str(text));
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        let end = outcome.as_ref().map_or_else(|damage| damage.offset, |()| usize::MAX);
        look(&mut tree, leaked, end);
    }
    assert!(leaked == archive, "the archive was changed");
    // SAFETY: leaked above; the tree, which alone borrowed from it, is gone.
    drop(unsafe { Vec::from_raw_parts(start, leaked.len(), leaked.len()) });
}

/// Everything before `end` has to be in the tree.
fn look(tree: &mut Tree, archive: &'static [u8], end: usize) {
    let mut files = BTreeMap::new();
    for entry in skete_archive::entries(archive) {
        let Ok(entry) = entry else { break };
        if entry.offset >= end {
            break;
        }
        let path = entry.name.components().flat_map(|name| [b"/", name].concat());
        let path = path.collect::<Vec<_>>();
        match entry.kind {
            Kind::File(content) => {
                assert_eq!(read(tree, &path), content);
                files.insert(path, content);
            }
            Kind::Symlink(target) => assert_eq!(tree.read_link(&path).expect("a link"), target),
            Kind::Directory | Kind::HardLink(_) => {
                let node = tree.find_link(if path.is_empty() { b"/" } else { &path });
                node.expect("what the archive has").metadata();
            }
        }
    }
    // The last one is written to: nothing of the archive may change.
    if let Some((path, content)) = files.pop_last()
        && tree.find(&path).is_ok_and(|node| node.metadata().mode & 0o222 != 0)
    {
        let options = Options { write: true, append: true, ..Options::default() };
        let file = tree.open(&path, options).expect("a file");
        file.write(b"more").expect("room for four bytes");
        assert_eq!(read(tree, &path), [content, b"more"].concat());
        tree.remove_file(&path).expect("a file");
    }
}

fn read(tree: &mut Tree, path: &[u8]) -> Vec<u8> {
    let options = Options { read: true, ..Options::default() };
    let file = tree.open(path, options).expect("a file");
    let mut bytes = vec![0; 1 << 16];
    let length = file.read(&mut bytes).expect("bytes");
    assert!(length < bytes.len());
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn archives_are_read_as_by_another_reader() {
        seeds::drive(3_000, 2_000, |data| {
            run(&[&[1], data].concat());
            run(&[&[0], data].concat());
        });
    }
}
