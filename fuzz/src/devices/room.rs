//! The guest's memory, with memory on both sides that nobody may change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use skete_hypervisor::memory::Memory;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// Bytes of the guest's memory, and of each side.
pub const MEMORY: u64 = 128 << 10;
/// What the sides hold.
const UNTOUCHED: u8 = 0xa5;

/// Three pieces, one behind the other on the host; the one in the middle is the guest's.
#[derive(Debug)]
pub struct Room([Memory; 3]);

fn place(memory: &Memory) -> usize {
    memory.map().iter().next().map_or(0, |region| region.as_ptr().addr())
}

impl Room {
    /// The process's only one, with nothing in the guest's memory.
    pub fn take() -> MutexGuard<'static, Option<Room>> {
        static ROOM: Mutex<Option<Room>> = Mutex::new(None);
        let mut room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = room.get_or_insert_with(Room::new).memory();
        memory.write(&[0; MEMORY as usize], 0).expect("the guest's memory");
        room
    }

    fn new() -> Room {
        let piece = || Memory::new(MEMORY, false).expect("memory");
        // What lies elsewhere stays there, and fills the holes that are in the way.
        let mut elsewhere = Vec::new();
        for _ in 0..100 {
            let mut pieces = [piece(), piece(), piece()];
            pieces.sort_by_key(place);
            if pieces.windows(2).all(|two| place(&two[0]) + MEMORY as usize == place(&two[1])) {
                for side in [&pieces[0], &pieces[2]] {
                    side.write(&[UNTOUCHED; MEMORY as usize], 0).expect("memory");
                }
                return Room(pieces);
            }
            elsewhere.push(pieces);
        }
        panic!("the host puts no three pieces of memory side by side");
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Memory {
        &self.0[1]
    }

    /// Looks whether anything beside the guest's memory has changed.
    ///
    /// # Panics
    ///
    /// When it has.
    pub fn check(&self) {
        for side in [&self.0[0], &self.0[2]] {
            let same = contents(side).iter().all(|byte| *byte == UNTOUCHED);
            assert!(same, "a device has written outside of the guest's memory");
        }
    }
}

/// All that a memory holds.
pub fn contents(memory: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; MEMORY as usize];
    memory.map().read_slice(&mut bytes, GuestAddress(0)).expect("memory");
    bytes
}
