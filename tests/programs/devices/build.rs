//! The program `devices` uses devices below `/dev`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("skete") {
        println!("cargo::rustc-link-arg-bin=devices=--defsym=skete_devices=sys_devices");
    }
}
