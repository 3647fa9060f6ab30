//! The command line.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

/// The most processors that a machine has.
pub const MOST_PROCESSORS: u8 = 64;

const HELP: &str = "\
Starts a unikernel image in a virtual machine, with KVM

Usage: skete run [OPTIONS] IMAGE [-- ARGUMENTS...]
       skete inspect IMAGE      what is in an image, and what it needs
       skete check              whether this machine can run images, and what is missing

Options of run:
  -m, --memory SIZE          memory, like 64M or 2G [default: 64M]
  -c, --cpus N               processors, 1 to 64 [default: 1]
  -e, --env KEY=VALUE        a variable in the program's environment
      --mount HOST:GUEST[:ro]  a directory or file of the host, seen at an absolute path in the guest
      --net user             a network card that reaches what this user reaches, by the program passt
      --net tap=NAME         a network card, at this interface of the host [default: none]
      --publish [ADDRESS:]HOST:GUEST[/udp]  a port of the host is a port of the guest; implies --net user
      --disk FILE[:ro]       a disk: a file or a block device of the host, in sectors of 512 bytes
      --rng                  a source of random numbers: the host's
      --channel PATH         a Unix socket on the host whose other end is the guest's /dev/hvc0
      --vsock CID            streams to this host without a network: the guest's number, from 3 on
      --log LEVEL            the kernel's log: error, warn, info, debug, trace
      --kernel OPTION        one more option for the kernel, as it is
      --console FILE         standard output and error go to this file
      --huge-pages           use huge pages for the guest's memory
      --gdb [HOST:]PORT      wait for a debugger before the first instruction
      --core FILE            write a core file, for gdb, when the guest ends with a fault
      --stats                show exits, times and memory at the end
      --trace                show each hypercall, one line each
      --no-jail              leave out Landlock and seccomp
  -h, --help                 this text

The exit status is the program's. A guest that ends without one, or that is stopped, ends with 1 or
128 and the signal's number; Ctrl-C ends the guest, a second one at once.

Examples:
  skete run hello.elf
  skete run --memory 256M --cpus 2 --env RUST_BACKTRACE=1 server.elf -- --port 80
  skete run --mount ./data:/data:ro app.elf < input
  skete run --publish 8080:80 server.elf
";

/// What is to be done.
#[derive(Debug)]
pub enum Verb {
    /// Run an image.
    Run(Box<Options>),
    /// Show what is in an image.
    Inspect(PathBuf),
    /// Tell whether images can be run here.
    Check,
    /// Print a text.
    Help(&'static str),
}

/// A part of the host's files that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A directory or a file of the host.
    pub host: PathBuf,
    /// Where the guest sees it: an absolute path.
    pub guest: String,
    /// The guest cannot change it.
    pub read_only: bool,
}

/// The other end of a network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    /// The program passt.
    User,
    /// A TAP interface of the host.
    Tap(String),
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// A file or a block device of the host.
    pub path: PathBuf,
    /// The guest cannot change it.
    pub read_only: bool,
}

/// A port of the host that is one of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where the host listens.
    pub address: Ipv4Addr,
    /// The port there.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// How an image is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The image's file.
    pub image: PathBuf,
    /// The guest's memory in bytes.
    pub memory: u64,
    /// How many processors.
    pub cpus: u8,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The program's environment.
    pub environment: Vec<(String, String)>,
    /// What the guest sees of the host's files.
    pub mounts: Vec<Mount>,
    /// The network cards.
    pub cards: Vec<Card>,
    /// Ports of the host that are the guest's, with passt.
    pub published: Vec<Publish>,
    /// The disks.
    pub disks: Vec<Disk>,
    /// A source of random numbers.
    pub rng: bool,
    /// Sockets of the host that are channels of the guest.
    pub channels: Vec<PathBuf>,
    /// The guest's CID, when it has streams to the host.
    pub vsock: Option<u32>,
    /// The kernel's log level.
    pub log: Option<String>,
    /// More options for the kernel.
    pub kernel: Vec<String>,
    /// Where standard output and error go.
    pub console: Option<PathBuf>,
    /// Ask for huge pages.
    pub huge_pages: bool,
    /// Where to wait for a debugger.
    pub gdb: Option<String>,
    /// Where to write a core file.
    pub core: Option<PathBuf>,
    /// Show numbers at the end.
    pub stats: bool,
    /// Show hypercalls.
    pub trace: bool,
    /// Confine the monitor.
    pub jail: bool,
}

impl Options {
    /// The defaults for an image.
    pub fn new(image: PathBuf) -> Options {
        Options { image, memory: 64 << 20, cpus: 1, jail: true, ..Options::default() }
    }
}

/// Reads the command line.
///
/// # Errors
///
/// What is wrong with it, in one line.
pub fn read(mut parser: lexopt::Parser) -> Result<Verb> {
    const USAGE: &str = "say what to do: `skete run IMAGE`, `skete inspect IMAGE` or `skete check`";
    match parser.next()? {
        Some(Short('h') | Long("help")) => Ok(Verb::Help(HELP)),
        Some(Long("version")) => Ok(Verb::Help(concat!("skete ", env!("CARGO_PKG_VERSION"), "\n"))),
        Some(Value(verb)) if verb == "run" => read_run(parser),
        Some(Value(verb)) if verb == "inspect" => match parser.next()? {
            Some(Value(image)) => alone(Verb::Inspect(image.into()), parser),
            Some(Short('h') | Long("help")) => Ok(Verb::Help(HELP)),
            _ => bail!("inspect needs an image: `skete inspect IMAGE`"),
        },
        Some(Value(verb)) if verb == "check" => alone(Verb::Check, parser),
        Some(other) => Err(other.unexpected()).context(USAGE),
        None => bail!("{USAGE}; `skete --help` tells more"),
    }
}

/// A verb that nothing may follow.
fn alone(verb: Verb, mut parser: lexopt::Parser) -> Result<Verb> {
    match parser.next()? {
        None => Ok(verb),
        Some(Short('h') | Long("help")) => Ok(Verb::Help(HELP)),
        Some(other) => Err(other.unexpected()).context("`skete --help` shows what there is"),
    }
}

fn read_run(mut parser: lexopt::Parser) -> Result<Verb> {
    let mut options = Options::new(PathBuf::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Verb::Help(HELP)),
            Short('m') | Long("memory") => options.memory = bytes(&text(parser.value()?)?)?,
            Short('c') | Long("cpus") => options.cpus = processors(&text(parser.value()?)?)?,
            Short('e') | Long("env") => options.environment.push(variable(text(parser.value()?)?)?),
            Long("mount") => {
                let mount = mount(&text(parser.value()?)?)?;
                if options.mounts.iter().any(|other| other.guest == mount.guest) {
                    bail!("--mount: two things cannot be at {}", mount.guest);
                }
                options.mounts.push(mount);
            }
            Long("net") => options.cards.extend(card(&text(parser.value()?)?)?),
            Long("publish") => options.published.push(publish(&text(parser.value()?)?)?),
            Long("disk") => options.disks.push(disk(parser.value()?)?),
            Long("rng") => options.rng = true,
            Long("channel") => options.channels.push(parser.value()?.into()),
            Long("vsock") => options.vsock = Some(context(&text(parser.value()?)?)?),
            Long("log") => options.log = Some(text(parser.value()?)?),
            Long("kernel") => options.kernel.push(text(parser.value()?)?),
            Long("console") => options.console = Some(parser.value()?.into()),
            Long("huge-pages") => options.huge_pages = true,
            Long("gdb") => options.gdb = Some(text(parser.value()?)?),
            Long("core") => options.core = Some(parser.value()?.into()),
            Long("stats") => options.stats = true,
            Long("trace") => options.trace = true,
            Long("no-jail") => options.jail = false,
            Value(image) if options.image.as_os_str().is_empty() => {
                options.image = image.into();
            }
            other => {
                return Err(other.unexpected()).context("`skete run --help` shows what there is");
            }
        }
        // What follows the image belongs behind `--`.
        if !options.image.as_os_str().is_empty()
            && let Some(mut rest) = parser.try_raw_args()
            && rest.peek().is_some_and(|word| word == "--")
        {
            rest.next();
            options.arguments = rest.map(text).collect::<Result<_>>()?;
            break;
        }
    }
    if options.image.as_os_str().is_empty() {
        bail!("run needs an image: `skete run IMAGE`");
    }
    match options.cards.iter().filter(|card| **card == Card::User).count() {
        0 if !options.published.is_empty() => options.cards.push(Card::User),
        0 | 1 => {}
        _ => bail!("--net user can be given once only"),
    }
    Ok(Verb::Run(Box::new(options)))
}

fn text(word: OsString) -> Result<String> {
    let text = word.into_string().map_err(|word| anyhow::anyhow!("{word:?} is not UTF-8"))?;
    if text.contains('\0') {
        bail!("{text:?} contains a NUL character");
    }
    Ok(text)
}

/// Reads an amount of memory.
fn bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "" | "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => u32::MAX,
    };
    let bytes =
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1u64.checked_shl(shift)?));
    match bytes {
        Some(bytes) if (2 << 20..=1 << 40).contains(&bytes) => Ok(bytes.next_multiple_of(4096)),
        Some(_) => bail!("a guest has from 2M to 1024G of memory, not {text}"),
        None => bail!("`{text}` is not an amount of memory; write it like 64M or 2G"),
    }
}

fn processors(text: &str) -> Result<u8> {
    match text.parse() {
        Ok(count @ 1..=MOST_PROCESSORS) => Ok(count),
        _ => bail!("`{text}` is not a number of processors from 1 to {MOST_PROCESSORS}"),
    }
}

fn variable(text: String) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("`{text}` is not of the form KEY=VALUE"),
    }
}

/// A network card, if there is to be one.
fn card(text: &str) -> Result<Option<Card>> {
    match (text, text.strip_prefix("tap=")) {
        ("none", _) => Ok(None),
        ("user", _) => Ok(Some(Card::User)),
        (_, Some(name)) if !name.is_empty() => Ok(Some(Card::Tap(name.to_owned()))),
        _ => bail!("--net takes `none`, `user` or `tap=NAME`, not `{text}`"),
    }
}

fn disk(word: OsString) -> Result<Disk> {
    let (path, read_only) = match word.as_encoded_bytes().strip_suffix(b":ro") {
        Some(path) => (OsStr::from_bytes(path).into(), true),
        None => (PathBuf::from(word), false),
    };
    if path.as_os_str().is_empty() {
        bail!("--disk takes a file, like disk.img or disk.img:ro");
    }
    Ok(Disk { path, read_only })
}

/// A machine's CID (virtio 1.2, 5.10.4): those below, and the last, have meanings of their own.
fn context(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(cid) if (3..u32::MAX).contains(&cid) => Ok(cid),
        _ => bail!("--vsock takes the guest's CID, a number from 3 to 4294967294, not `{text}`"),
    }
}

fn publish(text: &str) -> Result<Publish> {
    let read = || {
        let (ports, udp) = match text.split_once('/') {
            None => (text, false),
            Some((ports, protocol)) => match protocol {
                "tcp" => (ports, false),
                "udp" => (ports, true),
                _ => return None,
            },
        };
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
        let (rest, guest) = ports.rsplit_once(':')?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (address.parse().ok()?, host),
            None => (Ipv4Addr::LOCALHOST, rest),
        };
        Some(Publish { address, host: port(host)?, guest: port(guest)?, udp })
    };
    read().with_context(|| {
        format!(
            "`{text}` is no port to publish; write it like 8080:80, 0.0.0.0:8080:80 or 5353:53/udp"
        )
    })
}

fn mount(text: &str) -> Result<Mount> {
    let (paths, read_only) = match text.strip_suffix(":ro") {
        Some(paths) => (paths, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let plain = |path: &str| {
        let names = path.strip_prefix('/');
        names.is_some_and(|names| names.split('/').all(|name| !matches!(name, "" | "." | "..")))
    };
    match paths.rsplit_once(':').map(|(host, guest)| (host, guest.trim_end_matches('/'))) {
        Some((host, guest)) if !host.is_empty() && plain(guest) => {
            Ok(Mount { host: host.into(), guest: guest.to_owned(), read_only })
        }
        _ => bail!(
            "`{text}` is not of the form HOST:GUEST or HOST:GUEST:ro, where GUEST is an absolute path, not /, without . and .."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Options> {
        let words = ["skete", "run"].iter().chain(words);
        match read(lexopt::Parser::from_iter(words))? {
            Verb::Run(options) => Ok(*options),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn options_are_read() {
        let words = [
            "-m",
            "128M",
            "--cpus=2",
            "--env",
            "A=b=c",
            "--mount",
            "a:b:/c:ro",
            "image",
            "--",
            "--x",
            "-y",
        ];
        let options = run(&words).unwrap();
        assert_eq!((options.memory, options.cpus), (128 << 20, 2));
        assert_eq!(options.image, PathBuf::from("image"));
        assert_eq!(options.arguments, ["--x", "-y"]);
        assert_eq!(options.environment, [("A".to_owned(), "b=c".to_owned())]);
        let mount = Mount { host: "a:b".into(), guest: "/c".into(), read_only: true };
        assert_eq!(options.mounts, [mount]);
    }

    #[test]
    fn devices_are_read() {
        let words = ["--disk", "a:b:ro", "--disk=c", "--rng", "--channel", "s"];
        let options = run(&[&words[..], &["i"]].concat()).unwrap();
        let disk = |path: &str, read_only| Disk { path: path.into(), read_only };
        assert_eq!(options.disks, [disk("a:b", true), disk("c", false)]);
        assert!(options.rng && options.channels == [PathBuf::from("s")]);
    }

    #[test]
    fn options_may_follow_the_image() {
        let options = run(&["image", "--stats"]).unwrap();
        assert!(options.stats && options.arguments.is_empty());
        assert_eq!(run(&["image", "--vsock", "3"]).unwrap().vsock, Some(3));
        assert_eq!(run(&["image", "--stats", "--", "a"]).unwrap().arguments, ["a"]);
    }

    #[test]
    fn published_ports_bring_a_card() {
        let words = ["--publish", "8080:80", "--publish", "0.0.0.0:5353:53/udp", "i"];
        let options = run(&words).unwrap();
        let one = |address: [u8; 4], host, guest, udp| Publish {
            address: address.into(),
            host,
            guest,
            udp,
        };
        let expected = [one([127, 0, 0, 1], 8080, 80, false), one([0; 4], 5353, 53, true)];
        assert_eq!(options.published, expected);
        assert_eq!(options.cards, [Card::User]);
        let options = run(&["--net", "tap=t", "--net", "user", "--publish", "1:2", "i"]).unwrap();
        assert_eq!(options.cards, [Card::Tap("t".into()), Card::User]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for words in [
            &["--memory", "1", "i"][..],
            &["--memory", "x", "i"],
            &["--cpus", "0", "i"],
            &["--cpus", "65", "i"],
            &["--env", "A", "i"],
            &["--mount", "a", "i"],
            &["--mount", "a:b", "i"],
            &["--mount", "a:/", "i"],
            &["--mount", "a:/b/../c", "i"],
            &["--mount", "a:/b//c", "i"],
            &["--mount", "a:/b", "--mount", "c:/b/", "i"],
            &["--net", "other", "i"],
            &["--net", "user", "--net", "user", "i"],
            &["--disk", ":ro", "i"],
            &["--publish", "80", "i"],
            &["--publish", "0:80", "i"],
            &["--publish", "localhost:80:80", "i"],
            &["--publish", "80:80/sctp", "i"],
            &["--vsock", "2", "i"],
            &["--vsock", "4294967295", "i"],
            &["--nothing", "i"],
            &["i", "j"],
            &[],
        ] {
            assert!(run(words).is_err(), "{words:?}");
        }
        for words in
            [&["check", "i"][..], &["check", "--stats"], &["inspect"], &["inspect", "i", "j"]]
        {
            let words = ["skete"].iter().chain(words);
            assert!(read(lexopt::Parser::from_iter(words.clone())).is_err(), "{words:?}");
        }
    }
}
