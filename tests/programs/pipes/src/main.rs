//! Checks pipes between threads, copies of descriptors, and the errors of what does not exist here.
//! `pipes terminals` prints which standard streams are terminals.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use check::Numbers;

fn main() -> ExitCode {
    let filter = std::env::args().nth(1);
    if filter.as_deref() == Some("terminals") {
        let streams =
            [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
        println!("{streams:?}");
        return ExitCode::SUCCESS;
    }
    check::walk(
        &[
            ("a megabyte passes between threads", megabyte),
            ("a reader waits for a writer", waits),
            ("a writer waits while the pipe is full", full),
            ("the end comes when the last writer is gone", end),
            ("writing without a reader fails", broken),
            ("vectors pass as one", vectored),
            ("small writes stay whole", whole),
            ("a copy of a descriptor is the same file", copies),
            ("a file is no terminal", terminal),
            ("a command says why it does not start", command),
        ],
        filter.as_deref(),
    )
}

fn megabyte() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let mut numbers = Numbers::new(7);
    let sent: Vec<u8> = (0..1_000_003).map(|_| numbers.below(256) as u8).collect();
    let copy = sent.clone();
    let writing = thread::spawn(move || writer.write_all(&copy));
    let mut received = Vec::new();
    reader.read_to_end(&mut received)?;
    writing.join().expect("the writer does not panic")?;
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    Ok(())
}

fn waits() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let start = Instant::now();
    let writing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        writer.write_all(b"late")
    });
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    assert_eq!(text, "late");
    assert!(start.elapsed() >= Duration::from_millis(50));
    writing.join().expect("the writer does not panic")
}

fn full() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let start = Instant::now();
    let reading = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        let mut received = Vec::new();
        reader.read_to_end(&mut received).map(|_| received.len())
    });
    // More than any pipe holds by default.
    writer.write_all(&vec![1; 300_000])?;
    assert!(start.elapsed() >= Duration::from_millis(50));
    drop(writer);
    assert_eq!(reading.join().expect("the reader does not panic")?, 300_000);
    Ok(())
}

fn end() -> io::Result<()> {
    let (mut reader, writer) = io::pipe()?;
    let mut second = writer.try_clone()?;
    drop(writer);
    second.write_all(b"x")?;
    drop(second);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    assert_eq!(text, "x");
    assert_eq!(reader.read(&mut [0; 8])?, 0);
    Ok(())
}

fn broken() -> io::Result<()> {
    let (reader, mut writer) = io::pipe()?;
    drop(reader);
    let error = writer.write(b"x").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    Ok(())
}

fn vectored() -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"three")];
    assert_eq!(writer.write_vectored(&parts)?, 8);
    let (mut first, mut second) = ([0; 4], [0; 8]);
    let mut places = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(reader.read_vectored(&mut places)?, 8);
    assert_eq!((&first, &second[..4]), (b"onet", &b"hree"[..]));
    Ok(())
}

/// Several threads write lines of 100 equal bytes; no line has another thread's bytes in it.
fn whole() -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    let writers: Vec<_> = (b'a'..b'e')
        .map(|letter| {
            let mut writer = writer.try_clone()?;
            Ok(thread::spawn(move || (0..2_000).try_for_each(|_| writer.write_all(&[letter; 100]))))
        })
        .collect::<io::Result<_>>()?;
    drop(writer);
    let mut reader = io::BufReader::new(reader);
    let mut line = [0; 100];
    let mut lines = 0;
    while reader.read_exact(&mut line).is_ok() {
        assert!(line.iter().all(|byte| *byte == line[0]), "mixed: {line:?}");
        lines += 1;
    }
    assert_eq!(lines, 8_000);
    for writer in writers {
        writer.join().expect("a writer does not panic")?;
    }
    Ok(())
}

fn copies() -> io::Result<()> {
    let path = std::env::temp_dir().join("pipes-copies");
    let mut file =
        File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
    let copy: OwnedFd = file.as_fd().try_clone_to_owned()?;
    let mut copy = File::from(copy);
    file.write_all(b"one")?;
    // The position is the file's, not the descriptor's.
    copy.write_all(b"two")?;
    drop(file);
    drop(copy);
    assert_eq!(std::fs::read(&path)?, b"onetwo");
    std::fs::remove_file(path)
}

fn terminal() -> io::Result<()> {
    let path = std::env::temp_dir().join("pipes-terminal");
    assert!(!File::create(&path)?.is_terminal());
    std::fs::remove_file(path)?;
    let (reader, _writer) = io::pipe()?;
    assert!(!File::from(OwnedFd::from(reader)).is_terminal());
    Ok(())
}

fn command() -> io::Result<()> {
    let result = Command::new("/no/such/program").output();
    let error = result.expect_err("there is no such program");
    if cfg!(target_os = "hermit") {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("one address space"), "{error}");
        let (reader, _writer) = io::pipe()?;
        assert!(Command::new("cat").stdin(reader).spawn().is_err());
    } else {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    Ok(())
}
