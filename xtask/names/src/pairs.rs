//! Byte pair encoding (Gage, 1994): the most frequent pair of bytes becomes one byte that nothing
//! else uses, again and again. A name is then read without reading any other, by a few lines of code.

/// How often a pair has to occur for its two bytes of meaning to pay.
const WORTH: u32 = 4;

/// What each byte value stands for: two more values, or one plain byte and 0.
pub type Meanings = [[u8; 2]; 256];

/// Shortens `names`, in which no byte is 0.
pub fn shorten(names: &mut [Vec<u8>]) -> Meanings {
    let mut meanings: Meanings = std::array::from_fn(|byte| [byte as u8, 0]);
    let mut used = [false; 256];
    used[0] = true;
    for byte in names.iter().flatten() {
        used[usize::from(*byte)] = true;
    }
    let mut counts = vec![0u32; 1 << 16];
    for code in (0..=255).filter(|code: &u8| !used[usize::from(*code)]) {
        counts.fill(0);
        for name in names.iter() {
            for pair in name.windows(2) {
                counts[index(pair[0], pair[1])] += 1;
            }
        }
        // The first of equals, so that one input has one result.
        let best = (0..counts.len()).rev().max_by_key(|pair| counts[*pair]);
        let Some(best) = best.filter(|pair| counts[*pair] >= WORTH) else {
            break;
        };
        let pair = [(best >> 8) as u8, best as u8];
        meanings[usize::from(code)] = pair;
        for name in names.iter_mut() {
            replace(name, pair, code);
        }
    }
    meanings
}

const fn index(first: u8, second: u8) -> usize {
    (first as usize) << 8 | second as usize
}

fn replace(name: &mut Vec<u8>, pair: [u8; 2], code: u8) {
    let mut from = 0;
    let mut to = 0;
    while from < name.len() {
        if name[from..].starts_with(&pair) {
            name[to] = code;
            from += 2;
        } else {
            name[to] = name[from];
            from += 1;
        }
        to += 1;
    }
    name.truncate(to);
}
