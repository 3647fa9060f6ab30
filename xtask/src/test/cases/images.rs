//! Images that cannot be booted: one clear line and status 1.

use anyhow::{Context, Result, bail};
use object::elf;

use super::super::case::{Case, Guest, Make};
use super::super::expect::Expect;
use super::{everywhere, guest};

pub fn all() -> Vec<Case> {
    let refused = |what: &str| Expect::status(1).stdout("").err_line("skete-loader: ").err(what);
    let mut cases = everywhere(
        "image/garbage",
        &Guest::made(|_| {
            Ok((0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect())
        }),
        &refused("not an ELF file"),
    );
    let broken: [(&str, &str, Make); 9] = [
        ("text", "not an ELF file", |_| Ok(b"#!/bin/sh\necho no image\n".to_vec())),
        ("truncated", "damaged", |hello| Ok(hello[..hello.len().min(9_000)].to_vec())),
        ("header-only", "damaged", |hello| Ok(hello[..64].to_vec())),
        ("half-a-header", "", |hello| Ok(hello[..20].to_vec())),
        ("aarch64", "another processor", |hello| {
            patched(hello, 18, &elf::EM_AARCH64.0.to_le_bytes())
        }),
        ("32-bit", "32-bit", |hello| patched(hello, 4, &[elf::ELFCLASS32.0])),
        ("big-endian", "big-endian", |hello| patched(hello, 5, &[elf::ELFDATA2MSB.0])),
        ("wild-program-headers", "damaged", |hello| patched(hello, 32, &u64::MAX.to_le_bytes())),
        ("host-program", "another system", |_| host_program()),
    ];
    for (name, what, make) in broken {
        cases.push(guest(&format!("image/{name}"), Guest::made(make), refused(what)));
    }
    cases.push(guest("image/too-large", Guest::made(too_large), refused("does not fit")));
    cases.push(guest(
        "image/too-little-memory",
        Guest::new("tour").memory(2 << 20),
        Expect::status(1).stdout("").err_line("memory"),
    ));
    cases.push(guest(
        "image/wrong-kernel-option",
        Guest { log: Some("loud".to_owned()), ..Guest::new("hello") },
        Expect::status(1).stdout("").err_line("loud"),
    ));
    cases
}

fn patched(image: &[u8], offset: usize, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut image = image.to_vec();
    image
        .get_mut(offset..offset + bytes.len())
        .context("the image is too short")?
        .copy_from_slice(bytes);
    Ok(image)
}

/// The image with a last segment that would need 512 MiB of memory.
fn too_large(image: &[u8]) -> Result<Vec<u8>> {
    let field = |offset: usize| -> Result<usize> {
        let bytes = image.get(offset..offset + 8).and_then(|bytes| bytes.first_chunk());
        Ok(u64::from_le_bytes(*bytes.context("the image is too short")?) as usize)
    };
    let (table, count) = (field(32)?, field(56)? & 0xffff);
    let headers = (0..count).map(|i| table + i * 56);
    for header in headers.rev() {
        if field(header)? as u32 == elf::PT_LOAD.0 {
            return patched(image, header + 40, &(512_u64 << 20).to_le_bytes());
        }
    }
    bail!("the image has no segment")
}

/// An ordinary program of the host: the first pages of this one. Its headers are all there.
fn host_program() -> Result<Vec<u8>> {
    let path = std::path::Path::new("/bin/true");
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
