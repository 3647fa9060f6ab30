//! Both kinds of ring against a device that follows the specification, and against one that does not.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::device::dma::Chunk;

/// A buffer whose parts lie in one chunk, one behind the other.
#[derive(Debug)]
struct TestBuffer {
    chunk: Chunk,
    number: usize,
    parts: Vec<(u32, bool)>,
}

// SAFETY: the spans are inside of the chunk, which is nobody else's.
unsafe impl Buffer for TestBuffer {
    type Spans = Vec<Span>;

    fn spans(&self) -> Self::Spans {
        let mut physical = self.chunk.physical();
        let spans = self.parts.iter().map(|(length, writable)| {
            let span = Span { physical, length: *length, writable: *writable };
            physical += u64::from(*length);
            span
        });
        spans.collect()
    }
}

fn buffer(number: usize, read: &[u32], write: &[u32]) -> TestBuffer {
    let parts = read.iter().map(|length| (*length, false));
    let parts = parts.chain(write.iter().map(|length| (*length, true)));
    TestBuffer { chunk: Chunk::new(4096).unwrap(), number, parts: parts.collect() }
}

/// The other side of a queue, written from the specification: 2.7 and 2.8.
pub struct Model {
    areas: Areas,
    size: u16,
    format: Format,
    next: u16,
    next_wrap: bool,
    used: u16,
    used_wrap: bool,
    /// Split: how many were used when the driver was last interrupted.
    told: u16,
}

/// A chain that the device has taken.
#[derive(Debug)]
pub struct Chain {
    id: u16,
    descriptors: u16,
    /// Its parts.
    pub spans: Vec<Span>,
}

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

impl Model {
    /// The device's side of a new queue.
    pub fn new(areas: Areas, size: u16, format: Format) -> Model {
        Model { areas, size, format, next: 0, next_wrap: true, used: 0, used_wrap: true, told: 0 }
    }

    fn read<T: Copy>(area: u64, offset: usize) -> T {
        // SAFETY: inside of the queue's memory, which lives longer than the model.
        unsafe { ((area as usize + offset) as *const T).read_volatile() }
    }

    fn write<T>(area: u64, offset: usize, value: T) {
        // SAFETY: as above.
        unsafe { ((area as usize + offset) as *mut T).write_volatile(value) }
    }

    fn descriptor(&self, number: u16) -> (Span, u16, u16) {
        let at = usize::from(number) * 16;
        let flags_at = if self.format.packed { 14 } else { 12 };
        let other_at = if self.format.packed { 12 } else { 14 };
        let flags: u16 = Self::read(self.areas.descriptors, at + flags_at);
        let span = Span {
            physical: Self::read(self.areas.descriptors, at),
            length: Self::read(self.areas.descriptors, at + 8),
            writable: flags & WRITE != 0,
        };
        (span, flags, Self::read(self.areas.descriptors, at + other_at))
    }

    /// Takes the next available chain.
    pub fn take(&mut self) -> Option<Chain> {
        if self.format.packed {
            let mut spans = Vec::new();
            let (_, flags, _) = self.descriptor(self.next);
            if (flags & AVAIL != 0) == (flags & USED != 0) || (flags & AVAIL != 0) != self.next_wrap
            {
                return None;
            }
            loop {
                let (span, flags, id) = self.descriptor(self.next);
                spans.push(span);
                self.next += 1;
                if self.next == self.size {
                    self.next = 0;
                    self.next_wrap = !self.next_wrap;
                }
                if flags & NEXT == 0 {
                    let descriptors = spans.len() as u16;
                    return Some(Chain { id, descriptors, spans });
                }
            }
        }
        let index: u16 = Self::read(self.areas.driver, 2);
        if index == self.next {
            return None;
        }
        let position = usize::from(self.next % self.size);
        let id: u16 = Self::read(self.areas.driver, 4 + 2 * position);
        self.next = self.next.wrapping_add(1);
        let mut spans = Vec::new();
        let mut number = id;
        loop {
            let (span, flags, next) = self.descriptor(number);
            spans.push(span);
            if flags & NEXT == 0 {
                let descriptors = spans.len() as u16;
                return Some(Chain { id, descriptors, spans });
            }
            number = next;
        }
    }

    /// Uses a chain; tells whether the driver wants an interrupt for that.
    pub fn give(&mut self, chain: &Chain, length: u32) -> bool {
        self.give_raw(chain.id.into(), chain.descriptors, length)
    }

    /// Uses a buffer by the number that is given.
    pub fn give_raw(&mut self, id: u32, descriptors: u16, length: u32) -> bool {
        if self.format.packed {
            let at = usize::from(self.used) * 16;
            Self::write(self.areas.descriptors, at + 8, length);
            Self::write(self.areas.descriptors, at + 12, id as u16);
            let flags = if self.used_wrap { AVAIL | USED } else { 0 };
            Self::write(self.areas.descriptors, at + 14, flags);
            let (position, wrap) = (self.used, self.used_wrap);
            self.used += descriptors;
            if self.used >= self.size {
                self.used -= self.size;
                self.used_wrap = !self.used_wrap;
            }
            let place: u16 = Self::read(self.areas.driver, 0);
            return match Self::read::<u16>(self.areas.driver, 2) & 3 {
                0 => true,
                1 => false,
                // The driver waits for the descriptor at which this was written.
                _ => place & 0x7fff == position && (place >> 15 != 0) == wrap,
            };
        }
        let at = 4 + 8 * usize::from(self.used % self.size);
        Self::write(self.areas.device, at, id);
        Self::write(self.areas.device, at + 4, length);
        let old = self.used;
        self.used = self.used.wrapping_add(1);
        Self::write(self.areas.device, 2, self.used);
        if self.format.event_index {
            let event: u16 = Self::read(self.areas.driver, 4 + 2 * usize::from(self.size));
            self.told = self.used;
            passes(event, self.used, old)
        } else {
            Self::read::<u16>(self.areas.driver, 0) & 1 == 0
        }
    }

    /// Wants to be told of the next chain, or of none.
    pub fn want(&self, wanted: bool) {
        if self.format.packed {
            let place = self.next | u16::from(self.next_wrap) << 15;
            Self::write(self.areas.device, 0, place);
            let flags: u16 = match (wanted, self.format.event_index) {
                (false, _) => 1,
                (true, false) => 0,
                (true, true) => 2,
            };
            Self::write(self.areas.device, 2, flags);
        } else if self.format.event_index {
            let event = if wanted { self.next } else { self.next.wrapping_sub(1) };
            Self::write(self.areas.device, 4 + 8 * usize::from(self.size), event);
        } else {
            Self::write(self.areas.device, 0, u16::from(!wanted));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u32>, Vec<u32>),
    DeviceTakes,
    /// One of those taken, and how much is written, out of 256.
    DeviceUses(prop::sample::Index, u8),
    DriverTakes,
    Interrupts(bool),
    Notifications(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lengths = || prop::collection::vec(1u32..300, 0..4);
    let step = prop_oneof![
        4 => (lengths(), lengths()).prop_map(|(read, write)| Step::Add(read, write)),
        4 => Just(Step::DeviceTakes),
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(which, part)| Step::DeviceUses(which, part)),
        4 => Just(Step::DriverTakes),
        1 => any::<bool>().prop_map(Step::Interrupts),
        1 => any::<bool>().prop_map(Step::Notifications),
    ];
    prop::collection::vec(step, 0..400)
}

fn formats() -> impl Strategy<Value = Format> {
    (any::<bool>(), any::<bool>()).prop_map(|(packed, event_index)| Format { packed, event_index })
}

/// What was added and not given back yet.
struct Books {
    /// By number: what the device said that it wrote, once it has.
    written: Vec<Option<u32>>,
    added: usize,
    /// Numbers and spans that the device has not seen, in order.
    unseen: VecDeque<(usize, Vec<Span>)>,
    /// Numbers of chains that the device has.
    held: Vec<(usize, Chain)>,
    /// Numbers that are used and not taken back.
    used: VecDeque<usize>,
}

proptest! {
    /// What is added arrives as it was, comes back once, with what the device said; nobody sleeps through an event.
    #[test]
    fn buffers_go_and_come(size in 0u32..6, format in formats(), steps in steps()) {
        let size = 1 << size;
        let mut queue = Queue::new(size, format).unwrap();
        let mut model = Model::new(queue.areas(), queue.size(), format);
        model.want(true);
        let (mut wants_interrupt, mut wants_notification) = (false, true);
        let mut books = Books { written: Vec::new(), added: 0, unseen: VecDeque::new(), held: Vec::new(), used: VecDeque::new() };
        for step in steps {
            match step {
                Step::Add(read, write) => {
                    let new = buffer(books.added, &read, &write);
                    let spans = new.spans();
                    let fits = !spans.is_empty() && spans.len() <= usize::from(queue.free());
                    prop_assert_eq!(queue.add(new).is_ok(), fits);
                    if fits {
                        let first = books.unseen.is_empty();
                        books.unseen.push_back((books.added, spans));
                        books.written.push(None);
                        books.added += 1;
                        let notifies = queue.needs_notification();
                        // Between two looks of the device at the queue, the first one counts.
                        prop_assert!(!first || notifies == wants_notification, "{notifies}");
                    }
                }
                Step::DeviceTakes => {
                    let chain = model.take();
                    prop_assert_eq!(chain.is_some(), !books.unseen.is_empty());
                    if let Some(chain) = chain {
                        let (number, spans) = books.unseen.pop_front().unwrap();
                        prop_assert_eq!(&chain.spans, &spans);
                        books.held.push((number, chain));
                        model.want(wants_notification);
                    }
                }
                Step::DeviceUses(which, part) => {
                    if !books.held.is_empty() {
                        let (number, chain) = books.held.swap_remove(which.index(books.held.len()));
                        let room: u32 = chain.spans.iter().filter(|span| span.writable).map(|span| span.length).sum();
                        let written = room * u32::from(part) / 255;
                        let interrupts = model.give(&chain, written);
                        // Only the first one has to: the driver looks at all.
                        prop_assert!(!books.used.is_empty() || interrupts == wants_interrupt, "{interrupts}");
                        books.written[number] = Some(written);
                        books.used.push_back(number);
                    }
                }
                Step::DriverTakes => {
                    match (queue.used(), books.used.pop_front()) {
                        (None, None) => {}
                        (Some((buffer, length)), Some(number)) => {
                            prop_assert_eq!(buffer.number, number);
                            prop_assert_eq!(Some(length), books.written[number].take());
                            if wants_interrupt {
                                prop_assert_eq!(queue.enable_interrupt(), books.used.is_empty());
                            }
                        }
                        (got, expected) => prop_assert!(false, "got {got:?}, not {expected:?}"),
                    }
                }
                Step::Interrupts(on) => {
                    wants_interrupt = on;
                    if on {
                        prop_assert_eq!(queue.enable_interrupt(), books.used.is_empty());
                    } else {
                        queue.disable_interrupt();
                    }
                }
                Step::Notifications(on) => {
                    wants_notification = on;
                    model.want(on);
                }
            }
            prop_assert_eq!(queue.fault(), None);
        }
        let outstanding: usize = books.unseen.iter().map(|(_, spans)| spans.len())
            .chain(books.held.iter().map(|(_, chain)| chain.spans.len())).sum();
        if books.used.is_empty() {
            prop_assert_eq!(usize::from(size - queue.free()), outstanding);
        }
    }

    /// Whatever a device writes where it may write, it gets the driver to nothing but to give it up.
    #[test]
    fn a_device_that_lies_is_given_up(
        format in formats(),
        lengths in prop::collection::vec(1u32..300, 1..16),
        lies in prop::collection::vec((any::<u32>(), prop_oneof![0u32..20, any::<u32>()], any::<u16>(), any::<bool>()), 1..40),
    ) {
        let mut queue = Queue::new(16, format).unwrap();
        let mut model = Model::new(queue.areas(), queue.size(), format);
        let mut has = std::collections::BTreeSet::new();
        for (number, length) in lengths.iter().enumerate() {
            queue.add(buffer(number, &[], &[*length])).unwrap();
            has.insert(number);
        }
        for (id, length, index, real) in lies {
            if real {
                model.give_raw(id % 20, 1, length % 400);
            } else if format.packed {
                let at = usize::from(index % 16) * 16;
                Model::write(model.areas.descriptors, at + 8, length);
                Model::write(model.areas.descriptors, at + 12, id);
            } else {
                Model::write(model.areas.device, 4 + 8 * usize::from(index % 16), (id, length));
                Model::write(model.areas.device, 2, index);
            }
            let _ = queue.needs_notification();
            let _ = queue.enable_interrupt();
            while let Some((buffer, written)) = queue.used() {
                prop_assert!(has.remove(&buffer.number), "given back twice");
                prop_assert!(written <= lengths[buffer.number]);
                prop_assert_eq!(queue.fault(), None);
            }
            if queue.fault().is_some() {
                prop_assert!(queue.used().is_none());
                prop_assert!(queue.add(buffer(99, &[1], &[])).is_err());
                prop_assert!(!queue.needs_notification());
                // Nobody goes to sleep with the hope of an interrupt, or in the belief that there is something.
                prop_assert!(queue.enable_interrupt());
            }
        }
    }
}

fn lied(format: Format, lie: impl FnOnce(&mut Model)) -> Option<&'static str> {
    let mut queue = Queue::new(4, format).unwrap();
    let mut model = Model::new(queue.areas(), queue.size(), format);
    queue.add(buffer(0, &[], &[100])).unwrap();
    lie(&mut model);
    assert!(queue.used().is_none());
    queue.fault()
}

#[test]
fn every_lie_has_its_name() {
    for packed in [false, true] {
        let format = Format { packed, event_index: true };
        let none = lied(format, |model| _ = model.give_raw(4, 1, 0));
        assert_eq!(none, Some("it has used a descriptor that is none"));
        let other = lied(format, |model| _ = model.give_raw(1, 1, 0));
        assert_eq!(other, Some("it has used a buffer that it had not been given"));
        let long = lied(format, |model| _ = model.give_raw(0, 1, 101));
        assert_eq!(long, Some("it says that it has written more than it may"));
        let right = lied(format, |_| ());
        assert_eq!(right, None);
    }
    let many = lied(Format::default(), |model| {
        Model::write(model.areas.device, 2, 5u16);
    });
    assert_eq!(many, Some("it has used more buffers than there are"));
}

#[test]
fn an_interrupt_is_not_lost_when_the_counters_wrap() {
    for packed in [false, true] {
        let format = Format { packed, event_index: true };
        let mut queue = Queue::new(2, format).unwrap();
        let mut model = Model::new(queue.areas(), queue.size(), format);
        model.want(true);
        queue.add(buffer(0, &[8], &[])).unwrap();
        for _ in 0..70_000 {
            assert!(queue.needs_notification());
            let chain = model.take().unwrap();
            model.want(true);
            assert!(queue.enable_interrupt());
            assert!(model.give(&chain, 0));
            let (buffer, _) = queue.used().unwrap();
            queue.add(buffer).unwrap();
        }
    }
}
