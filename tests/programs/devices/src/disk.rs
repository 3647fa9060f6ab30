//! A disk, beside what it should hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::thread;
use std::time::Instant;

use check::Numbers;

use crate::sum::cksum;

/// Reads and writes at any place.
const STEPS: usize = 300;
/// Bytes of the longest, but for one in ten of them: more than a request holds.
const SHORT: usize = 3000;
const LONG: usize = 200_000;
/// Threads that write into the same sectors, and bytes of what each writes in turn.
const THREADS: usize = 4;
const PIECE: usize = 700;
const PIECES: usize = 200;

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Tells what there is, and what was written to it in many ways.
pub fn check(path: &str) -> io::Result<()> {
    let mut disk = open(path)?;
    let mut model = whole(path, &mut disk)?;
    println!("before {}", cksum(&model));
    at_any_place(&mut disk, &mut model)?;
    by_threads(path, &mut model)?;
    at_the_end(&mut disk, &mut model)?;
    disk.sync_data()?;
    disk.sync_all()?;
    assert!(fs::read(path)? == model, "what was written is there");
    println!("after {}", cksum(&model));
    Ok(())
}

/// A disk that may not be written to.
pub fn check_constant(path: &str) -> io::Result<()> {
    let mut disk = File::open(path)?;
    println!("constant {}", cksum(&whole(path, &mut disk)?));
    for options in [OpenOptions::new().write(true), OpenOptions::new().read(true).append(true)] {
        let error = options.open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    }
    disk.sync_all()
}

/// All of it, after a look at what is known about it.
fn whole(path: &str, disk: &mut File) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    assert!(metadata.file_type().is_block_device() && !metadata.is_file());
    assert_eq!(disk.metadata()?.len(), metadata.len());
    assert_eq!(disk.seek(SeekFrom::End(0))?, metadata.len());
    assert_eq!(disk.read(&mut [0; 100])?, 0);
    disk.rewind()?;
    let mut all = Vec::new();
    disk.read_to_end(&mut all)?;
    assert_eq!(all.len() as u64, metadata.len());
    let name = path.rsplit('/').next().unwrap_or_default();
    let listed = fs::read_dir("/dev")?.filter_map(Result::ok);
    assert!(listed.into_iter().any(|entry| entry.file_name() == name
        && entry.file_type().is_ok_and(|kind| kind.is_block_device())));
    Ok(all)
}

fn at_any_place(disk: &mut File, model: &mut [u8]) -> io::Result<()> {
    let mut numbers = Numbers::new(1);
    for step in 0..STEPS {
        let most = if step % 10 == 0 { LONG } else { SHORT };
        let mut length = 1 + numbers.below(most.min(model.len()));
        let mut start = numbers.below(model.len() - length + 1);
        if step % 3 == 0 {
            // Whole sectors.
            start &= !511;
            length = length.next_multiple_of(512).min(model.len() - start);
        }
        let place = &mut model[start..start + length];
        if numbers.below(2) == 0 {
            place.fill_with(|| numbers.below(256) as u8);
            disk.seek(SeekFrom::Start(start as u64))?;
            disk.write_all(place)?;
            assert_eq!(disk.stream_position()?, (start + length) as u64);
        } else {
            let mut read = vec![0; length];
            disk.read_exact_at(&mut read, start as u64)?;
            assert!(read == place, "step {step}: {length} bytes at {start}");
        }
        if step % 50 == 0 {
            disk.sync_all()?;
        }
    }
    Ok(())
}

/// Each thread writes every fourth piece: all of them share sectors with others.
fn by_threads(path: &str, model: &mut [u8]) -> io::Result<()> {
    let byte = |piece: usize, at: usize| (piece * 7 + at) as u8;
    thread::scope(|scope| {
        let write = |thread: usize| {
            let disk = open(path)?;
            for piece in (thread..PIECES).step_by(THREADS) {
                let bytes: Vec<_> = (0..PIECE).map(|at| byte(piece, at)).collect();
                disk.write_all_at(&bytes, (piece * PIECE) as u64)?;
                let mut read = vec![0; PIECE];
                disk.read_exact_at(&mut read, (piece * PIECE) as u64)?;
                assert!(read == bytes, "piece {piece}");
            }
            Ok(())
        };
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || write(thread))).collect();
        let mut results =
            threads.into_iter().map(|thread| thread.join().expect("a thread does not panic"));
        results.try_for_each(|result: io::Result<()>| result)
    })?;
    for piece in 0..PIECES {
        let place = &mut model[piece * PIECE..][..PIECE];
        let bytes = place.iter_mut().enumerate();
        bytes.for_each(|(at, place)| *place = byte(piece, at));
    }
    let mut read = vec![0; PIECES * PIECE];
    open(path)?.read_exact(&mut read)?;
    assert!(read == model[..read.len()], "what threads have written");
    Ok(())
}

fn at_the_end(disk: &mut File, model: &mut [u8]) -> io::Result<()> {
    let end = model.len();
    disk.seek(SeekFrom::End(-10))?;
    assert_eq!(disk.write(&[9; 30])?, 10);
    model[end - 10..].fill(9);
    let full = disk.write(&[9]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.write(&[])?, 0);
    let beyond = disk.write_at(&[9], end as u64 + 512).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.read_at(&mut [0; 10], end as u64 + 512)?, 0);
    let lost = disk.seek(SeekFrom::End(1)).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::InvalidInput);
    let mut last = [0; 20];
    assert_eq!(disk.read_at(&mut last, end as u64 - 10)?, 10);
    assert_eq!(last[..10], [9; 10]);
    Ok(())
}

/// Writes and reads all of a disk, a piece after the other.
pub fn time(path: &str) -> io::Result<()> {
    const MIB: usize = 1 << 20;
    let disk = open(path)?;
    let length = disk.metadata()?.len();
    let mut bytes = vec![7; MIB];
    let mut rate = |what: &str, work: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>| {
        let start = Instant::now();
        for at in (0..length).step_by(MIB) {
            let rest = MIB.min((length - at) as usize);
            work(&mut bytes[..rest], at)?;
        }
        disk.sync_all()?;
        let rate = length as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("{what}: {} MiB, {rate:.1} MB/s", length >> 20);
        io::Result::Ok(())
    };
    rate("written", &mut |bytes, at| disk.write_all_at(bytes, at))?;
    rate("read", &mut |bytes, at| disk.read_exact_at(bytes, at))
}
