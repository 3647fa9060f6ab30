use super::*;
use crate::fd::Object;
use crate::fs::Options;
use tar::{Builder, EntryType, Header};

fn tree() -> Tree {
    let mut tree = Tree::new().unwrap();
    tree.add_devices().unwrap();
    tree.add_reports().unwrap();
    tree
}

/// An archive of entries: type, name, and content or target.
fn archive(entries: &[(EntryType, &str, &str)]) -> &'static [u8] {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_mtime(12);
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            header.set_size(0);
            builder.append_link(&mut header, name, content).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap().leak()
}

use EntryType::{Directory, Link, Regular};

fn problem(entries: &[(EntryType, &str, &str)]) -> Problem {
    unpack(&tree(), archive(entries)).unwrap_err().problem
}

fn open(tree: &mut Tree, path: &str, write: bool) -> Arc<dyn Object> {
    let options = Options { read: true, write, ..Options::default() };
    tree.open(path.as_bytes(), options).unwrap()
}

fn content(tree: &mut Tree, path: &str) -> Vec<u8> {
    let file = open(tree, path, false);
    let mut bytes = vec![0; 100];
    let length = file.read(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn directories_are_made_for_what_is_in_them() {
    let mut tree = tree();
    unpack(&tree, archive(&[(Regular, "a/b/c", "content"), (Directory, "a", "")])).unwrap();
    assert_eq!(content(&mut tree, "/a/b/c"), b"content");
    let directory = tree.find(b"/a").unwrap().metadata();
    assert_eq!((directory.mode, directory.modified), (0o640, 12_000_000_000));
    assert_eq!(tree.find(b"/a/b").unwrap().metadata().mode, 0o755);
}

#[test]
fn writing_leaves_the_archive_as_it_is() {
    let mut tree = tree();
    let archive = archive(&[(Regular, "a", "content"), (Link, "b", "a")]);
    let before = archive.to_vec();
    unpack(&tree, archive).unwrap();
    assert_eq!(tree.find(b"/b").unwrap().metadata().links, 2);
    open(&mut tree, "/a", true).write(b"CON").unwrap();
    assert_eq!(content(&mut tree, "/b"), b"CONtent");
    open(&mut tree, "/a", true).set_length(2).unwrap();
    assert_eq!(content(&mut tree, "/b"), b"CO");
    open(&mut tree, "/a", true).set_length(4).unwrap();
    assert_eq!(content(&mut tree, "/b"), b"CO\0\0");
    tree.remove_file(b"/a").unwrap();
    assert_eq!(content(&mut tree, "/b"), b"CO\0\0");
    assert_eq!(archive, before);
}

#[test]
fn a_later_archive_lies_over_an_earlier_one() {
    let mut tree = tree();
    unpack(&tree, archive(&[(Regular, "d/a", "1"), (Regular, "d/b", "1")])).unwrap();
    unpack(&tree, archive(&[(Directory, "d", ""), (Regular, "d/b", "2"), (Regular, "dev/x", "3")]))
        .unwrap();
    assert_eq!(content(&mut tree, "/d/a"), b"1");
    assert_eq!(content(&mut tree, "/d/b"), b"2");
    assert_eq!(content(&mut tree, "/dev/x"), b"3");
    for (entry, expected) in [
        ((Regular, "d", ""), Problem::InTheWay),
        ((Regular, "dev/null", ""), Problem::InTheWay),
        ((Regular, "proc/uptime", ""), Problem::InTheWay),
        ((Directory, "d/a", ""), Problem::NotADirectory),
        ((Regular, "d/a/x", ""), Problem::NotADirectory),
    ] {
        assert_eq!(unpack(&tree, archive(&[entry])).unwrap_err().problem, expected, "{entry:?}");
    }
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(problem(&[(Regular, "a", "1"), (Regular, "./a", "2")]), Problem::Duplicate);
    assert_eq!(problem(&[(Regular, "a", "1"), (Link, "a", "a")]), Problem::Duplicate);
    assert_eq!(problem(&[(Regular, "a", "1"), (Regular, "a/b", "2")]), Problem::NotADirectory);
    assert_eq!(problem(&[(Regular, "a", "1"), (Directory, "a", "")]), Problem::NotADirectory);
    assert_eq!(problem(&[(Directory, "a", ""), (Regular, "a", "1")]), Problem::Duplicate);
    assert_eq!(problem(&[(Link, "a", "b"), (Regular, "b", "1")]), Problem::MissingTarget);
    assert_eq!(problem(&[(Directory, "b", ""), (Link, "a", "b")]), Problem::MissingTarget);
    assert_eq!(problem(&[(Regular, "b", ""), (Link, "a", "b/c")]), Problem::MissingTarget);
}

#[test]
fn what_is_fine_stays_when_the_rest_is_not() {
    let mut tree = tree();
    let mut bytes = archive(&[(Regular, "a", "1"), (Regular, "b", "2")]).to_vec();
    bytes[1024] ^= 1;
    let damage = unpack(&tree, bytes.leak()).unwrap_err();
    assert_eq!((damage.offset, damage.problem), (1024, Problem::Checksum));
    assert_eq!(content(&mut tree, "/a"), b"1");
    assert!(tree.find(b"/b").is_err());
}
