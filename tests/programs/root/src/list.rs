//! A listing that is the same for the same files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Lists everything below `root` but what the system itself puts there.
pub fn all(root: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(name) = pending.pop() {
        let path = root.join(&name);
        let metadata = fs::symlink_metadata(&path)?;
        let kind = metadata.file_type();
        let (mark, length, hash) = if kind.is_dir() {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                names.push(name.join(entry?.file_name()));
            }
            names.retain(|name| !is_system(name));
            // From the end of the list: the last name comes first.
            names.sort_by(|a, b| b.cmp(a));
            pending.extend(names);
            ('d', 0, 0)
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            let bytes = target.as_os_str().as_encoded_bytes();
            ('l', bytes.len() as u64, hash(bytes)?)
        } else {
            ('f', metadata.len(), hash(File::open(&path)?)?)
        };
        if name.as_os_str().is_empty() {
            continue;
        }
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
        let modified = modified.unwrap_or_default().as_secs();
        let mode = if metadata.permissions().readonly() { "r" } else { "rw" };
        write!(out, "{mark} {mode} {modified} {length} {hash:016x} ")?;
        out.write_all(name.as_os_str().as_encoded_bytes())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Whether the system makes this itself.
fn is_system(name: &Path) -> bool {
    ["dev", "proc", "tmp"].iter().any(|own| name == Path::new(own))
}

/// FNV-1a of 64 bits: enough to see a difference.
fn hash(mut bytes: impl Read) -> io::Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut buffer = [0; 16384];
    loop {
        let length = bytes.read(&mut buffer)?;
        if length == 0 {
            return Ok(hash);
        }
        for byte in &buffer[..length] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash(&b""[..]).unwrap(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(&b"foobar"[..]).unwrap(), 0x8594_4171_f739_67e8);
    }
}
