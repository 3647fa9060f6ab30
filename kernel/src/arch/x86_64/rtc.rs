//! The CMOS real-time clock (Motorola MC146818A).

use time::{Date, Month, PrimitiveDateTime, Time};
use x86_64::instructions::port::Port;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const CENTURY: u8 = 0x32;

fn register(index: u8) -> u8 {
    // SAFETY: the CMOS index and data ports; bit 7 keeps non-maskable interrupts as they are (on).
    unsafe {
        Port::<u8>::new(0x70).write(index);
        Port::<u8>::new(0x71).read()
    }
}

fn snapshot() -> [u8; 7] {
    [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, CENTURY].map(register)
}

/// Seconds since 1970-01-01 00:00 UTC. `None` when there is no such clock or it shows no valid date.
#[must_use]
pub fn unix_time() -> Option<i64> {
    // Two readings alike, with no update between them, are one consistent reading.
    let values = (0..1000).find_map(|_| {
        let first = snapshot();
        (register(STATUS_A) & 0x80 == 0 && first == snapshot()).then_some(first)
    })?;
    let format = register(STATUS_B);
    let binary = format & 0x04 != 0;
    let number = |value: u8| {
        if binary { value } else { (value >> 4) * 10 + (value & 0xf) }
    };
    let [second, minute, hour, day, month, year, century] = values;
    let afternoon = hour & 0x80 != 0;
    let mut hours = number(hour & 0x7f);
    if format & 0x02 == 0 {
        hours = hours % 12 + if afternoon { 12 } else { 0 };
    }
    let century = match number(century) {
        century @ 19..=25 => i32::from(century),
        _ => 20,
    };
    let month = Month::try_from(number(month)).ok()?;
    let date =
        Date::from_calendar_date(century * 100 + i32::from(number(year)), month, number(day));
    let time = Time::from_hms(hours, number(minute), number(second));
    Some(PrimitiveDateTime::new(date.ok()?, time.ok()?).assume_utc().unix_timestamp())
}
