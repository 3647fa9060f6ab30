//! Archives made by the crate `tar`, whole and damaged.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;
use tar::{Builder, EntryType, Header as TarHeader};

fn header(kind: EntryType, size: usize) -> TarHeader {
    let mut header = TarHeader::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_mtime(1_700_000_000);
    header.set_size(size as u64);
    header
}

/// Adds an entry whose name stands in the header as it is, however wrong.
fn add_raw(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &[u8], content: &[u8]) {
    let mut header = header(kind, content.len());
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn archive(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

/// An archive with one file.
fn one(name: &str, content: &[u8]) -> Vec<u8> {
    archive(|builder| {
        builder.append_data(&mut header(EntryType::Regular, content.len()), name, content).unwrap();
    })
}

fn joined(name: Name<'_>) -> Vec<u8> {
    name.components().collect::<Vec<_>>().join(&b'/')
}

fn first_damage(archive: &[u8]) -> Problem {
    let damage = entries(archive).find_map(Result::err);
    let damage = damage.expect("an archive that is damaged");
    // Every damage can be told in one line.
    let mut line = String::new();
    damage.describe(&mut |text| line.push_str(text));
    assert!(!line.contains('\n') && line.contains(&format!("byte {}", damage.offset)));
    damage.problem
}

/// Changes a header's field and puts the checksum right again.
fn patched(mut archive: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    archive[offset..offset + bytes.len()].copy_from_slice(bytes);
    let start = offset / BLOCK * BLOCK;
    archive[start + 148..start + 156].fill(b' ');
    let sum: u32 = archive[start..start + BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    archive[start + 148..start + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

#[test]
fn every_kind_of_entry_is_read() {
    let bytes = archive(|builder| {
        add_raw(builder, EntryType::Directory, b"./", b"");
        add_raw(builder, EntryType::Directory, b"./etc/", b"");
        add_raw(builder, EntryType::Regular, b"./etc//motd", b"hello");
        add_raw(builder, EntryType::Continuous, b"odd \xff", b"");
        let mut link = header(EntryType::Symlink, 0);
        builder.append_link(&mut link, "l", "../to/nowhere").unwrap();
        let mut link = header(EntryType::Link, 0);
        builder.append_link(&mut link, "h", "etc/motd").unwrap();
    });
    let found: Vec<_> = entries(&bytes).map(Result::unwrap).collect();
    let names: Vec<_> = found.iter().map(|entry| joined(entry.name)).collect();
    assert_eq!(names, [&b""[..], b"etc", b"etc/motd", b"odd \xff", b"l", b"h"]);
    assert_eq!(found[0].kind, Kind::Directory);
    assert_eq!(found[2].kind, Kind::File(b"hello"));
    assert_eq!((found[2].mode, found[2].modified), (0o640, 1_700_000_000_000_000_000));
    assert_eq!(found[4].kind, Kind::Symlink(b"../to/nowhere"));
    assert!(matches!(found[5].kind, Kind::HardLink(target) if joined(target) == b"etc/motd"));
    assert_eq!(find(&bytes, b"/etc/./motd").unwrap(), Some(&b"hello"[..]));
    assert_eq!(find(&bytes, b"etc").unwrap(), None);
}

#[test]
fn contents_are_borrowed() {
    let bytes = one("a", &[7; 1000]);
    let content = find(&bytes, b"a").unwrap().unwrap();
    assert!(bytes.as_ptr_range().contains(&content.as_ptr()));
    assert_eq!(content, [7; 1000]);
}

#[test]
fn long_names_are_read_in_every_form() {
    let long = format!("{}/{}/end", "d".repeat(200), "e".repeat(150));
    let target = "t/".repeat(100) + "t";
    let gnu = archive(|builder| {
        let mut header = header(EntryType::Symlink, 0);
        builder.append_link(&mut header, &long, &target).unwrap();
    });
    let pax = archive(|builder| {
        let records =
            [("path", long.as_bytes()), ("linkpath", target.as_bytes()), ("mtime", b"2.5")];
        builder.append_pax_extensions(records).unwrap();
        let mut link = header(EntryType::Symlink, 0);
        builder.append_link(&mut link, "short", "short").unwrap();
    });
    for (bytes, modified) in [(gnu, 1_700_000_000_000_000_000), (pax, 2_500_000_000)] {
        let entry = entries(&bytes).next().unwrap().unwrap();
        assert_eq!(joined(entry.name), long.as_bytes());
        assert_eq!(entry.kind, Kind::Symlink(target.as_bytes()));
        assert_eq!(entry.modified, modified);
    }
    // ustar's own way: a prefix.
    let mut split = TarHeader::new_ustar();
    let name = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    split.set_path(&name).unwrap();
    split.set_size(0);
    split.set_cksum();
    let bytes = archive(|builder| builder.append(&split, &b""[..]).unwrap());
    let entry = entries(&bytes).next().unwrap().unwrap();
    assert_eq!(joined(entry.name), name.as_bytes());
}

#[test]
fn a_pax_size_overrides_the_header() {
    let bytes = archive(|builder| {
        builder.append_pax_extensions([("size", &b"3"[..])]).unwrap();
        add_raw(builder, EntryType::Regular, b"a", b"abc");
    });
    let bytes = patched(bytes, 1024 + 124, b"00000000000\0");
    assert_eq!(find(&bytes, b"a").unwrap(), Some(&b"abc"[..]));
}

#[test]
fn an_archive_may_be_empty_but_not_without_end() {
    let mut none = entries(&[0; 1024]);
    assert_eq!((none.next(), none.end()), (None, Some(0)));
    assert_eq!(entries(&[0; 512]).next(), None);
    assert_eq!(entries(&[0; 10_240]).next(), None);
    assert_eq!(first_damage(&[]), Problem::Empty);
    assert_eq!(first_damage(&[0; 100]), Problem::NotTar);
    assert_eq!(first_damage(&[b'x'; 4096]), Problem::NotTar);
    let whole = one("a", b"content");
    assert_eq!(first_damage(&whole[..1024]), Problem::NoEnd);
    assert_eq!(first_damage(&whole[..1024 + 511]), Problem::NoEnd);
    assert_eq!(first_damage(&whole[..1023]), Problem::Size);
    assert_eq!(first_damage(&whole[..512]), Problem::Size);
    let mut all = entries(&whole[..1024 + 512]);
    assert!(all.by_ref().all(|entry| entry.is_ok()));
    assert_eq!(all.end(), Some(1024));
    // Two archives in one file: the second one would be lost.
    assert_eq!(first_damage(&[whole.clone(), whole].concat()), Problem::Trailing);
}

#[test]
fn damaged_headers_are_refused() {
    let two = archive(|builder| {
        add_raw(builder, EntryType::Regular, b"a", b"1");
        add_raw(builder, EntryType::Regular, b"b", b"2");
    });
    let mut flipped = two.clone();
    flipped[1024] ^= 1;
    let damage = entries(&flipped).find_map(Result::err).unwrap();
    assert_eq!((damage.offset, damage.problem), (1024, Problem::Checksum));
    for (offset, bytes, problem) in [
        (124, &b"00000010000\0"[..], Problem::Size),
        (124, b"77777777777\0", Problem::Size),
        (124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Problem::Size),
        (124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Problem::Number),
        (124, b"0000000001x\0", Problem::Number),
        (124, b"x\0", Problem::Number),
        (100, b"000800 \0", Problem::Number),
        (136, b"zzzzzzzzzzz\0", Problem::Number),
        (156, b"3", Problem::Kind(b'3')),
        (156, b"6", Problem::Kind(b'6')),
        (156, b"?", Problem::Kind(b'?')),
        (156, b"S", Problem::Sparse),
        (156, b"2", Problem::LinkTarget),
        (156, b"1", Problem::LinkTarget),
        (156, b"x", Problem::Extension),
        (156, b"g", Problem::Extension),
        (0, b"\0", Problem::NoName),
        (0, b"/a", Problem::Absolute),
        (0, b"a/../../b", Problem::Upward),
        (0, b"..", Problem::Upward),
        (0, b"a/", Problem::DirectoryContent),
        (0, b".", Problem::NoName),
    ] {
        assert_eq!(first_damage(&patched(two.clone(), offset, bytes)), problem, "{bytes:?}");
    }
}

#[test]
fn names_have_limits() {
    for (name, problem) in [
        ("n".repeat(256), Some(Problem::LongName)),
        ("n".repeat(255), None),
        ("n/".repeat(2047), None),
        ("n/".repeat(2048), Some(Problem::LongName)),
        ("a\0b".into(), Some(Problem::Nul)),
        ("/a".into(), Some(Problem::Absolute)),
        ("a/..".into(), Some(Problem::Upward)),
    ] {
        let bytes = archive(|builder| {
            builder.append_pax_extensions([("path", name.as_bytes())]).unwrap();
            add_raw(builder, EntryType::Directory, b"x", b"");
        });
        let found = entries(&bytes).find_map(Result::err).map(|damage| damage.problem);
        assert_eq!(found, problem, "{} bytes", name.len());
    }
}

#[test]
fn extensions_need_an_entry() {
    let bytes = archive(|builder| {
        builder.append_pax_extensions([("path", &b"a"[..])]).unwrap();
    });
    assert_eq!(first_damage(&bytes), Problem::LooseExtension);
    let sparse = archive(|builder| {
        builder.append_pax_extensions([("GNU.sparse.major", &b"1"[..])]).unwrap();
        add_raw(builder, EntryType::Regular, b"a", b"");
    });
    assert_eq!(first_damage(&sparse), Problem::Sparse);
    // A comment for all entries, as git writes it, belongs to none.
    let global = archive(|builder| {
        add_raw(builder, EntryType::XGlobalHeader, b"pax_global_header", b"13 comment=x\n")
    });
    assert_eq!(entries(&global).next(), None);
}

#[test]
fn names_are_told_as_printable_text() {
    let mut text = String::new();
    Name::new(b"dir\n\t", b"a\xffb\x1b[0m").write(&mut |piece| text.push_str(piece));
    assert_eq!(text, "dir??/a?b?[0m");
}

proptest! {
    /// What the crate `tar` writes comes out as it went in.
    #[test]
    fn agrees_with_the_writer(
        files in prop::collection::btree_map("[a-zé]{1,130}(/[a-z ]{1,60}){0,4}", prop::collection::vec(any::<u8>(), 0..1500), 0..8),
    ) {
        let bytes = archive(|builder| {
            for (name, content) in &files {
                builder.append_data(&mut header(EntryType::Regular, content.len()), name, &content[..]).unwrap();
            }
        });
        let found: Vec<_> = entries(&bytes).map(|entry| {
            let entry = entry.unwrap();
            let Kind::File(content) = entry.kind else { panic!("{entry:?}") };
            (joined(entry.name), content.to_vec())
        }).collect();
        let expected: Vec<_> = files.into_iter().map(|(name, content)| (name.into_bytes(), content)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = entries(&bytes).count();
    }

    /// An archive that breaks off anywhere before its end blocks is damaged.
    #[test]
    fn nothing_is_lost_in_silence(length in 0_usize..4096) {
        let bytes = archive(|builder| {
            add_raw(builder, EntryType::Regular, b"a", &[1; 700]);
            add_raw(builder, EntryType::Regular, b"b", &[2; 512]);
        });
        let whole = length >= 1536 + 1024 + BLOCK;
        let all_fine = entries(&bytes[..length.min(bytes.len())]).all(|entry| entry.is_ok());
        prop_assert_eq!(all_fine, whole);
    }

    /// Whatever is changed, with the checksum put right, gives names that fit a tree.
    #[test]
    fn changed_headers_are_read_or_refused(
        changes in prop::collection::vec((0_usize..512, any::<u8>()), 1..12),
        extended in any::<bool>(),
    ) {
        let bytes = archive(|builder| {
            if extended {
                builder.append_pax_extensions([("path", &b"long"[..]), ("size", b"5")]).unwrap();
            }
            add_raw(builder, EntryType::Regular, b"a/b", b"12345");
            add_raw(builder, EntryType::Regular, b"c", b"");
        });
        for start in (0..bytes.len() / BLOCK).map(|block| block * BLOCK) {
            let mut bytes = bytes.clone();
            for (at, byte) in &changes {
                bytes = patched(bytes, start + at, &[*byte]);
            }
            for entry in entries(&bytes).flatten() {
                prop_assert!(entry.name.components().all(|name| name != b".." && name.len() <= 255));
            }
        }
    }
}
