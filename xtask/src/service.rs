//! A machine whose program serves others while this process goes on.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::qemu::Vm;
use crate::stream::{Output, Run};

/// How long a program may take from the machine's start to its first service.
const START: Duration = Duration::from_secs(60);
/// How long a machine may go on after it was told to end.
const STEP: Duration = Duration::from_millis(100);

/// A running machine. It ends with this.
pub struct Service {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Run>>>,
}

#[derive(Default)]
struct Shared {
    said: Mutex<Said>,
    news: Condvar,
}

#[derive(Default)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// When the machine is to end.
    stop: bool,
    /// How the machine has ended.
    ended: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a machine's program has written until its end.
pub struct End {
    /// Its exit status; `None` when it was ended.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error, and the kernel's messages.
    pub stderr: String,
}

impl Service {
    /// Starts a machine and waits until its program writes `ready` to standard output.
    pub fn start(vm: Vm, ready: &str) -> Result<Service> {
        let service = Service::boot(vm)?;
        service.wait_for(ready, START)?;
        Ok(service)
    }

    /// Starts a machine.
    pub fn boot(vm: Vm) -> Result<Service> {
        let shared = Arc::new(Shared::default());
        let mut output = Recorder(Arc::clone(&shared));
        let thread = thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let run = vm.watch(&mut output);
            output.0.lock().ended = Some(match &run {
                Ok(run) if run.timed_out => "its time was over".to_owned(),
                Ok(run) => match run.status {
                    Some(status) => format!("status {status}"),
                    None => run.why_no_status(),
                },
                Err(error) => format!("{error:#}"),
            });
            output.0.news.notify_all();
            run
        })?;
        Ok(Service { shared, thread: Some(thread) })
    }

    /// Waits until the program has written `text` to standard output.
    pub fn wait_for(&self, text: &str, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let mut said = self.shared.lock();
        loop {
            let stdout = String::from_utf8_lossy(&said.stdout);
            if stdout.contains(text) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if said.ended.is_some() || left.is_zero() {
                let stderr = String::from_utf8_lossy(&said.stderr);
                let how = said.ended.as_ref();
                let why = how.map_or("went on".to_owned(), |how| format!("ended ({how})"));
                bail!("the machine {why} without saying `{text}`; it said:\n{stdout}{stderr}");
            }
            said =
                self.shared.news.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Fails when the machine has ended, or has written something to standard error.
    pub fn check(&self) -> Result<()> {
        let said = self.shared.lock();
        let stderr = String::from_utf8_lossy(&said.stderr);
        if let Some(how) = &said.ended {
            bail!("the machine has ended ({how}); it said:\n{stderr}");
        }
        if !stderr.is_empty() {
            bail!("the machine complains:\n{stderr}");
        }
        Ok(())
    }

    /// Ends the machine.
    pub fn stop(mut self) -> Result<End> {
        self.shared.lock().stop = true;
        self.join(None)
    }

    /// Waits for the machine's own end.
    pub fn join_by_itself(mut self, limit: Duration) -> Result<End> {
        self.join(Some(limit))
    }

    fn join(&mut self, limit: Option<Duration>) -> Result<End> {
        let thread = self.thread.take().context("the machine was ended before")?;
        if let Some(limit) = limit {
            let said = self.shared.lock();
            let (mut said, _) = self
                .shared
                .news
                .wait_timeout_while(said, limit, |said| said.ended.is_none())
                .unwrap_or_else(PoisonError::into_inner);
            said.stop = true;
        }
        let run = thread.join().map_err(|_| anyhow!("the machine's thread has panicked"))??;
        let said = self.shared.lock();
        if run.timed_out && limit.is_some() {
            bail!("the machine did not end; it said:\n{}", String::from_utf8_lossy(&said.stderr));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(End { status: run.status, stdout: text(&said.stdout), stderr: text(&said.stderr) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps what the machine writes, and ends it when told so.
struct Recorder(Arc<Shared>);

impl Recorder {
    fn keep(&self, keep: impl FnOnce(&mut Said)) -> io::Result<()> {
        keep(&mut self.0.lock());
        self.0.news.notify_all();
        Ok(())
    }
}

impl Output for Recorder {
    fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.keep(|said| said.stdout.extend_from_slice(bytes))
    }

    fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.keep(|said| said.stderr.extend_from_slice(bytes))
    }

    /// Always soon, so that the word to end is seen soon.
    fn deadline(&self) -> Option<Instant> {
        let stop = self.0.lock().stop;
        let now = Instant::now();
        Some(if stop { now } else { now + STEP })
    }
}
