//! Progress bars of indicatif: on a stream that is no terminal they draw nothing; drawn into memory
//! they show what they show anywhere.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use check::Check;
use indicatif::{
    HumanBytes, HumanDuration, InMemoryTerm, MultiProgress, ProgressBar, ProgressDrawTarget,
    ProgressIterator, ProgressStyle,
};

const CHECKS: &[Check] = &[
    ("nothing where no terminal is", nothing),
    ("a bar in memory", bar),
    ("several bars", several),
    ("numbers for people", numbers),
    ("a spinner's thread", spinner),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn nothing() -> io::Result<()> {
    let bar = ProgressBar::new(1_000);
    assert!(bar.is_hidden());
    let sum: u64 = (0..1_000_u64).progress_with(bar.clone()).sum();
    assert_eq!(sum, 499_500);
    assert_eq!(bar.position(), 1_000);
    bar.finish_with_message("not shown");
    Ok(())
}

fn in_memory(length: u64) -> (InMemoryTerm, ProgressBar) {
    let term = InMemoryTerm::new(10, 40);
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    (term, ProgressBar::with_draw_target(Some(length), target))
}

fn style(template: &str) -> io::Result<ProgressStyle> {
    let style = ProgressStyle::with_template(template).map_err(io::Error::other)?;
    Ok(style.progress_chars("=> "))
}

fn bar() -> io::Result<()> {
    let (term, bar) = in_memory(10);
    bar.set_style(style("{bar:10} {pos}/{len} {msg}")?);
    bar.set_message("half");
    bar.set_position(5);
    bar.force_draw();
    assert_eq!(term.contents(), "=====>     5/10 half");
    bar.finish_with_message("done");
    assert_eq!(term.contents(), "========== 10/10 done");
    Ok(())
}

fn several() -> io::Result<()> {
    let term = InMemoryTerm::new(10, 40);
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    let all = MultiProgress::with_draw_target(target);
    let bars = [all.add(ProgressBar::new(4)), all.add(ProgressBar::new(8))];
    for bar in &bars {
        bar.set_style(style("{pos} of {len}")?);
        bar.set_position(3);
        bar.force_draw();
    }
    assert_eq!(term.contents(), "3 of 4\n3 of 8");
    Ok(())
}

fn numbers() -> io::Result<()> {
    assert_eq!(HumanBytes(3 << 20).to_string(), "3.00 MiB");
    assert_eq!(HumanDuration(Duration::from_secs(75)).to_string(), "75 seconds");
    Ok(())
}

fn spinner() -> io::Result<()> {
    let (term, bar) = in_memory(0);
    bar.set_style(style("{msg}")?);
    bar.set_message("working");
    bar.enable_steady_tick(Duration::from_millis(10));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(term.contents(), "working");
    bar.finish_and_clear();
    assert_eq!(term.contents(), "");
    Ok(())
}
