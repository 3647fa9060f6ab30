//! The driver against a card that lives in this process.

use std::vec::Vec;

use proptest::prelude::*;

use super::headers::Headers;
use super::*;
use crate::device::virtio::fake::{EVENT_INDEX, Fake, PACKED, VERSION_1, memory};
use crate::device::virtio::queue::tests::Model;

/// Address, status, pairs of queues, longest packet.
const CONFIGURATION: [u8; 12] = [2, 0, 0, 0, 0, 7, 1, 0, 4, 0, 0x28, 0x23];
const QUEUES: (u16, u16) = (9, 256);

fn offering(offers: u64) -> &'static Fake {
    Fake::new(offers, QUEUES, CONFIGURATION.into())
}

/// Everything that a card may offer.
const ALL: u64 = VERSION_1 | PACKED | EVENT_INDEX | KNOWN;

#[test]
fn what_something_is_missing_for_is_not_taken() {
    let takes = |offers| {
        let fake = offering(offers | VERSION_1);
        Card::new(fake).unwrap();
        fake.takes() & !VERSION_1
    };
    assert_eq!(takes(ALL), ALL & !VERSION_1);
    assert_eq!(takes(GUEST_TSO | bit(F::MRG_RXBUF)), bit(F::MRG_RXBUF));
    assert_eq!(takes(GUEST_TSO | bit(F::GUEST_CSUM)), bit(F::GUEST_CSUM));
    assert_eq!(takes(HOST_TSO), 0);
    assert_eq!(takes(bit(F::MQ)), 0);
    assert_eq!(takes(!VERSION_1), (ALL | 3 << 33 | 1 << 36) & !VERSION_1);
}

#[test]
fn a_card_is_what_it_says() {
    let card = Card::new(offering(ALL)).unwrap();
    assert_eq!((card.mac, card.mtu), ([2, 0, 0, 0, 0, 7], 9000));
    assert!(card.link_up());
    assert_eq!(card.largest_frame, 65549);
    let card = Card::new(offering(VERSION_1)).unwrap();
    assert_eq!((card.mtu, card.largest_frame), (1500, 1514));
    assert_eq!((card.mac[0] & 3, card.offloads), (2, Offloads::default()));
}

#[test]
fn a_card_that_is_of_no_use_is_refused() {
    let old = Card::new(offering(ALL & !VERSION_1)).unwrap_err();
    assert_eq!(old, "it speaks only the protocol before virtio 1.0");
    let stubborn = Fake::stubborn(ALL, QUEUES, CONFIGURATION.into());
    let why = Card::new(stubborn).unwrap_err();
    assert_eq!(why, "it does not accept the features that are known here");
}

/// Puts a frame into as many buffers as it needs, and uses them.
fn arrive(queue: &mut Model, frame: &[u8], flags: u8) {
    let mut chains = Vec::new();
    let mut rest = frame;
    while chains.is_empty() || !rest.is_empty() {
        let chain = queue.take().expect("a buffer to receive into");
        let room = &mut memory(chain.spans[0])[if chains.is_empty() { HEADER } else { 0 }..];
        let length = rest.len().min(room.len());
        room[..length].copy_from_slice(&rest[..length]);
        rest = &rest[length..];
        chains.push((chain, length + if chains.is_empty() { HEADER } else { 0 }));
    }
    let header = &mut memory(chains[0].0.spans[0])[..HEADER];
    header.fill(0);
    header[0] = flags;
    header[10..].copy_from_slice(&(chains.len() as u16).to_le_bytes());
    for (chain, length) in chains {
        queue.give(&chain, length as u32);
    }
}

/// A TCP segment over IP with its checksum as the sender leaves it to the device.
fn segment(v6: bool, options: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from([7; 12]);
    let tcp = 20 + 4 * options;
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(((tcp + payload.len()) as u16).to_be_bytes());
        frame.extend([6, 64]);
        frame.extend([1; 16]);
        frame.extend([2; 16]);
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(((20 + tcp + payload.len()) as u16).to_be_bytes());
        frame.extend([0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
        let sum = checksum(&frame[14..]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame.extend([0, 80, 0x1f, 0x90, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1]);
    frame.extend([(tcp as u8 / 4) << 4, flags, 1, 0, 0, 0, 0, 0]);
    frame.extend(std::iter::repeat_n(1, 4 * options));
    frame.extend(payload);
    frame
}

/// RFC 1071, word by word.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Frames of any length come out as they were, in one piece, and their buffers go back in turn.
    #[test]
    fn frames_arrive_whole(
        packed in any::<bool>(), mergeable in any::<bool>(),
        frames in prop::collection::vec((prop_oneof![14usize..2000, 14usize..65550], 0u8..3, any::<u8>()), 1..120),
    ) {
        let mut offers = ALL;
        offers &= if packed { u64::MAX } else { !PACKED };
        offers &= if mergeable { u64::MAX } else { !bit(F::MRG_RXBUF) };
        let fake = offering(offers);
        let mut card = Card::new(fake).unwrap();
        let mut device = fake.queue(0);
        let most = if mergeable { usize::MAX } else { 9014 };
        let mut in_place = 0;
        for (length, flags, seed) in &frames {
            let frame: Vec<u8> = (0..*length.min(&most)).map(|at| (at / 3) as u8 ^ seed).collect();
            arrive(&mut device, &frame, *flags);
            {
                let got = card.pairs[0].receive().unwrap();
                prop_assert!(*got == *frame);
                prop_assert_eq!(got.checksum_is_good(), *flags != 0);
                in_place += usize::from(got.is_in_place());
            }
            prop_assert!(card.pairs[0].receive().is_none());
        }
        // A frame is copied only where memory ends that is in one piece: after 64 buffers of a frame of memory each.
        let buffers: usize = frames.iter().map(|(length, ..)| (length.min(&most) + HEADER).div_ceil(4096)).sum();
        prop_assert!(frames.len() - in_place <= buffers / 64 + 1, "{in_place} of {}", frames.len());
        let size = (0..).take_while(|_| device.take().is_some()).count();
        prop_assert_eq!(size, 256);
    }

    /// The device finds the frame behind its header, with what it needs to do the rest.
    #[test]
    fn frames_go_out_with_what_the_device_has_to_do(
        packed in any::<bool>(), v6 in any::<bool>(), length in 0usize..30_000, size in 500u16..9000, offloads in any::<bool>(),
    ) {
        let offers = if offloads { ALL } else { VERSION_1 | EVENT_INDEX | bit(F::MTU) };
        let fake = offering(if packed { offers } else { offers & !PACKED });
        let mut card = Card::new(fake).unwrap();
        let length = if offloads { length } else { length % 8000 };
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let frame = segment(v6, 3, 0x18, &payload);
        let mut device = fake.queue(1);
        device.want(true);
        let pair = &mut card.pairs[0];
        for round in 0..300 {
            prop_assert!(pair.can_transmit(), "round {round}");
            pair.transmit(frame.len(), NonZeroU16::new(size), |place| place.copy_from_slice(&frame));
            pair.flush();
            let chain = device.take().expect("the frame");
            prop_assert_eq!(chain.spans.len(), 1);
            let sent = memory(chain.spans[0]);
            let headers = Headers::of(&frame).unwrap();
            if !offloads {
                prop_assert_eq!(&sent[..HEADER], &[0; HEADER]);
                prop_assert!(sent[HEADER..] == frame);
            } else {
                let word = |at: usize| usize::from(u16::from_le_bytes([sent[at], sent[at + 1]]));
                prop_assert_eq!(sent[0], 1);
                prop_assert_eq!((word(6), word(8)), (headers.transport, 16));
                let cut = length > usize::from(size);
                let kind = if !cut { 0 } else if v6 { 4 } else { 1 };
                prop_assert_eq!(sent[1], kind);
                prop_assert_eq!((word(2), word(4)), if cut { (headers.payload, size.into()) } else { (0, 0) });
                // What a device does: the checksum over what begins at its start, with what is there already.
                let start = HEADER + word(6);
                let sum = checksum(&sent[start..]);
                sent[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
                let mut whole = Vec::from(&frame[if v6 { 22..54 } else { 26..34 }]);
                whole.extend([0, 6]);
                whole.extend(((frame.len() - headers.transport) as u16).to_be_bytes());
                whole.extend_from_slice(&sent[start..]);
                prop_assert_eq!(checksum(&whole), 0);
            }
            device.give(&chain, 0);
        }
    }

    /// No bytes make it read or write where there is nothing.
    #[test]
    fn headers_are_never_beyond_the_frame(mut frame in prop::collection::vec(any::<u8>(), 0..200), real in any::<bool>(), v6 in any::<bool>(), cut in 0usize..200) {
        if real {
            let mut good = segment(v6, 2, 0x10, &frame);
            good.truncate(cut);
            frame = good;
        }
        if let Some(headers) = Headers::of(&frame) {
            prop_assert!(headers.transport < headers.payload && headers.payload <= frame.len());
            let mut copy = frame.clone();
            headers.begin_checksum(&mut copy);
        }
    }
}

#[test]
fn the_driver_waits_for_room_and_is_told_of_it() {
    let fake = offering(VERSION_1 | EVENT_INDEX);
    let mut card = Card::new(fake).unwrap();
    let pair = &mut card.pairs[0];
    let mut sent = 0;
    while pair.can_transmit() {
        pair.transmit(60, None, |frame| frame.fill(1));
        sent += 1;
    }
    assert_eq!(sent, 256);
    assert!(pair.enable_interrupt());
    let mut device = fake.queue(1);
    let chain = device.take().unwrap();
    assert!(device.give(&chain, 0), "the driver has asked for this interrupt");
    assert!(!pair.enable_interrupt());
    assert!(pair.can_transmit());
    assert!(pair.enable_interrupt());
}

/// Buffers that were used in another order are not side by side: the frame is put together.
#[test]
fn pieces_in_any_place_are_put_together() {
    let fake = offering(VERSION_1 | bit(F::MRG_RXBUF));
    let mut card = Card::new(fake).unwrap();
    let mut device = fake.queue(0);
    let chains: Vec<_> = (0..3).map(|_| device.take().unwrap()).collect();
    let header = memory(chains[2].spans[0]);
    header[..HEADER].fill(0);
    header[10] = 3;
    header[HEADER] = 7;
    device.give(&chains[2], HEADER as u32 + 1);
    memory(chains[0].spans[0])[..2].copy_from_slice(&[8, 9]);
    device.give(&chains[0], 2);
    memory(chains[1].spans[0])[0] = 10;
    device.give(&chains[1], 1);
    let frame = card.pairs[0].receive().unwrap();
    assert_eq!((&*frame, frame.is_in_place()), (&[7, 8, 9, 10][..], false));
}

#[test]
fn a_card_that_lies_is_put_out_of_use() {
    let fake = offering(VERSION_1);
    let mut card = Card::new(fake).unwrap();
    let mut device = fake.queue(0);
    let chain = device.take().unwrap();
    device.give(&chain, u32::MAX);
    assert!(card.pairs[0].receive().is_none());
    assert!(!card.link_up());
    assert!(fake.is_reset());
    assert!(card.pairs[0].receive().is_none());
    assert!(card.pairs[0].can_transmit());
    card.pairs[0].transmit(60, None, |frame| frame.fill(1));
}

#[test]
fn a_frame_is_never_longer_than_any_nor_a_part_of_one() {
    for count in [2, 18, 0xffff_u16] {
        let fake = offering(VERSION_1 | bit(F::MRG_RXBUF));
        let mut card = Card::new(fake).unwrap();
        let mut device = fake.queue(0);
        let chain = device.take().unwrap();
        let header = memory(chain.spans[0]);
        header[10..HEADER].copy_from_slice(&count.to_le_bytes());
        device.give(&chain, 4096);
        assert!(card.pairs[0].receive().is_none());
        assert!(!card.link_up(), "{count}");
    }
}
