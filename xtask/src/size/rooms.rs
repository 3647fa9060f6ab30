//! Which room a symbol belongs to, from its path.

/// Crates that come with the compiler.
const STANDARD: [&str; 4] = ["std", "core", "alloc", "compiler_builtins"];

/// The room of the symbol with the demangled path `path`; `kernel` says whether the symbol is
/// from the kernel object.
pub fn room(path: &str, kernel: bool) -> String {
    match crate_and_module(path) {
        Some(("skete_kernel", module)) => format!("kernel: {}", module.unwrap_or("lib")),
        Some(("skete_std_shim", _)) => "std-shim".to_owned(),
        Some((name, _)) if kernel => format!("kernel's {name}"),
        Some((name, _)) if STANDARD.contains(&name) => name.to_owned(),
        Some((name, _)) => format!("crate {name}"),
        None if path.starts_with("sys_") => "std-shim".to_owned(),
        None if path == "_start" => "kernel: boot".to_owned(),
        None if kernel => "kernel's compiler_builtins".to_owned(),
        None => "program's entry".to_owned(),
    }
}

/// The first crate that a path names, and the module in it: of `<u8 as core::fmt::Debug>::fmt`,
/// `core` and `fmt`. `None` when the path names no crate.
fn crate_and_module(path: &str) -> Option<(&str, Option<&str>)> {
    let mut rest = path;
    loop {
        let start = rest.find(|letter: char| letter.is_alphabetic() || letter == '_')?;
        // A name behind a type, as in `<[u8]>::to_vec`, is a function.
        let is_inner = rest[..start].ends_with("::");
        rest = &rest[start..];
        let (name, after) = word(rest);
        if let Some(next) = after.strip_prefix("::").filter(|_| !is_inner) {
            let (module, inner) = word(next);
            // The last part of a path is a function or type, which lies in the crate's root.
            return Some((name, (!module.is_empty() && inner.starts_with("::")).then_some(module)));
        }
        // A primitive type, `as`, `mut`, `dyn` and the like: no crate.
        rest = after;
    }
}

/// The identifier that a text starts with, and what follows.
fn word(text: &str) -> (&str, &str) {
    let end =
        text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_rooms() {
        for (path, kernel, expected) in [
            ("skete_kernel::mm::frames::allocate", true, "kernel: mm"),
            ("skete_kernel::start", true, "kernel: lib"),
            ("<skete_kernel::sched::Task as core::ops::Drop>::drop", true, "kernel: sched"),
            ("<&mut skete_kernel::time::Clock>::now", true, "kernel: time"),
            ("core::fmt::write", false, "core"),
            ("core::fmt::write", true, "kernel's core"),
            ("<u32 as core::fmt::Display>::fmt", false, "core"),
            ("<[u8] as alloc::slice::Join<&str>>::join", false, "alloc"),
            ("<[u8]>::to_vec_in::<alloc::alloc::Global>", false, "alloc"),
            ("<dyn serde_json::Value>::get", false, "crate serde_json"),
            ("hello::main", false, "crate hello"),
            ("sys_write", true, "std-shim"),
            ("memcpy", true, "kernel's compiler_builtins"),
            ("main", false, "program's entry"),
        ] {
            assert_eq!(room(path, kernel), expected, "{path}");
        }
    }
}
