use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use skete_archive::Kind;

use super::*;

fn packed(root: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(root)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Names with what is known about them, one a line.
fn listed(archive: &[u8]) -> Vec<String> {
    let entry = |entry: skete_archive::Entry<'_>| {
        let name =
            String::from_utf8_lossy(&entry.name.components().collect::<Vec<_>>().join(&b'/'))
                .into_owned();
        let what = match entry.kind {
            Kind::File(content) => format!("{} bytes", content.len()),
            Kind::Directory => "directory".to_owned(),
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            Kind::HardLink(target) => {
                let target = target.components().collect::<Vec<_>>().join(&b'/');
                format!("= {}", String::from_utf8_lossy(&target))
            }
        };
        format!("{name} {what} {:o}", entry.mode)
    };
    let entries = skete_archive::entries(archive);
    entries.map(|found| found.map_or_else(|damage| format!("{damage:?}"), entry)).collect()
}

#[test]
fn a_directory_is_packed_the_same_way_every_time() -> Result<()> {
    let place = tempfile::tempdir()?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let make = |name: &str, order: [&str; 3]| -> Result<Vec<u8>> {
        let root = place.path().join(name);
        fs::create_dir_all(root.join("z"))?;
        for file in order {
            fs::write(root.join(file), file)?;
            fs::set_permissions(root.join(file), Permissions::from_mode(0o640))?;
        }
        fs::hard_link(root.join("b"), root.join("z/same"))?;
        symlink("../b", root.join("z/link"))?;
        for file in order.into_iter().chain(["z"]) {
            File::open(root.join(file))?.set_modified(time)?;
        }
        fs::set_permissions(root.join("z"), Permissions::from_mode(0o755))?;
        packed(&root)
    };
    let first = make("first", ["a", "b", "c"])?;
    let expected = [
        "a 1 bytes 640",
        "b 1 bytes 640",
        "c 1 bytes 640",
        "z directory 755",
        "z/link -> ../b 777",
        "z/same = b 640",
    ];
    assert_eq!(listed(&first), expected);
    let entry = skete_archive::entries(&first).next().context("an entry")?;
    assert_eq!(entry.ok().context("a whole one")?.modified, 1_000_000_000_000);
    // Links have a time of their own that cannot be set here; nothing else may differ.
    let second = make("second", ["c", "b", "a"])?;
    assert_eq!(listed(&second), expected);
    assert_eq!(first[..3072], second[..3072]);
    Ok(())
}

#[test]
fn long_names_need_no_header_of_gnu_tar() -> Result<()> {
    let place = tempfile::tempdir()?;
    let name = "n".repeat(255);
    let target = "t/".repeat(200);
    fs::write(place.path().join(&name), "")?;
    symlink(&target, place.path().join("link"))?;
    let archive = packed(place.path())?;
    let names = listed(&archive);
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with(&format!("link -> {target}")), "{names:?}");
    assert!(names[1].starts_with(&name));
    // Each header lies at the start of a block, and a type flag in it at byte 156.
    let flags = archive.chunks_exact(512).map(|block| block[156]);
    assert!(flags.clone().any(|flag| flag == b'x'));
    let magic = archive.chunks_exact(512).map(|block| &block[257..263]);
    let gnu = flags.zip(magic).filter(|(flag, magic)| *magic == b"ustar\0" && b"LK".contains(flag));
    assert_eq!(gnu.count(), 0);
    Ok(())
}

#[test]
fn archives_are_taken_as_they_are() -> Result<()> {
    let place = tempfile::tempdir()?;
    fs::write(place.path().join("a"), "content")?;
    let archive = packed(place.path())?;
    let (plain, compressed) = (place.path().join("x.tar"), place.path().join("x"));
    fs::write(&plain, &archive)?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive)?;
    fs::write(&compressed, gzip.finish()?)?;
    for path in [&plain, &compressed] {
        check(path)?;
        assert_eq!(packed(path)?, archive);
    }
    fs::write(&plain, &archive[..1024])?;
    let error = check(&plain).err().context("an error")?;
    assert!(format!("{error:#}").contains("breaks off"), "{error:#}");
    Ok(())
}
