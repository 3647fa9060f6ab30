//! Checks the allocator. Needs 48 MiB of memory; the last checks go through far more in total.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use check::Numbers;

const MIB: usize = 1 << 20;

fn main() -> ExitCode {
    check::walk(
        &[
            ("blocks of every size do not overlap", sizes),
            ("every alignment up to 1 MiB is kept", alignment),
            ("growing and shrinking keeps the content", reallocation),
            ("parts of 2 MiB are given back and taken again", parts),
            #[cfg(target_os = "hermit")]
            ("parts of 2 MiB get another access", protection),
            ("zeroed memory is zero", zeroed),
            ("a million small blocks", small),
            ("memory freed by another thread", other_thread),
            ("threads allocate at the same time", threads),
            ("gaps are joined again", gaps),
            ("large blocks from every depth of a fresh stack", depths),
            ("one list grows over most of the memory", growing),
            ("2 GiB in total, a piece at a time", given_back),
            ("more than there is fails, then all is well", exhaustion),
        ],
        std::env::args().nth(1).as_deref(),
    )
}

/// Allocates large blocks at stack pointers that differ by less than a page, each time on a stack
/// whose next page was never touched: the allocator's own frames are what touches it first.
fn depths() -> io::Result<()> {
    fn descend(left: usize) {
        let mut own = [0u8; 16];
        std::hint::black_box(&mut own);
        if left == 0 {
            for _ in 0..2 {
                let mut block = vec![0u8; 300 << 10];
                block[0] = 1;
                std::hint::black_box(&mut block);
            }
        } else {
            descend(left - 1);
            std::hint::black_box(&mut own);
        }
    }
    for depth in 0..400 {
        let thread = thread::spawn(move || descend(depth));
        thread.join().expect("no panic");
    }
    Ok(())
}

/// A list grows, mostly by moving, to three quarters of 48 MiB: its old place and its new one do not count
/// both.
fn growing() -> io::Result<()> {
    let mut list: Vec<u64> = Vec::new();
    for size in (MIB..=36 * MIB).step_by(MIB) {
        let length = size / size_of::<u64>();
        list.try_reserve_exact(length - list.len()).map_err(io::Error::other)?;
        list.extend(list.len() as u64..length as u64);
    }
    assert!(list.into_iter().eq(0..36 * MIB as u64 / 8));
    Ok(())
}

/// A block that is filled with its own mark and looks at it before it goes.
struct Marked(Vec<u8>, u8);

impl Marked {
    fn new(length: usize, mark: u8) -> Marked {
        Marked(vec![mark; length], mark)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        assert!(self.0.iter().all(|&byte| byte == self.1), "a block was overwritten");
    }
}

fn churn(seed: u64, rounds: usize) {
    let mut numbers = Numbers::new(seed);
    let mut blocks = Vec::new();
    for round in 0..rounds {
        if blocks.len() > 200 || (!blocks.is_empty() && numbers.below(3) == 0) {
            blocks.swap_remove(numbers.below(blocks.len()));
        } else {
            let length = match numbers.below(10) {
                0..8 => numbers.below(512),
                8 => numbers.below(8 << 10),
                _ => numbers.below(100 << 10),
            };
            blocks.push(Marked::new(length, round as u8));
        }
    }
}

fn sizes() -> io::Result<()> {
    churn(1, 20_000);
    Ok(())
}

fn alignment() -> io::Result<()> {
    for shift in 0..=20 {
        for size in [1, 100, 5_000] {
            let layout = Layout::from_size_align(size, 1 << shift).map_err(io::Error::other)?;
            // SAFETY: the size is not zero.
            let blocks = [(); 3].map(|()| unsafe { alloc(layout) });
            for block in blocks {
                assert!(!block.is_null(), "no block of {layout:?}");
                assert!(block.addr().is_multiple_of(layout.align()), "{block:?} for {layout:?}");
                // SAFETY: a block of at least `size` bytes, which nobody else uses.
                unsafe { block.write_bytes(1, size) };
            }
            for block in blocks {
                // SAFETY: allocated above with this layout, not used after this.
                unsafe { dealloc(block, layout) };
            }
        }
    }
    Ok(())
}

fn reallocation() -> io::Result<()> {
    for align in [1, 64, 4096] {
        let mut layout = Layout::from_size_align(16, align).map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let mut block = unsafe { alloc(layout) };
        assert!(!block.is_null());
        // SAFETY: the block is 16 bytes long.
        unsafe { block.write_bytes(7, 16) };
        for size in [17, 4_000, 5_000, 100_000, 2 * MIB, 5_000, 16] {
            // SAFETY: the block was allocated with this layout, and the new size is not zero.
            block = unsafe { realloc(block, layout, size) };
            assert!(!block.is_null() && block.addr().is_multiple_of(align));
            layout = Layout::from_size_align(size, align).map_err(io::Error::other)?;
            // SAFETY: the first 16 bytes were written and every size is at least 16.
            let start = unsafe { std::slice::from_raw_parts(block, 16) };
            assert_eq!(start, [7; 16]);
        }
        // SAFETY: allocated with this layout, not used after this.
        unsafe { dealloc(block, layout) };
    }
    let mut list = Vec::new();
    for i in 0..1_000_000_u32 {
        list.push(i);
    }
    assert!(list.iter().copied().eq(0..1_000_000));
    list.truncate(1_000);
    list.shrink_to_fit();
    assert!(list.into_iter().eq(0..1_000));
    Ok(())
}

/// Blocks of several times 2 MiB grow and shrink to any size, in place and elsewhere, on two threads.
fn parts() -> io::Result<()> {
    const WORD: usize = size_of::<usize>();
    let work = |seed: usize| {
        let mut numbers = Numbers::new(seed as u64);
        let mut list: Vec<usize> = Vec::new();
        for _ in 0..60 {
            let length = numbers.below(9 * MIB) / WORD;
            if length > list.len() {
                list.reserve_exact(length - list.len());
                list.extend((list.len()..length).map(|place| place ^ seed));
            } else {
                list.truncate(length);
                list.shrink_to_fit();
            }
            assert_eq!(list.len(), length);
            let mut places = list.iter().enumerate();
            assert!(places.all(|(place, word)| *word == place ^ seed));
        }
    };
    let threads = [1, 2].map(|seed| thread::spawn(move || work(seed)));
    for thread in threads {
        thread.join().expect("no panic");
    }
    Ok(())
}

/// Some pages of a large mapping cannot be written to for a while; all keep their content.
#[cfg(target_os = "hermit")]
fn protection() -> io::Result<()> {
    const PAGE: usize = 4096;
    const SIZE: usize = 9 * MIB;
    const READ: u32 = 1;
    const READ_WRITE: u32 = 3;
    // hermit-abi declares them.
    unsafe extern "C" {
        safe fn sys_mmap(size: usize, protection: u32, result: &mut *mut usize) -> i32;
        safe fn sys_mprotect(start: *mut usize, size: usize, protection: u32) -> i32;
        safe fn sys_munmap(start: *mut usize, size: usize) -> i32;
    }
    let mut start = std::ptr::null_mut();
    assert_eq!(sys_mmap(SIZE, READ_WRITE, &mut start), 0);
    // SAFETY: a mapping of that size, which nobody else uses.
    let words = unsafe { std::slice::from_raw_parts_mut(start, SIZE / size_of::<usize>()) };
    for (place, word) in words.iter_mut().enumerate() {
        *word = place;
    }
    for page in [0, 1, 600, 1000, 1001, SIZE / PAGE - 1] {
        let address = start.wrapping_byte_add(page * PAGE);
        assert_eq!(sys_mprotect(address, PAGE, READ), 0, "page {page}");
        assert!(words.iter().enumerate().all(|(place, word)| *word == place));
        assert_eq!(sys_mprotect(address, PAGE, READ_WRITE), 0, "page {page}");
        words[page * PAGE / size_of::<usize>()] += 0;
    }
    assert_eq!(sys_munmap(start, SIZE), 0);
    Ok(())
}

fn zeroed() -> io::Result<()> {
    for size in [1, 63, 64, 4_096, 70_000, MIB, 12 * MIB] {
        let layout = Layout::from_size_align(size, 16).map_err(io::Error::other)?;
        for _ in 0..3 {
            // SAFETY: the size is not zero.
            let block = unsafe { alloc_zeroed(layout) };
            assert!(!block.is_null(), "no {size} bytes");
            // SAFETY: zeroed memory of this size, which nobody else uses.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{size} bytes were not zero");
            bytes.fill(0xff);
            // SAFETY: allocated above with this layout, not used after this.
            unsafe { dealloc(block, layout) };
        }
    }
    Ok(())
}

fn small() -> io::Result<()> {
    let mut boxes = Vec::with_capacity(100_000);
    for round in 0..10_u64 {
        boxes.extend((0..100_000).map(|i| Box::new(i ^ round)));
        let sum = boxes.iter().map(|value| **value ^ round).sum::<u64>();
        assert_eq!(sum, 99_999 * 100_000 / 2);
        boxes.clear();
    }
    Ok(())
}

fn other_thread() -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(16);
    let sink = thread::spawn(move || {
        receiver.into_iter().map(|block: Marked| block.0.len()).sum::<usize>()
    });
    let mut numbers = Numbers::new(2);
    let mut sent = 0;
    for i in 0..5_000 {
        let length = numbers.below(20_000);
        sent += length;
        sender.send(Marked::new(length, i as u8)).map_err(io::Error::other)?;
    }
    drop(sender);
    assert_eq!(sink.join().ok(), Some(sent));
    Ok(())
}

fn threads() -> io::Result<()> {
    thread::scope(|scope| {
        for seed in 10..14 {
            scope.spawn(move || churn(seed, 5_000));
        }
    });
    Ok(())
}

fn gaps() -> io::Result<()> {
    let mut blocks = (0..1_500).map(|i| Some(Marked::new(16 << 10, i as u8))).collect::<Vec<_>>();
    for block in blocks.iter_mut().step_by(2) {
        *block = None;
    }
    for block in blocks.iter_mut().skip(1).step_by(2) {
        *block = None;
    }
    drop(Marked::new(24 * MIB, 1));
    Ok(())
}

fn given_back() -> io::Result<()> {
    let mut numbers = Numbers::new(3);
    let mut total = 0;
    while total < 2 << 30 {
        let length = 4 * MIB + numbers.below(16 * MIB);
        let mut block = Vec::<u8>::new();
        block.try_reserve_exact(length).map_err(io::Error::other)?;
        // One byte in each page is enough to need the page.
        block.resize(1, 1);
        let spare = block.spare_capacity_mut();
        for byte in spare.iter_mut().step_by(4096) {
            byte.write(1);
        }
        total += length;
    }
    Ok(())
}

fn exhaustion() -> io::Result<()> {
    // On a host with more memory than this the loop ends by itself.
    for _ in 0..2 {
        let mut blocks = Vec::new();
        for _ in 0..128 {
            let mut block = Vec::<u8>::new();
            if block.try_reserve_exact(MIB).is_err() {
                break;
            }
            block.resize(MIB, 1);
            blocks.push(block);
        }
        assert!(blocks.len() >= 16, "only {} MiB", blocks.len());
    }
    drop(Marked::new(16 * MIB, 1));
    Ok(())
}
