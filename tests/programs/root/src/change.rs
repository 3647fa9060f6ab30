//! Changes to files that the program was started with: `a` and `b`, of 8 bytes or more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Makes all changes; panics when a file then is not what it should be.
pub fn all(root: &Path) -> io::Result<()> {
    let (a, b, c) = (root.join("a"), root.join("b"), root.join("c"));
    let before = fs::read(&a)?;

    // In the middle, with a reader that has the file open.
    let mut reader = File::open(&a)?;
    let mut file = OpenOptions::new().read(true).write(true).open(&a)?;
    file.seek(SeekFrom::Start(2))?;
    file.write_all(b"xyz")?;
    let mut expected = before.clone();
    expected[2..5].copy_from_slice(b"xyz");
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen)?;
    assert!(seen == expected, "a reader sees what was written");
    assert!(fs::read(&a)? == expected);

    // At the end, and beyond.
    OpenOptions::new().append(true).open(&a)?.write_all(b"end")?;
    expected.extend_from_slice(b"end");
    assert!(fs::read(&a)? == expected);
    let length = expected.len() + 100_000;
    file.set_len(length as u64)?;
    expected.resize(length, 0);
    assert!(fs::read(&a)? == expected);

    // Shorter without a copy, then longer: what was cut off does not come back.
    let before = fs::read(&b)?;
    let file = OpenOptions::new().write(true).open(&b)?;
    file.set_len(3)?;
    assert!(fs::read(&b)? == before[..3]);
    file.set_len(6)?;
    assert!(fs::read(&b)? == [&before[..3], &[0; 3]].concat());

    // Another name, no name, a new file of the old name.
    fs::rename(&b, &c)?;
    assert!(!b.exists() && fs::read(&c)?.len() == 6);
    let mut open = File::open(&a)?;
    fs::remove_file(&a)?;
    assert!(!a.exists());
    seen.clear();
    open.read_to_end(&mut seen)?;
    assert!(seen == expected, "a removed file lives until it is closed");
    fs::write(&a, "new")?;
    assert!(fs::read(&a)? == b"new");
    println!("all changes are there");
    Ok(())
}
