//! Arguments, variables, directories.

use std::env;
use std::path::PathBuf;

use crate::report::{Report, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("environment");
    report.step("platform constants", || {
        ensure!(!env::consts::ARCH.is_empty() && !env::consts::OS.is_empty());
        Ok(format!("{} {}", env::consts::OS, env::consts::ARCH))
    });
    report.step("arguments", || {
        let name = env::args().next().ok_or_else(|| failed("no argv[0]"))?;
        ensure!(!name.is_empty());
        ensure_eq!(env::args().len(), env::args_os().count());
        Ok(format!("{} of them", env::args().len()))
    });
    report.step("set, list, remove a variable", || {
        let (key, value) = ("TOUR_VARIABLE", "with = sign and é");
        // SAFETY: no other thread of this program runs yet.
        unsafe { env::set_var(key, value) };
        ensure_eq!(env::var(key).as_deref(), Ok(value));
        ensure!(env::vars().any(|pair| pair == (key.into(), value.into())));
        // SAFETY: as above.
        unsafe { env::remove_var(key) };
        ensure_eq!(env::var(key), Err(env::VarError::NotPresent));
        fine()
    });
    report.step("current directory", || {
        let directory = env::current_dir()?;
        ensure!(directory.is_absolute());
        Ok(directory.display().to_string())
    });
    report.step("change directory", || {
        let before = env::current_dir()?;
        let elsewhere = env::temp_dir().canonicalize()?;
        env::set_current_dir(&elsewhere)?;
        let seen = env::current_dir();
        env::set_current_dir(before)?;
        ensure_eq!(seen?, elsewhere);
        fine()
    });
    report.step("temporary directory", || {
        let directory = env::temp_dir();
        ensure!(directory.metadata()?.is_dir());
        Ok(directory.display().to_string())
    });
    report.step("path of the program", || Ok(env::current_exe()?.display().to_string()));
    report.step("split and join search paths", || {
        let paths = [PathBuf::from("/one"), PathBuf::from("/two/three")];
        let joined = env::join_paths(&paths).map_err(failed)?;
        ensure!(env::split_paths(&joined).eq(paths));
        fine()
    });
}
