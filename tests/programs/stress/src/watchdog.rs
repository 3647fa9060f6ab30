//! A thread that ends the program when a case stands still or panics, and says which.

use std::io::Write as _;
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use crate::priorities;

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(500);
/// After so many looks without a step the case is given up: 30 s, which a busy host may well take.
const PATIENCE: u32 = 60;

/// A thread of a case, as the watchdog sees it.
pub struct Worker {
    name: String,
    steps: AtomicU64,
    done: AtomicBool,
}

impl Worker {
    /// The thread's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The thread has come on.
    pub fn step(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    /// The thread has ended.
    pub fn done(&self) {
        self.step();
        self.done.store(true, Relaxed);
    }
}

/// The case that runs.
struct Watched {
    case: &'static str,
    seed: u64,
    workers: Vec<Arc<Worker>>,
    /// Steps of workers that are no longer in the list.
    past: u64,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);

/// Enters a thread of the case, under its role and a number.
pub fn enter(role: &str) -> Arc<Worker> {
    let mut watched = WATCHED.lock().expect("the watchdog's list is whole");
    let watched = watched.as_mut().expect("a case runs");
    // Cases with many rounds enter threads again and again.
    if watched.workers.len() >= 256 {
        let past = &mut watched.past;
        watched.workers.retain(|worker| {
            let done = worker.done.load(Relaxed);
            *past += if done { worker.steps.load(Relaxed) } else { 0 };
            !done
        });
    }
    let name = format!("{role}-{}", watched.workers.len());
    let worker = Arc::new(Worker { name, steps: AtomicU64::new(0), done: AtomicBool::new(false) });
    watched.workers.push(Arc::clone(&worker));
    worker
}

/// A case begins.
pub fn begin(case: &'static str, seed: u64) {
    let mut watched = WATCHED.lock().expect("the watchdog's list is whole");
    *watched = Some(Watched { case, seed, workers: Vec::new(), past: 0 });
}

/// The case has ended.
pub fn end() {
    *WATCHED.lock().expect("the watchdog's list is whole") = None;
}

/// Starts the watchdog, and lets a panic in any thread end the program: the others might wait for the
/// panicked one for ever.
pub fn start() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        give_up("");
    }));
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(|| {
            priorities::set_own(priorities::HIGHEST);
            watch();
        })
        .expect("the watchdog starts");
}

fn watch() {
    let (mut seen, mut looks) = (None, 0);
    loop {
        thread::sleep(LOOK);
        let state = match WATCHED.try_lock() {
            Ok(watched) => watched.as_ref().map(|watched| {
                let steps = watched.workers.iter().map(|worker| worker.steps.load(Relaxed));
                (watched.case, watched.past + steps.sum::<u64>())
            }),
            // Held over several looks, it is a sign that all stands still.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => seen,
        };
        if state.is_none() || state != seen {
            (seen, looks) = (state, 0);
            continue;
        }
        looks += 1;
        if looks == PATIENCE {
            give_up(&format!(
                "stands still: no thread has come on in {} s",
                (LOOK * PATIENCE).as_secs()
            ));
        }
    }
}

/// Ends the program; tells which case ran, how it can be repeated, and which threads have not ended.
fn give_up(why: &str) -> ! {
    let mut text = String::new();
    match WATCHED.try_lock() {
        Ok(watched) => match watched.as_ref() {
            Some(watched) => {
                text += &format!("failed  {}: seed {} {why}\n", watched.case, watched.seed);
                let left = watched.workers.iter().filter(|worker| !worker.done.load(Relaxed));
                for worker in left.take(32) {
                    let steps = worker.steps.load(Relaxed);
                    text += &format!("        {} has not ended ({steps} steps)\n", worker.name);
                }
            }
            None => text += "failed  between two cases\n",
        },
        Err(_) => text += &format!("failed  while threads were entered {why}\n"),
    }
    // Not through std's lock, which a thread that stands still may hold.
    let _ = std::io::stderr().write_all(text.as_bytes());
    process::exit(1)
}
