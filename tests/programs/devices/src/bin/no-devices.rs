//! Looks for a device, in an image that was not linked with the drivers.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;

fn main() {
    let opened = File::open("/dev/vda").map(drop);
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotFound);
    let mut create = OpenOptions::new();
    let made = create.write(true).create(true).truncate(true).open("/dev/vda");
    assert_eq!(made.map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    println!("ok");
}
