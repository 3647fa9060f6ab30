//! The files below `/proc`, read as programs read them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;

use crate::refused;

pub fn reports() -> io::Result<()> {
    let version = fs::read_to_string("/proc/version")?;
    assert!(version.contains(" version ") && version.ends_with('\n'), "{version:?}");

    let uptime = fs::read_to_string("/proc/uptime")?;
    let numbers: Vec<f64> =
        uptime.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    assert!(matches!(numbers[..], [up, idle] if up > 0.0 && idle >= 0.0), "{uptime:?}");

    let memory = fs::read_to_string("/proc/meminfo")?;
    let kilobytes = |name: &str| -> u64 {
        let line = memory.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|rest| rest.strip_prefix(':')?.trim().strip_suffix(" kB"));
        value.unwrap_or_else(|| panic!("{name} in {memory}")).parse().expect("a number")
    };
    assert!(kilobytes("MemTotal") > kilobytes("MemFree"));
    assert!(kilobytes("MemAvailable") > 0 && kilobytes("MemTotal") > 1000);
    for name in ["Buffers", "Cached", "SwapTotal", "SwapFree"] {
        kilobytes(name);
    }

    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let mut lines = processors.lines();
    assert_eq!(lines.next(), Some("processor\t: 0"));
    let flags = lines.clone().find_map(|line| line.strip_prefix("flags\t\t: "));
    let flags: Vec<_> = flags.expect("flags").split(' ').collect();
    for flag in ["fpu", "sse2", "lm", "nx"] {
        assert!(flags.contains(&flag), "{flags:?}");
    }
    assert_eq!(flags.contains(&"avx2"), is_x86_feature_detected!("avx2"));
    assert_eq!(flags.contains(&"rdrand"), is_x86_feature_detected!("rdrand"));
    for name in ["vendor_id\t: ", "model name\t: ", "cpu MHz\t\t: ", "cpu cores\t: "] {
        let value = lines.clone().find_map(|line| line.strip_prefix(name));
        assert!(value.is_some_and(|value| !value.is_empty()), "{name}: {processors}");
    }
    assert!(processors.ends_with("\n\n"));
    Ok(())
}

pub fn process() -> io::Result<()> {
    let mut expected = Vec::new();
    for argument in std::env::args_os() {
        expected.extend_from_slice(argument.as_bytes());
        expected.push(0);
    }
    assert_eq!(fs::read("/proc/self/cmdline")?, expected);
    let number = std::process::id();
    assert_eq!(fs::read(format!("/proc/{number}/cmdline"))?, expected);
    assert_eq!(fs::read_link("/proc/self/exe")?, std::env::current_exe()?);
    assert!(!fs::read_to_string("/proc/self/comm")?.trim_end().is_empty());
    Ok(())
}

pub fn as_files() -> io::Result<()> {
    let metadata = fs::metadata("/proc/cpuinfo")?;
    assert!(metadata.is_file() && metadata.len() == 0);
    // In small pieces, and one piece again.
    let whole = fs::read("/proc/cpuinfo")?;
    let mut file = File::open("/proc/cpuinfo")?;
    let (mut pieces, mut piece) = (Vec::new(), [0; 7]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => pieces.extend_from_slice(&piece[..length]),
        }
    }
    // The frequency of a real processor changes.
    assert_eq!(pieces[..100], whole[..100]);
    let names: Vec<_> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    for name in ["version", "uptime", "meminfo", "cpuinfo", "self"] {
        assert!(names.iter().any(|other| other == name), "{names:?}");
    }
    refused(fs::metadata("/proc/none"), ErrorKind::NotFound);
    Ok(())
}
