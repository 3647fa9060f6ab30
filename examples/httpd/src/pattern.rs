//! Bytes that tell their place: each eight of them are a number that no other place has, so that
//! something lost, doubled or out of order changes a digest.

/// An odd number without pattern: the golden ratio in 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Fills `buffer` with the bytes from `offset` on, which is a multiple of eight.
pub fn fill(buffer: &mut [u8], offset: u64) {
    let mut word = (offset / 8).wrapping_mul(STEP);
    for place in buffer.chunks_mut(8) {
        word = word.wrapping_add(STEP);
        place.copy_from_slice(&word.to_le_bytes()[..place.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_same_bytes_as_the_whole() {
        let mut whole = [0; 100];
        fill(&mut whole, 0);
        let mut pieces = [0; 100];
        fill(&mut pieces[..40], 0);
        fill(&mut pieces[40..], 40);
        assert_eq!(whole, pieces);
        assert_ne!(whole[..8], whole[8..16]);
    }
}
