//! Checks the host's files that a monitor shows: `/data`, which may be written to, `/data/constant` and `/one`,
//! which may not. The host has made `file`, `link` to it, and `out`, a link that leads out.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

const CONTENT: &str = "from the host\n";

fn reading() -> io::Result<()> {
    assert_eq!(fs::read_to_string("/data/file").unwrap(), CONTENT);
    assert_eq!(fs::read_to_string("/data/link").unwrap(), CONTENT);
    assert_eq!(fs::read_to_string("/one").unwrap(), CONTENT);
    let mut file = File::open("/data/../data/./file")?;
    file.seek(SeekFrom::End(-5))?;
    let mut end = String::new();
    file.read_to_string(&mut end)?;
    assert_eq!(end, "host\n");
    let mut word = [0; 4];
    file.read_exact_at(&mut word, 0)?;
    assert_eq!(&word, b"from");
    assert_eq!(file.stream_position().unwrap(), CONTENT.len() as u64);
    Ok(())
}

fn writing() -> io::Result<()> {
    let bytes = (0..200_000_u32).map(|i| (i * 7) as u8).collect::<Vec<_>>();
    fs::write("/data/new", &bytes)?;
    assert_eq!(fs::read("/data/new").unwrap(), bytes);
    OpenOptions::new().append(true).open("/data/new").unwrap().write_all(b"end")?;
    assert_eq!(fs::metadata("/data/new").unwrap().len(), 200_003);
    fs::write("/data/new", "short")?;
    assert_eq!(fs::read("/data/new").unwrap(), b"short");
    Ok(())
}

fn names() -> io::Result<()> {
    fs::create_dir_all("/data/a/b")?;
    fs::write("/data/a/b/c", "")?;
    let names = |path: &str| {
        let mut names = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>();
        names.sort();
        names
    };
    assert_eq!(names("/data/a"), ["b"]);
    assert!(names("/data").contains(&"file".to_owned()));
    assert!(names("/").contains(&"data".to_owned()));
    assert!(fs::metadata("/data/a").unwrap().is_dir());
    assert!(fs::symlink_metadata("/data/link").unwrap().is_symlink());
    fs::remove_file("/data/a/b/c")?;
    fs::remove_dir("/data/a/b")?;
    fs::remove_dir_all("/data/a")?;
    assert_eq!(fs::metadata("/data/a").unwrap_err().kind(), ErrorKind::NotFound);
    Ok(())
}

fn changes() -> io::Result<()> {
    fs::write("/data/old", "content")?;
    fs::rename("/data/old", "/data/renamed")?;
    assert_eq!(fs::read("/data/renamed").unwrap(), b"content");
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(fs::rename("/data/old", "/data/x")), ErrorKind::NotFound);
    for (from, to) in [("/data/renamed", "/tmp/x"), ("/data/renamed", "/one")] {
        assert_eq!(kind(fs::rename(from, to)), ErrorKind::CrossesDevices, "{to}");
    }
    fs::hard_link("/data/renamed", "/data/second")?;
    assert_eq!(fs::metadata("/data/second").unwrap().nlink(), 2);
    symlink("renamed", "/data/soft")?;
    assert_eq!(fs::read_link("/data/soft").unwrap(), Path::new("renamed"));
    assert_eq!(fs::read("/data/soft").unwrap(), b"content");
    assert_eq!(kind(fs::read_link("/data/second").map(drop)), ErrorKind::InvalidInput);

    let file = OpenOptions::new().write(true).open("/data/renamed")?;
    file.set_len(3)?;
    file.sync_all()?;
    assert_eq!(fs::read("/data/second").unwrap(), b"con");
    file.set_permissions(Permissions::from_mode(0o640))?;
    assert_eq!(fs::metadata("/data/soft").unwrap().mode() & 0o7777, 0o640);
    fs::set_permissions("/data/soft", Permissions::from_mode(0o4600))?;
    // No more than what is anybody's own to give.
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5);
    file.set_modified(then)?;
    assert_eq!(fs::metadata("/data/second").unwrap().modified().unwrap(), then);
    for name in ["renamed", "second", "soft"] {
        fs::remove_file(format!("/data/{name}"))?;
    }
    Ok(())
}

fn outside() -> io::Result<()> {
    for path in ["/data/out", "/data/out-directory/passwd"] {
        let kind = fs::read(path).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::PermissionDenied, "{path}");
    }
    assert!(fs::read("/data/../etc/passwd").is_err());
    assert!(fs::read("/etc/passwd").is_err());
    assert!(fs::read("/data/nothing").is_err());
    Ok(())
}

fn constant() -> io::Result<()> {
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    assert_eq!(fs::read("/data/constant/file").unwrap(), b"constant");
    assert_eq!(kind(fs::write("/data/constant/file", "x")), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(fs::write("/data/constant/new", "x")), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(fs::remove_file("/data/constant/file")), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(fs::create_dir("/data/constant/new")), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(fs::write("/one", "x")), ErrorKind::ReadOnlyFilesystem);
    let file = File::open("/data/constant/file")?;
    let mode = || Permissions::from_mode(0o777);
    for changed in [
        fs::rename("/data/constant/file", "/data/constant/new"),
        fs::hard_link("/data/constant/file", "/data/constant/new"),
        symlink("file", "/data/constant/new"),
        fs::set_permissions("/data/constant/file", mode()),
        file.set_permissions(mode()),
        file.set_modified(SystemTime::now()),
    ] {
        assert_eq!(kind(changed), ErrorKind::ReadOnlyFilesystem);
    }
    Ok(())
}

fn main() -> ExitCode {
    check::walk(
        &[
            ("files are read", reading),
            ("files are written", writing),
            ("names are listed, made and removed", names),
            ("names, lengths, modes and times are changed", changes),
            ("nothing outside is reached", outside),
            ("what is constant stays so", constant),
        ],
        None,
    )
}
