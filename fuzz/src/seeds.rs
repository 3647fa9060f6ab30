//! Inputs for a driver without a fuzzer: the same ones on every run.

/// Calls `driver` with `count` inputs of up to `longest` bytes, which depend on nothing but their number.
///
/// # Panics
///
/// When the driver does; the number of the input is in the message.
pub fn drive(count: u64, longest: usize, driver: impl Fn(&[u8])) {
    for number in 1..=count {
        // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators".
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
        };
        let length = next() as usize % (longest + 1);
        let data = (0..length).map(|_| next() as u8).collect::<Vec<_>>();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver(&data)));
        assert!(outcome.is_ok(), "input {number} of {count}: {data:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn inputs_are_the_same_on_every_run_and_differ_from_each_other() {
        let all = || {
            let seen = RefCell::new(Vec::new());
            drive(50, 100, |data| seen.borrow_mut().push(data.to_vec()));
            seen.into_inner()
        };
        let mut first = all();
        assert_eq!(first, all());
        assert!(first.iter().all(|data| data.len() <= 100));
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 50);
    }

    #[test]
    #[should_panic = "input 1 of 3"]
    fn the_input_that_breaks_something_is_named() {
        drive(3, 10, |_| panic!());
    }
}
