//! Panics and errors.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::panic;
use std::sync::Mutex;

use crate::report::{Report, Trouble, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("panics and errors");
    report.step("catch a panic, see it in the hook", || {
        if cfg!(not(panic = "unwind")) {
            return Err(Trouble::Unsupported("built with panic = \"abort\"".to_owned()));
        }
        static SEEN: Mutex<Option<(String, u32)>> = Mutex::new(None);
        let before = panic::take_hook();
        panic::set_hook(Box::new(|info| {
            let line = info.location().map_or(0, panic::Location::line);
            let text = info.payload_as_str().unwrap_or_default().to_owned();
            *SEEN.lock().unwrap() = Some((text, line));
        }));
        let line = line!() + 1;
        let end = panic::catch_unwind(|| panic!("caught {}", 1 + 1));
        panic::set_hook(before);
        ensure!(end.is_err());
        ensure_eq!(SEEN.lock().map_err(failed)?.take(), Some(("caught 2".to_owned(), line)));
        fine()
    });
    report.step("unwinding runs destructors", || {
        if cfg!(not(panic = "unwind")) {
            return Err(Trouble::Unsupported("built with panic = \"abort\"".to_owned()));
        }
        struct Noted<'a>(&'a mut u32);
        impl Drop for Noted<'_> {
            fn drop(&mut self) {
                *self.0 += 1;
            }
        }
        let mut drops = 0;
        let end = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            let _noted = Noted(&mut drops);
            panic::resume_unwind(Box::new("payload"));
        }));
        ensure_eq!(end.err().and_then(|p| p.downcast_ref::<&str>().copied()), Some("payload"));
        ensure_eq!(drops, 1);
        fine()
    });
    report.step("backtrace", || {
        let backtrace = Backtrace::force_capture();
        match backtrace.status() {
            BacktraceStatus::Captured if backtrace.to_string().is_empty() => {
                Err(Trouble::Unsupported("no frame was captured".to_owned()))
            }
            BacktraceStatus::Captured => fine(),
            status => Err(Trouble::Unsupported(format!("{status:?}"))),
        }
    });
    report.step("errors with a source", || {
        let error: Box<dyn Error + Send + Sync> = "outer".into();
        let error = std::io::Error::other(error);
        ensure_eq!((error.to_string(), error.get_ref().is_some()), ("outer".to_owned(), true));
        let number =
            "x".parse::<i32>().err().map(|error| Box::<dyn Error>::from(error).to_string());
        ensure_eq!(number.as_deref(), Some("invalid digit found in string"));
        fine()
    });
}
