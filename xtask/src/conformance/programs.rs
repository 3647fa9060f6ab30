//! The test programs of a crate, as cargo builds them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use serde_json::Value;

use super::machine::Machine;
use crate::hash::Key;
use crate::process;
use crate::progress::Step;
use crate::sdk::{Sdk, TARGET};

/// A test program: the image of one of a crate's test targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `lib` for the unit tests of a library, else the name of the integration test; `tests-lib` for
    /// one that is called `lib`, too.
    pub name: String,
    /// The image.
    pub image: PathBuf,
}

/// How tests are compiled: a debug build under emulation would take several times as long, and
/// nobody looks at debug information here. Assertions and overflow checks stay.
const PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_PROFILE_DEV_INCREMENTAL", "false"),
    ("CARGO_PROFILE_DEV_CODEGEN_UNITS", "16"),
];

/// Keeps a crate's own `deny(warnings)` from ending a build.
pub const FLAGS: &str = "--cap-lints=warn";

/// A cargo that compiles for the target with the SDK.
pub fn cargo(sdk: &Sdk, verb: &str) -> Command {
    let mut cargo = process::cargo();
    cargo
        .args([verb, "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTC", &sdk.rustc)
        .env("RUSTFLAGS", FLAGS)
        .envs(PROFILE)
        .stdin(Stdio::null());
    cargo
}

/// Runs such a cargo and gives the test programs that it has built. A test target that does not
/// compile is an error, unless `--keep-going` is among the arguments and others do.
pub fn build(cargo: &mut Command, step: &Step) -> Result<Vec<Program>> {
    let messages = process::watched(cargo, step)?;
    let programs = programs(&messages);
    if programs.is_empty() {
        bail!("`{}` built no test program", process::show(cargo));
    }
    Ok(programs)
}

/// The test programs among cargo's messages.
fn programs(messages: &str) -> Vec<Program> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| {
            let target = message["target"]["name"].as_str()?;
            let name = match message["target"]["kind"][0].as_str()? {
                "test" if target == "lib" => "tests-lib".to_owned(),
                "test" => target.to_owned(),
                "bin" | "example" | "bench" => return None,
                _ => "lib".to_owned(),
            };
            let image = PathBuf::from(message["executable"].as_str()?);
            Some(Program { name, image })
        })
        .collect::<Vec<_>>();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    programs
}

/// The key of what decides how an image's tests end: its content, the loader, the
/// machine and its files.
pub fn key(sdk: &Sdk, machine: &Machine) -> Result<String> {
    let key = Key::new("conformance").text(&machine.needs.memory.0.to_string());
    let key = if machine.needs.card { key.text("card") } else { key };
    let key = key.content(&sdk.loader)?.content(&machine.image)?;
    match &machine.needs.files {
        Some(files) => Ok(key.content(files)?.finish()),
        None => Ok(key.finish()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_among_cargos_messages() {
        let message = |kind: &str, name: &str, test: bool, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"profile":{{"test":{test}}},"executable":{file}}}"#
            )
        };
        let messages = [
            message("test", "it", true, "\"/t/it-1\""),
            message("test", "lib", true, "\"/t/lib-1\""),
            message("lib", "one", false, "null"),
            message("lib", "one", true, "\"/t/one-1\""),
            message("bin", "tool", false, "\"/t/tool-1\""),
            "no message".to_owned(),
        ];
        let program = |name: &str, image: &str| Program { name: name.into(), image: image.into() };
        assert_eq!(
            programs(&messages.join("\n")),
            [
                program("it", "/t/it-1"),
                program("lib", "/t/one-1"),
                program("tests-lib", "/t/lib-1")
            ]
        );
    }
}
