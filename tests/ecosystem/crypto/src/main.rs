//! Known answers of ring: what its assembly gives has to be what the standards say.

use std::io;
use std::process::ExitCode;

use check::Check;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{aead, agreement, digest, hkdf, hmac, pbkdf2};

const CHECKS: &[Check] = &[
    ("SHA-1, SHA-256, SHA-384, SHA-512", digests),
    ("a million times the letter a", long_digests),
    ("HMAC (RFC 4231)", hmacs),
    ("HKDF (RFC 5869)", hkdf_expands),
    ("PBKDF2 (RFC 7914)", pbkdf2_derives),
    ("AES-GCM (NIST)", aes_gcm),
    ("ChaCha20-Poly1305 (RFC 8439)", chacha20_poly1305),
    ("every length sealed and opened", lengths),
    ("Ed25519 (RFC 8032)", ed25519),
    ("X25519 and P-256 agree", agreements),
    ("random bytes", random),
    ("random numbers of getrandom", numbers),
];

fn main() -> ExitCode {
    check::walk(CHECKS, std::env::args().nth(1).as_deref())
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn wrong<E>(_: E) -> io::Error {
    io::Error::other("ring says no")
}

fn digests() -> io::Result<()> {
    for (algorithm, expected) in [
        (&digest::SHA1_FOR_LEGACY_USE_ONLY, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (&digest::SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            &digest::SHA384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            &digest::SHA512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ] {
        assert_eq!(digest::digest(algorithm, b"abc").as_ref(), bytes(expected), "{algorithm:?}");
    }
    Ok(())
}

fn long_digests() -> io::Result<()> {
    for (algorithm, expected) in [
        (&digest::SHA256, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        (
            &digest::SHA512,
            "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
        ),
    ] {
        let mut context = digest::Context::new(algorithm);
        let letters = [b'a'; 997];
        let mut left = 1_000_000;
        while left > 0 {
            let count = left.min(letters.len());
            context.update(&letters[..count]);
            left -= count;
        }
        assert_eq!(context.finish().as_ref(), bytes(expected), "{algorithm:?}");
    }
    Ok(())
}

fn hmacs() -> io::Result<()> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
    let text = b"what do ya want for nothing?";
    let tag = hmac::sign(&key, text);
    assert_eq!(
        tag.as_ref(),
        bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    hmac::verify(&key, text, tag.as_ref()).map_err(wrong)?;
    assert!(hmac::verify(&key, b"something else", tag.as_ref()).is_err());
    let key = hmac::Key::new(hmac::HMAC_SHA512, &[0x0b; 20]);
    assert_eq!(
        hmac::sign(&key, b"Hi There").as_ref(),
        bytes(
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
        )
    );
    Ok(())
}

fn hkdf_expands() -> io::Result<()> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &bytes("000102030405060708090a0b0c"));
    let info = bytes("f0f1f2f3f4f5f6f7f8f9");
    let mut output = [0; 42];
    let key = salt.extract(&[0x0b; 22]);
    key.expand(&[&info], Length(42)).map_err(wrong)?.fill(&mut output).map_err(wrong)?;
    let expected =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(output[..], bytes(expected));
    Ok(())
}

fn pbkdf2_derives() -> io::Result<()> {
    let mut output = [0; 64];
    let once = std::num::NonZero::<u32>::MIN;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, once, b"salt", b"passwd", &mut output);
    let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                    49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783";
    assert_eq!(output[..], bytes(expected));
    Ok(())
}

/// Seals, compares, opens, and does not open what was changed.
fn seal(
    algorithm: &'static aead::Algorithm,
    [key, nonce, associated, plain, sealed]: [&str; 5],
) -> io::Result<()> {
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &bytes(key)).map_err(wrong)?);
    let nonce = || aead::Nonce::try_assume_unique_for_key(&bytes(nonce)).map_err(wrong);
    let associated = bytes(associated);
    let associated = aead::Aad::from(&associated);
    let mut data = bytes(plain);
    key.seal_in_place_append_tag(nonce()?, associated, &mut data).map_err(wrong)?;
    assert_eq!(data, bytes(sealed), "{algorithm:?}");
    let mut changed = data.clone();
    changed[0] ^= 1;
    assert!(key.open_in_place(nonce()?, associated, &mut changed).is_err());
    let opened = key.open_in_place(nonce()?, associated, &mut data).map_err(wrong)?;
    assert_eq!(opened, bytes(plain), "{algorithm:?}");
    Ok(())
}

fn aes_gcm() -> io::Result<()> {
    // Test cases 4 and 16 of "The Galois/Counter Mode of Operation".
    let nonce = "cafebabefacedbaddecaf888";
    let associated = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let key = "feffe9928665731c6d6a8f9467308308";
    let sealed = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091\
                  5bc94fbc3221a5db94fae95ae7121a47";
    seal(&aead::AES_128_GCM, [key, nonce, associated, plain, sealed])?;
    let key = &[key, key].concat();
    let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
                  76fc6ece0f4e1768cddf8853bb2d551b";
    seal(&aead::AES_256_GCM, [key, nonce, associated, plain, sealed])
}

fn chacha20_poly1305() -> io::Result<()> {
    let plain: String = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sealed = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116\
                  1ae10b594f09e26a7e902ecbd0600691";
    seal(
        &aead::CHACHA20_POLY1305,
        [
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
            "070000004041424344454647",
            "50515253c0c1c2c3c4c5c6c7",
            &plain,
            sealed,
        ],
    )
}

/// The assembly has other paths for other lengths: each has to open what it sealed.
fn lengths() -> io::Result<()> {
    for algorithm in [&aead::AES_128_GCM, &aead::AES_256_GCM, &aead::CHACHA20_POLY1305] {
        let key = vec![7; algorithm.key_len()];
        let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, &key).map_err(wrong)?);
        for length in (0..600).chain([4095, 4096, 4097, 65_537]) {
            let plain: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut data = plain.clone();
            let nonce = || aead::Nonce::assume_unique_for_key([9; 12]);
            key.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut data).map_err(wrong)?;
            assert_eq!(data.len(), length + 16);
            let opened =
                key.open_in_place(nonce(), aead::Aad::empty(), &mut data).map_err(wrong)?;
            assert_eq!(opened, plain);
        }
    }
    Ok(())
}

fn ed25519() -> io::Result<()> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&bytes(
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    ))
    .map_err(wrong)?;
    let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_eq!(pair.public_key().as_ref(), public);
    let signature = pair.sign(&[0x72]);
    let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    assert_eq!(signature.as_ref(), bytes(expected));
    let public = UnparsedPublicKey::new(&ED25519, public);
    public.verify(&[0x72], signature.as_ref()).map_err(wrong)?;
    assert!(public.verify(&[0x73], signature.as_ref()).is_err());
    Ok(())
}

fn agreements() -> io::Result<()> {
    let random = SystemRandom::new();
    for algorithm in [&agreement::X25519, &agreement::ECDH_P256, &agreement::ECDH_P384] {
        let ours = agreement::EphemeralPrivateKey::generate(algorithm, &random).map_err(wrong)?;
        let theirs = agreement::EphemeralPrivateKey::generate(algorithm, &random).map_err(wrong)?;
        let our_public = ours.compute_public_key().map_err(wrong)?;
        let their_public = theirs.compute_public_key().map_err(wrong)?;
        let agree = |key, public: &agreement::PublicKey| {
            let public = agreement::UnparsedPublicKey::new(algorithm, public.as_ref());
            agreement::agree_ephemeral(key, &public, <[u8]>::to_vec).map_err(wrong)
        };
        assert_eq!(agree(ours, &their_public)?, agree(theirs, &our_public)?);
    }
    Ok(())
}

fn random() -> io::Result<()> {
    let random = SystemRandom::new();
    let mut all = [[0; 32]; 8];
    for bytes in &mut all {
        random.fill(bytes).map_err(wrong)?;
    }
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    Ok(())
}

/// Each kind of request has a function of its own in the kernel's interface.
fn numbers() -> io::Result<()> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    assert_ne!(bytes, [0; 16]);
    let mut seen = (0, 0);
    for _ in 0..64 {
        seen.0 |= getrandom::u32()?;
        seen.1 |= getrandom::u64()?;
    }
    assert_eq!(seen, (u32::MAX, u64::MAX));
    Ok(())
}
