//! Files and directories, inside a directory of the walk's own.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::report::{Outcome, Report, expect_error, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("files");
    let number = RandomState::new().hash_one(());
    let root = std::env::temp_dir().join(format!("tour-{number:016x}"));
    let at = |name: &str| root.join(name);

    report.step("make directories", || {
        fs::create_dir_all(at("a/b/c"))?;
        ensure!(at("a/b/c").is_dir());
        expect_error(fs::create_dir(at("a")), ErrorKind::AlreadyExists)?;
        expect_error(fs::create_dir(at("x/y")), ErrorKind::NotFound)?;
        fine()
    });
    report.step("write and read a file", || {
        fs::write(at("text"), "first\nsecond\n")?;
        ensure_eq!(fs::read_to_string(at("text"))?, "first\nsecond\n");
        let lines =
            BufReader::new(File::open(at("text"))?).lines().collect::<io::Result<Vec<_>>>()?;
        ensure_eq!(lines, ["first", "second"]);
        fine()
    });
    report.step("a file of 4 MiB", || {
        let mut writer = BufWriter::new(File::create(at("large"))?);
        for i in 0..1_u32 << 20 {
            writer.write_all(&i.to_le_bytes())?;
        }
        writer.into_inner().map_err(failed)?;
        let bytes = fs::read(at("large"))?;
        ensure_eq!(bytes.len(), 4 << 20);
        ensure!(bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes).eq(0..1 << 20));
        fs::remove_file(at("large"))?;
        fine()
    });
    report.step("append", || {
        let mut file = OpenOptions::new().append(true).open(at("text"))?;
        file.write_all(b"third\n")?;
        ensure_eq!(fs::read(at("text"))?, b"first\nsecond\nthird\n");
        fine()
    });
    report.step("seek", || {
        let mut file = OpenOptions::new().read(true).write(true).open(at("text"))?;
        ensure_eq!(file.seek(SeekFrom::End(-6))?, 13);
        let mut end = String::new();
        file.read_to_string(&mut end)?;
        ensure_eq!(end, "third\n");
        file.seek(SeekFrom::Start(0))?;
        file.write_all(b"FIRST")?;
        ensure_eq!(file.stream_position()?, 5);
        expect_error(file.seek(SeekFrom::Current(-6)), ErrorKind::InvalidInput)?;
        file.seek(SeekFrom::Start(30))?;
        file.write_all(b"!")?;
        ensure_eq!(&fs::read(at("text"))?[17..], b"d\n\0\0\0\0\0\0\0\0\0\0\0!");
        fine()
    });
    report.step("open options", || {
        let options = |file: &str, options: &mut OpenOptions| options.open(at(file));
        expect_error(
            options("text", OpenOptions::new().write(true).create_new(true)),
            ErrorKind::AlreadyExists,
        )?;
        expect_error(options("none", OpenOptions::new().read(true)), ErrorKind::NotFound)?;
        expect_error(options("text", &mut OpenOptions::new()), ErrorKind::InvalidInput)?;
        let mut read_only = options("text", OpenOptions::new().read(true))?;
        ensure!(read_only.write(b"x").is_err());
        options("text", OpenOptions::new().write(true).truncate(true))?;
        ensure_eq!(fs::metadata(at("text"))?.len(), 0);
        fine()
    });
    report.step("set the length", || {
        fs::write(at("length"), "0123456789")?;
        let file = OpenOptions::new().write(true).open(at("length"))?;
        file.set_len(4)?;
        file.set_len(6)?;
        ensure_eq!(fs::read(at("length"))?, b"0123\0\0");
        fine()
    });
    report.step("sync to the device", || {
        let file = File::create(at("length"))?;
        file.sync_data()?;
        file.sync_all()?;
        fine()
    });
    report.step("two handles of one file", || {
        fs::write(at("shared"), "abcdef")?;
        let mut one = File::open(at("shared"))?;
        let mut two = one.try_clone()?;
        let mut buffer = [0; 3];
        one.read_exact(&mut buffer)?;
        two.read_exact(&mut buffer)?;
        ensure_eq!(&buffer, b"def");
        fine()
    });
    report.step("metadata", || {
        fs::write(at("text"), "12345")?;
        let file = fs::metadata(at("text"))?;
        ensure!(file.is_file() && !file.is_dir() && !file.is_symlink());
        ensure_eq!(file.len(), 5);
        ensure!(fs::metadata(at("a"))?.is_dir());
        ensure!(fs::exists(at("a"))? && !fs::exists(at("none"))?);
        expect_error(fs::metadata(at("none")), ErrorKind::NotFound)?;
        fine()
    });
    report.step("times", || {
        let age = fs::metadata(at("text"))?.modified()?.elapsed().unwrap_or_default();
        ensure!(age < Duration::from_secs(60));
        fine()
    });
    report.step("set the times", || {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        OpenOptions::new().write(true).open(at("text"))?.set_modified(then)?;
        ensure_eq!(fs::metadata(at("text"))?.modified()?, then);
        fine()
    });
    report.step("permissions", || {
        let mut permissions = fs::metadata(at("text"))?.permissions();
        ensure!(!permissions.readonly());
        permissions.set_readonly(true);
        fs::set_permissions(at("text"), permissions)?;
        ensure!(fs::metadata(at("text"))?.permissions().readonly());
        fine()
    });
    report.step("copy", || {
        fs::write(at("from"), "copy me")?;
        ensure_eq!(fs::copy(at("from"), at("to"))?, 7);
        ensure_eq!(fs::read(at("to"))?, b"copy me");
        fine()
    });
    report.step("rename", || {
        fs::write(at("old"), "moved")?;
        fs::write(at("new"), "in the way")?;
        fs::rename(at("old"), at("new"))?;
        ensure!(!fs::exists(at("old"))?);
        ensure_eq!(fs::read(at("new"))?, b"moved");
        expect_error(fs::rename(at("none"), at("new")), ErrorKind::NotFound)?;
        fine()
    });
    report.step("list a directory", || {
        fs::create_dir(at("list"))?;
        ensure_eq!(fs::read_dir(at("list"))?.count(), 0);
        for i in 0..100 {
            fs::write(at("list").join(format!("file {i:02}")), [])?;
        }
        fs::create_dir(at("list/directory"))?;
        let mut names = Vec::new();
        for entry in fs::read_dir(at("list"))? {
            let entry = entry?;
            let name = entry.file_name();
            ensure_eq!(entry.file_type()?.is_dir(), name == "directory");
            ensure_eq!(entry.path(), at("list").join(&name));
            names.push(name);
        }
        names.sort();
        ensure_eq!((names.len(), names[1].to_str()), (101, Some("file 00")));
        fine()
    });
    report.step("real path", || {
        let real = fs::canonicalize(at("a/b/../../text"))?;
        ensure_eq!(real, fs::canonicalize(&root)?.join("text"));
        fine()
    });
    report.step("hard link", || {
        fs::hard_link(at("new"), at("link"))?;
        fs::write(at("new"), "one file")?;
        ensure_eq!(fs::read(at("link"))?, b"one file");
        fine()
    });
    report.step("symbolic link", || symbolic_link(at("new"), at("symbolic")));
    report.step("lock a file", || {
        let file = File::open(at("new"))?;
        file.lock()?;
        ensure!(File::open(at("new"))?.try_lock_shared().is_err());
        file.unlock()?;
        File::open(at("new"))?.lock_shared()?;
        fine()
    });
    report.step("what a file is not", || {
        expect_error(fs::read(at("new/below")), ErrorKind::NotADirectory)?;
        expect_error(fs::read_dir(at("new")), ErrorKind::NotADirectory)?;
        expect_error(File::create(at("a")), ErrorKind::IsADirectory)?;
        fine()
    });
    report.step("remove", || {
        fs::remove_file(at("new"))?;
        expect_error(fs::remove_file(at("new")), ErrorKind::NotFound)?;
        expect_error(fs::remove_dir(at("a")), ErrorKind::DirectoryNotEmpty)?;
        fs::remove_dir(at("a/b/c"))?;
        ensure!(!fs::exists(at("a/b/c"))?);
        fine()
    });
    report.step("remove a tree", || {
        fs::remove_dir_all(&root)?;
        ensure!(!fs::exists(&root)?);
        fine()
    });
}

fn symbolic_link(target: PathBuf, link: PathBuf) -> Outcome {
    std::os::unix::fs::symlink(&target, &link)?;
    ensure_eq!(fs::read_link(&link)?, target);
    ensure!(fs::symlink_metadata(&link)?.is_symlink() && fs::metadata(&link)?.is_file());
    fine()
}
