//! Strings, characters, formatting, parsing.

use std::fmt;

use crate::report::{Report, failed, fine};
use crate::{ensure, ensure_eq};

pub fn walk(report: &mut Report) {
    report.room("text");
    report.step("format: width, fill, base", || {
        ensure_eq!(format!("{:>5}|{:<5}|{:^5}", 1, 2, 3), "    1|2    |  3  ");
        ensure_eq!(format!("{:#06x} {:#b} {:+}", 255, 5, 7), "0x00ff 0b101 +7");
        ensure_eq!(format!("{0:?} {name:*^9}", "a\n\u{0}", name = "é"), r#""a\n\0" ****é****"#);
        fine()
    });
    report.step("format: floating point", || {
        ensure_eq!(
            format!("{:.3} {:e} {}", 2.0_f64 / 3.0, 1234.5, 1e21),
            "0.667 1.2345e3 1000000000000000000000"
        );
        ensure_eq!(format!("{} {:?} {}", f64::NAN, f64::NEG_INFINITY, 0.1_f32), "NaN -inf 0.1");
        fine()
    });
    report.step("format: own types", || {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct Point {
            x: i8,
            y: Option<&'static str>,
        }
        struct Hello;
        impl fmt::Display for Hello {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.pad("hello")
            }
        }
        ensure_eq!(
            format!("{:?}", Point { x: -1, y: Some("a") }),
            r#"Point { x: -1, y: Some("a") }"#
        );
        ensure_eq!(format!("[{Hello:>7.4}]"), "[   hell]");
        fine()
    });
    report.step("parse numbers", || {
        ensure_eq!("340282366920938463463374607431768211455".parse(), Ok(u128::MAX));
        ensure_eq!("-128".parse(), Ok(i8::MIN));
        ensure!("256".parse::<u8>().is_err() && "".parse::<i32>().is_err());
        let number = 2.2250738585072014e-308_f64;
        ensure_eq!(number.to_string().parse(), Ok(number));
        fine()
    });
    report.step("characters and UTF-8", || {
        ensure_eq!("grüße, 世界 😀".chars().count(), 11);
        ensure_eq!("ǆ ß İ".to_uppercase(), "Ǆ SS İ");
        ensure_eq!("ΑΣ".to_lowercase(), "ας");
        ensure!(String::from_utf8(b"\xf0\x9f\x98".to_vec()).is_err());
        ensure_eq!(String::from_utf8_lossy(b"a\xffb"), "a\u{fffd}b");
        fine()
    });
    report.step("split, find, replace", || {
        let fields = "a,b,,c".split(',').collect::<Vec<_>>();
        ensure_eq!(fields, ["a", "b", "", "c"]);
        let (key, value) = "k=v=w".split_once('=').ok_or_else(|| failed("no ="))?;
        ensure_eq!((key, value), ("k", "v=w"));
        ensure_eq!("one two one".replace("one", "1"), "1 two 1");
        ensure_eq!("  x\t\n".trim(), "x");
        fine()
    });
}
