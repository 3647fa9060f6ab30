use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fd::Seek;

const WRITE: Options = Options {
    read: true,
    write: true,
    append: false,
    create: true,
    exclusive: false,
    truncate: false,
    directory: false,
    no_follow: false,
    mode: 0o644,
};
const READ: Options = Options { write: false, create: false, ..WRITE };

fn tree() -> Tree {
    Tree::new().unwrap()
}

fn error<T>(result: Result<T>) -> Option<Error> {
    result.err()
}

fn content(tree: &mut Tree, path: &str) -> Vec<u8> {
    let file = tree.open(path.as_bytes(), READ).unwrap();
    let mut bytes = vec![0; 4096];
    let length = file.read(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_file_keeps_what_is_written() {
    let mut tree = tree();
    let file = tree.open(b"/a", WRITE).unwrap();
    assert_eq!(file.write(b"hello"), Ok(5));
    assert_eq!(file.seek(Seek::Start(1)), Ok(1));
    assert_eq!(file.write(b"u"), Ok(1));
    assert_eq!(file.seek(Seek::End(3)), Ok(8));
    assert_eq!(file.write(b"!"), Ok(1));
    assert_eq!(file.seek(Seek::Current(-100)), Err(Error::InvalidArgument));
    assert_eq!(content(&mut tree, "a"), b"hullo\0\0\0!");
    assert_eq!(file.set_length(2), Ok(()));
    assert_eq!(content(&mut tree, "/a"), b"hu");
    assert_eq!(tree.find(b"/a").unwrap().metadata().length, 2);
    assert_eq!(file.set_length(u64::MAX), Err(Error::InvalidArgument));
}

#[test]
fn appending_goes_to_the_end() {
    let mut tree = tree();
    let first = tree.open(b"/a", Options { append: true, ..WRITE }).unwrap();
    let second = tree.open(b"/a", Options { append: true, ..WRITE }).unwrap();
    first.write(b"one ").unwrap();
    second.write(b"two ").unwrap();
    first.seek(Seek::Start(0)).unwrap();
    first.write(b"three").unwrap();
    assert_eq!(content(&mut tree, "/a"), b"one two three");
}

#[test]
fn opening_has_the_errors_of_open() {
    let mut tree = tree();
    tree.make_directory(b"/d", 0o755).unwrap();
    tree.open(b"/f", WRITE).unwrap();
    let mut open = |path: &str, options| error(tree.open(path.as_bytes(), options));
    assert_eq!(open("/none", READ), Some(Error::NotFound));
    assert_eq!(open("/none/x", WRITE), Some(Error::NotFound));
    assert_eq!(open("/f/x", WRITE), Some(Error::NotADirectory));
    assert_eq!(open("/f/", READ), Some(Error::NotADirectory));
    assert_eq!(open("/d", WRITE), Some(Error::IsADirectory));
    assert_eq!(open("/new/", WRITE), Some(Error::IsADirectory));
    assert_eq!(open("/f", Options { exclusive: true, ..WRITE }), Some(Error::AlreadyExists));
    assert_eq!(open("/f", Options { directory: true, ..READ }), Some(Error::NotADirectory));
    assert_eq!(open("/d", READ), None);
    assert_eq!(open("/../../f", READ), None);
}

#[test]
fn rights_of_a_descriptor_are_kept() {
    let mut tree = tree();
    let writer = tree.open(b"/f", Options { read: false, ..WRITE }).unwrap();
    assert_eq!(writer.read(&mut [0; 1]), Err(Error::BadDescriptor));
    let reader = tree.open(b"/f", READ).unwrap();
    assert_eq!(reader.write(b"x"), Err(Error::BadDescriptor));
    assert_eq!(reader.set_length(0), Err(Error::InvalidArgument));
}

#[test]
fn a_file_that_may_not_be_written_is_not() {
    let mut tree = tree();
    let file = tree.open(b"/f", Options { mode: 0o444, ..WRITE }).unwrap();
    assert_eq!(file.write(b"its maker may"), Ok(13));
    assert_eq!(error(tree.open(b"/f", WRITE)), Some(Error::PermissionDenied));
    assert!(tree.open(b"/f", READ).is_ok());
    file.set_mode(0o600).unwrap();
    assert!(tree.open(b"/f", WRITE).is_ok());
    file.set_times(Some(1), None).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.mode, metadata.accessed), (0o600, 1));
    assert_ne!(metadata.modified, 1);
}

#[test]
fn a_canonical_path_has_no_dots() {
    let mut tree = tree();
    tree.make_directory(b"/d", 0o755).unwrap();
    tree.make_directory(b"/d/e", 0o755).unwrap();
    for (path, expected) in
        [("/", "/"), ("/..", "/"), ("/d/./e//", "/d/e"), ("/d/e/../..", "/"), ("/d/../d/e", "/d/e")]
    {
        assert_eq!(tree.canonical(path.as_bytes()), Ok(expected.into()), "{path}");
    }
    assert_eq!(tree.canonical(b"/d/none/.."), Err(Error::NotFound));
}

#[test]
fn devices_behave() {
    let mut tree = tree();
    tree.add_devices().unwrap();
    let mut open =
        |path: &str| tree.open(path.as_bytes(), Options { truncate: true, ..WRITE }).unwrap();
    let mut buffer = [1; 16];
    let null = open("/dev/null");
    assert_eq!((null.read(&mut buffer), null.write(b"gone")), (Ok(0), Ok(4)));
    let zero = open("/dev/zero");
    assert_eq!((zero.read(&mut buffer), zero.write(b"gone")), (Ok(16), Ok(4)));
    assert_eq!(buffer, [0; 16]);
    let full = open("/dev/full");
    assert_eq!((full.read(&mut buffer), full.write(b"x")), (Ok(16), Err(Error::NoSpace)));
    let random = open("/dev/urandom");
    assert_eq!(random.read(&mut buffer), Ok(16));
    assert_ne!(buffer, [0; 16]);
    assert_eq!(random.metadata().unwrap().kind, Kind::Device);
    assert_eq!(error(tree.open(b"/dev/null/x", READ)), Some(Error::NotADirectory));
    assert_eq!(error(tree.rename(b"/dev", b"/dev/null")), Some(Error::InvalidArgument));
    tree.remove_file(b"/dev/full").unwrap();
}

#[test]
fn an_unlinked_file_lives_while_open() {
    let mut tree = tree();
    let file = tree.open(b"/f", WRITE).unwrap();
    tree.remove_file(b"/f").unwrap();
    assert_eq!(error(tree.find(b"/f")), Some(Error::NotFound));
    file.write(b"still").unwrap();
    assert_eq!(file.metadata().unwrap().links, 0);
    assert_eq!(file.metadata().unwrap().length, 5);
}

#[test]
fn links_lead_where_they_say() {
    let mut tree = tree();
    tree.make_directory(b"/d", 0o755).unwrap();
    tree.open(b"/d/f", WRITE).unwrap().write(b"f").unwrap();
    tree.make_link(b"d/f", b"/file").unwrap();
    tree.make_link(b"/d", b"/directory").unwrap();
    tree.make_link(b"../file", b"/d/up").unwrap();
    tree.make_link(b"new", b"/dangling").unwrap();
    tree.make_link(b"circle", b"/circle").unwrap();
    for path in ["/file", "/directory/f", "/directory/up", "/d/up"] {
        assert_eq!(content(&mut tree, path), b"f", "{path}");
        assert_eq!(tree.canonical(path.as_bytes()), Ok(b"/d/f".into()));
    }
    assert_eq!(tree.read_link(b"/file"), Ok(b"d/f".into()));
    assert_eq!(tree.read_link(b"/d/f"), Err(Error::InvalidArgument));
    assert_eq!(error(tree.find(b"/dangling")), Some(Error::NotFound));
    assert_eq!(error(tree.find(b"/circle")), Some(Error::Loop));
    assert_eq!(error(tree.find(b"/file/")), Some(Error::NotADirectory));
    let metadata = tree.find_link(b"/file").unwrap().metadata();
    assert_eq!((metadata.kind, metadata.length), (Kind::Link, 3));
    let no_follow = Options { no_follow: true, ..READ };
    assert_eq!(error(tree.open(b"/file", no_follow)), Some(Error::Loop));
    let exclusive = Options { exclusive: true, ..WRITE };
    assert_eq!(error(tree.open(b"/dangling", exclusive)), Some(Error::AlreadyExists));
    tree.open(b"/dangling", WRITE).unwrap();
    assert!(tree.find_link(b"/new").is_ok());
}

#[test]
fn a_file_has_as_many_links_as_names() {
    let mut tree = tree();
    tree.open(b"/a", WRITE).unwrap().write(b"x").unwrap();
    tree.link(b"/a", b"/b").unwrap();
    assert_eq!(tree.find(b"/a").unwrap().metadata().links, 2);
    assert_eq!(error(tree.link(b"/a", b"/b")), Some(Error::AlreadyExists));
    tree.rename(b"/a", b"/b").unwrap();
    assert!(tree.find(b"/a").is_ok());
    tree.remove_file(b"/a").unwrap();
    assert_eq!(tree.find(b"/b").unwrap().metadata().links, 1);
    tree.make_directory(b"/d", 0o755).unwrap();
    assert_eq!(error(tree.link(b"/d", b"/e")), Some(Error::NotPermitted));
}

#[test]
fn a_lock_belongs_to_an_open_file() {
    use super::super::Lock::{Exclusive, Shared};
    let mut tree = tree();
    let one = tree.open(b"/f", WRITE).unwrap();
    let two = tree.open(b"/f", READ).unwrap();
    one.lock(Exclusive, false).unwrap();
    assert_eq!(two.lock(Shared, false), Err(Error::WouldBlock));
    drop(one);
    two.lock(Shared, true).unwrap();
    two.lock(Exclusive, true).unwrap();
    two.unlock().unwrap();
}

#[test]
fn directories_are_removed_when_empty() {
    let mut tree = tree();
    tree.make_directory(b"/d", 0o755).unwrap();
    tree.make_directory(b"/d/e", 0o755).unwrap();
    assert_eq!(error(tree.make_directory(b"/d", 0o755)), Some(Error::AlreadyExists));
    assert_eq!(error(tree.make_directory(b"/", 0o755)), Some(Error::AlreadyExists));
    assert_eq!(error(tree.remove_directory(b"/d")), Some(Error::DirectoryNotEmpty));
    assert_eq!(error(tree.remove_file(b"/d/e")), Some(Error::IsADirectory));
    assert_eq!(error(tree.remove_directory(b"/")), Some(Error::Busy));
    assert_eq!(error(tree.remove_directory(b"/d/.")), Some(Error::InvalidArgument));
    tree.open(b"/f", WRITE).unwrap();
    assert_eq!(error(tree.remove_directory(b"/f")), Some(Error::NotADirectory));
    tree.remove_directory(b"/d/e/").unwrap();
    tree.remove_directory(b"/d").unwrap();
}

#[test]
fn renaming_has_the_errors_of_rename() {
    let mut tree = tree();
    for directory in ["/d", "/d/e", "/full", "/full/x"] {
        tree.make_directory(directory.as_bytes(), 0o755).unwrap();
    }
    tree.open(b"/f", WRITE).unwrap().write(b"f").unwrap();
    tree.open(b"/g", WRITE).unwrap().write(b"g").unwrap();
    let mut rename = |from: &str, to: &str| error(tree.rename(from.as_bytes(), to.as_bytes()));
    assert_eq!(rename("/none", "/x"), Some(Error::NotFound));
    assert_eq!(rename("/d", "/d/e/x"), Some(Error::InvalidArgument));
    assert_eq!(rename("/d", "/f"), Some(Error::NotADirectory));
    assert_eq!(rename("/f", "/d"), Some(Error::IsADirectory));
    assert_eq!(rename("/d", "/full"), Some(Error::DirectoryNotEmpty));
    assert_eq!(rename("/f", "/f"), None);
    assert_eq!(rename("/f", "/g"), None);
    assert_eq!(rename("/d", "/full/x"), None);
    assert_eq!(content(&mut tree, "/g"), b"f");
    assert!(tree.find(b"/full/x/e").is_ok());
    assert_eq!(error(tree.find(b"/f")), Some(Error::NotFound));
}

#[test]
fn a_directory_lists_what_it_holds() {
    let mut tree = tree();
    let expected: std::collections::BTreeSet<String> =
        (0..1000).map(|number| format!("file-{number}")).collect();
    for name in &expected {
        tree.open(name.as_bytes(), WRITE).unwrap();
    }
    let directory = tree.open(b"/", Options { directory: true, ..READ }).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        // A few at a time, as a small buffer would; names vanish meanwhile.
        let mut room = 7;
        let before = seen.len();
        directory
            .entries(&mut |entry| {
                room -= 1;
                room >= 0 && seen.insert(String::from_utf8(entry.name.to_vec()).unwrap())
            })
            .unwrap();
        if seen.len() == before {
            break;
        }
        for name in seen.iter().take(3) {
            let _ = tree.remove_file(name.as_bytes());
        }
    }
    assert_eq!(seen, expected);
}

proptest! {
    /// Any sequence of operations: the tree agrees with a map from full paths to what they are.
    #[test]
    fn agrees_with_a_map(actions in prop::collection::vec((0u8..5, "(/[ab]){1,3}", "(/[ab]){1,3}"), 1..200)) {
        let mut tree = tree();
        let mut model: BTreeMap<String, bool> = BTreeMap::new();
        let parent = |path: &str| path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.into());
        for (action, path, other) in actions {
            let parent_is_directory = parent(&path).is_empty() || model.get(&parent(&path)) == Some(&true);
            let has_children = model.keys().any(|key| key.starts_with(&format!("{path}/")));
            let kind = model.get(&path).copied();
            match action {
                0 => {
                    let done = tree.open(path.as_bytes(), WRITE).is_ok();
                    prop_assert_eq!(done, parent_is_directory && kind != Some(true));
                    if done { model.insert(path, false); }
                }
                1 => {
                    let done = tree.make_directory(path.as_bytes(), 0o755).is_ok();
                    prop_assert_eq!(done, parent_is_directory && kind.is_none());
                    if done { model.insert(path, true); }
                }
                2 => {
                    let done = tree.remove_file(path.as_bytes()).is_ok();
                    prop_assert_eq!(done, kind == Some(false));
                    if done { model.remove(&path); }
                }
                3 => {
                    let done = tree.remove_directory(path.as_bytes()).is_ok();
                    prop_assert_eq!(done, kind == Some(true) && !has_children);
                    if done { model.remove(&path); }
                }
                _ => {
                    let target = model.get(&other).copied();
                    let target_has_children = model.keys().any(|key| key.starts_with(&format!("{other}/")));
                    let target_parent = parent(&other).is_empty() || model.get(&parent(&other)) == Some(&true);
                    let into_itself = other.starts_with(&format!("{path}/"));
                    let expected = target_parent && match (kind, target) {
                        (None, _) => false,
                        (Some(_), _) if path == other => true,
                        (Some(true), _) if into_itself => false,
                        (Some(true), Some(true)) => !target_has_children,
                        (Some(false), Some(true)) | (Some(true), Some(false)) => false,
                        _ => true,
                    };
                    let done = tree.rename(path.as_bytes(), other.as_bytes()).is_ok();
                    prop_assert_eq!(done, expected, "{} to {}", path, other);
                    if done && path != other {
                        let moved: Vec<_> = model.iter().filter(|(key, _)| **key == path || key.starts_with(&format!("{path}/")))
                            .map(|(key, kind)| (key.clone(), *kind)).collect();
                        for (key, _) in &moved { model.remove(key); }
                        for (key, kind) in moved { model.insert(format!("{other}{}", &key[path.len()..]), kind); }
                    }
                }
            }
            for (path, directory) in &model {
                prop_assert_eq!(tree.find(path.as_bytes()).unwrap().kind() == Kind::Directory, *directory);
            }
        }
    }
}
