use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

static GOING_ON: AtomicBool = AtomicBool::new(false);

/// What the `bcrypt` crate makes of the text as a C string.
fn reference(cost: u32, salt: [u8; 16], text: &[u8]) -> [u8; 23] {
    let mut input = text[..text.len().min(72)].to_vec();
    if input.len() < 72 {
        input.push(0);
    }
    bcrypt::bcrypt(cost, salt, &input)[..23].try_into().unwrap()
}

fn random_salt(random: &mut fastrand::Rng) -> [u8; 16] {
    std::array::from_fn(|_| random.u8(..))
}

fn random_text(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.u8(..)).collect()
}

fn assert_same(cost: u32, salt: [u8; 16], texts: &[Vec<u8>]) {
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let hashes = hash(cost, &salt, &texts, &GOING_ON).unwrap();
    assert_eq!(hashes.len(), texts.len());
    for (hash, text) in hashes.iter().zip(texts) {
        assert_eq!(*hash, reference(cost, salt, text), "cost {cost}, {text:?}");
    }
}

#[test]
fn every_number_of_texts_is_hashed_as_by_bcrypt() {
    let mut random = fastrand::Rng::with_seed(1);
    for count in 0..=WIDTH {
        let texts: Vec<_> = (0..count)
            .map(|i| random_text(&mut random, i + 5))
            .collect();
        assert_same(4, random_salt(&mut random), &texts);
    }
}

#[test]
fn texts_of_0_to_100_bytes_are_hashed_as_by_bcrypt() {
    let mut random = fastrand::Rng::with_seed(2);
    let texts: Vec<_> = (0..=100)
        .map(|length| random_text(&mut random, length))
        .collect();
    for texts in texts.chunks(WIDTH) {
        assert_same(4, random_salt(&mut random), texts);
    }
}

#[test]
fn every_byte_counts_within_a_text() {
    let mut random = fastrand::Rng::with_seed(3);
    let texts: Vec<_> = (0..=255).map(|byte| vec![b'a', byte, b'z']).collect();
    for texts in texts.chunks(WIDTH) {
        assert_same(4, random_salt(&mut random), texts);
    }
}

#[test]
fn a_nul_counts_wherever_it_stands() {
    let texts = [
        &b"\0"[..],
        b"\0\0",
        b"a\0",
        b"\0a",
        b"a\0b",
        &[0; 71],
        &[0; 72],
        &[0; 73],
    ];
    assert_same(4, [7; 16], &texts.map(<[u8]>::to_vec));
}

#[test]
fn costs_4_to_8_are_hashed_as_by_bcrypt() {
    let mut random = fastrand::Rng::with_seed(4);
    for cost in 4..=8 {
        let texts: Vec<_> = (0..3)
            .map(|_| {
                let length = random.usize(0..=100);
                random_text(&mut random, length)
            })
            .collect();
        assert_same(cost, random_salt(&mut random), &texts);
    }
}

/// Vectors of jBCrypt, the first of OpenBSD's: NUL and `a`, cost 6.
#[test]
fn known_vectors_are_met() {
    let salt = *b"\x14\x4b\x3d\x69\x1a\x7b\x4e\xcf\x39\xcf\x73\x5c\x7f\xa7\xa7\x9c";
    let expected = *b"\x55\x7e\x94\xf3\x4b\xf2\x86\xe8\x71\x9a\x26\xbe\
        \x94\xac\x1e\x16\xd9\x5e\xf9\xf8\x19\xde\xe0";
    assert_eq!(hash(6, &salt, &[b""], &GOING_ON), Some(vec![expected]));
    let salt = *b"\xa3\x61\x2d\x8c\x9a\x37\xda\xc2\xf9\x9d\x94\xda\x03\xbd\x45\x21";
    let expected = *b"\xe6\xd5\x38\x31\xf8\x20\x60\xdc\x08\xa2\xe8\x48\
        \x9c\xe8\x50\xce\x48\xfb\xf9\x76\x97\x87\x38";
    assert_eq!(hash(6, &salt, &[b"a"], &GOING_ON), Some(vec![expected]));
}

#[test]
fn an_abandoned_hash_ends_at_once() {
    static ABANDONED: AtomicBool = AtomicBool::new(false);
    let (ended, wait) = mpsc::channel();
    // At this cost a hash takes days.
    thread::spawn(move || ended.send(hash(31, &[0; 16], &[b"a"], &ABANDONED)));
    ABANDONED.store(true, Ordering::Relaxed);
    assert_eq!(wait.recv_timeout(Duration::from_secs(60)), Ok(None));
}

#[test]
#[should_panic(expected = "a cost is of 4 to 31")]
fn a_cost_beyond_31_is_refused() {
    hash(32, &[0; 16], &[b"a"], &GOING_ON);
}

#[test]
#[should_panic(expected = "at most 8 texts")]
fn a_ninth_text_is_refused() {
    hash(4, &[0; 16], &[&b"a"[..]; 9], &GOING_ON);
}

/// Words that no expansion has made, so that every lane differs from every other.
fn random_lanes(random: &mut fastrand::Rng, count: usize) -> Vec<Lane> {
    let mut lanes = vec![Lane::new(); count];
    for lane in &mut lanes {
        lane.words.fill_with(|| random.u32(..));
    }
    lanes
}

#[test]
fn machine_code_and_rust_take_the_same_steps() {
    let mut random = fastrand::Rng::with_seed(5);
    for count in 1..=WIDTH {
        for places in [0..1, 0..EXPANDED, 7..11, EXPANDED..EXPANDED + 1] {
            let mut lanes = random_lanes(&mut random, count);
            let mut blocks: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
            let (mut others, mut other_blocks) = (lanes.clone(), blocks.clone());
            encrypt_blocks(&mut lanes, &mut blocks, places.clone());
            portable::encrypt_blocks(&mut others, &mut other_blocks, places.clone());
            assert_eq!(blocks, other_blocks, "{count} lanes, {places:?}");
            for (lane, other) in lanes.iter().zip(&others) {
                assert!(lane.words == other.words, "{count} lanes, {places:?}");
            }
        }
    }
}

#[test]
fn no_place_beyond_the_lanes_is_written() {
    for places in [Range { start: 3, end: 3 }, 521..523, 600..601] {
        let refused = std::panic::catch_unwind(|| {
            encrypt_blocks(&mut [Lane::new()], &mut [0], places);
        });
        assert!(refused.is_err());
    }
}
