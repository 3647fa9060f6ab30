//! Standard streams, arguments and environment, as they are.

use std::env;
use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

const HELP: &str = "\
usage: stdio COMMAND
  cat          copy standard input to standard output; its length to standard error
  hash         print length and 64-bit FNV-1a hash of standard input
  lines        number the lines of standard input, one by one as they come
  arguments    print every argument, quoted
  environment  print every variable, quoted and sorted
  both         write to standard output and standard error in turn
  numbers N    print the numbers below N, a line each
  bytes        write each of the 256 bytes to standard output
  unflushed    print without a line break and return
  nothing      neither read nor write";

fn main() -> ExitCode {
    let command = env::args().nth(1);
    match run(command.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdio: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>) -> io::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    match command {
        Some("cat") => {
            let length = io::copy(&mut stdin, &mut stdout)?;
            stdout.flush()?;
            eprintln!("{length} bytes");
        }
        Some("hash") => {
            let mut buffer = vec![0; 64 << 10];
            let (mut length, mut hash) = (0, 0xcbf2_9ce4_8422_2325_u64);
            loop {
                let count = stdin.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                length += count;
                for &byte in &buffer[..count] {
                    hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
                }
            }
            println!("{length} bytes, hash {hash:016x}");
        }
        Some("lines") => {
            for (number, line) in stdin.lines().enumerate() {
                writeln!(stdout, "{number}: {}", line?)?;
            }
        }
        Some("arguments") => {
            for argument in env::args() {
                writeln!(stdout, "{argument:?}")?;
            }
        }
        Some("environment") => {
            let mut variables = env::vars().collect::<Vec<_>>();
            variables.sort();
            for (key, value) in variables {
                writeln!(stdout, "{key:?} = {value:?}")?;
            }
        }
        Some("both") => {
            for i in 0..3 {
                writeln!(stdout, "output {i}")?;
                eprintln!("error {i}");
            }
        }
        Some("numbers") => {
            let bound = env::args().nth(2).unwrap_or_default();
            let bound = bound.parse::<u64>().map_err(io::Error::other)?;
            let mut stdout = io::BufWriter::new(stdout);
            for number in 0..bound {
                writeln!(stdout, "{number}")?;
            }
            stdout.flush()?;
        }
        Some("bytes") => {
            stdout.write_all(&(0..=255).collect::<Vec<u8>>())?;
            stdout.flush()?;
        }
        Some("unflushed") => write!(stdout, "no line break")?,
        Some("nothing") => {}
        _ => return Err(io::Error::other(HELP)),
    }
    Ok(())
}
