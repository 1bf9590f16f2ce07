#![warn(missing_docs)]
#![deny(unsafe_code)]
//! bcrypt of several texts at once, in one thread.
//!
//! # Why lanes are faster
//!
//! bcrypt is Blowfish's key expansion, again and again: 2 to the power of the cost, times two,
//! times 521 blocks of 16 rounds. A round looks four bytes up in four tables and adds the finds
//! up; the sum gives the bytes of the next round. So each round waits for the one before it: five
//! cycles for the first-level cache, some seven for the arithmetic, and a processor that could
//! load three words and compute five sums in every one of those cycles idles through most of
//! them. Nothing within one hash can fill the wait; its order is what makes bcrypt slow on
//! purpose.
//!
//! Another hash can. Here up to [`WIDTH`] hashes go through the rounds in step: a round of the
//! first, the same round of the second, and so on. They share nothing but the salt, so the
//! processor works on all of them while each waits for its tables. What limits them then is no
//! more the wait but the number of instructions.
//!
//! Measured on an Intel Xeon that starts six instructions a cycle (AVX-512, 48 KiB of first-level
//! data cache), a lane takes 12.5 instructions and 2.4 cycles a round, where the `bcrypt` crate
//! takes 12.7 cycles: 5.4 times as fast, of the 6 that the instructions would allow.
//! `cargo bench -p watershed-cli --bench pipelines -- pseudonyms` measures it anew.
//!
//! - **The width** is bound by the cache: a lane's tables are 4 KiB, and eight lanes just about
//!   fill 32 KiB. Eight is also the number of registers left for lanes. A ninth gained nothing.
//! - **One register a lane.** Both halves of a block share one 64-bit register, which turns by
//!   half after each round; two subkeys are applied by one instruction.
//! - **Machine code for x86-64** (`x86_64`): of the same steps in Rust the compiler made 14 to 17
//!   instructions a round, with both bytes and halves moved about for want of registers, and at
//!   best 4.4 times the crate's speed. Other processors take these steps in Rust (`portable`).
//! - **Not vectors.** Gathers of AVX2 and AVX-512 took 3.4 cycles a round and lane: they fetch
//!   their words no faster than plain loads, and each round waits for them longer.
//! - **Nothing is saved up for a salt.** Salt and text alternate from the first expansion on, so
//!   two texts have no state in common but the digits of pi.

mod pi;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "machine code")]
mod x86_64;

use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::{Zeroize, Zeroizing};

#[cfg(not(target_arch = "x86_64"))]
use portable::encrypt_blocks;
#[cfg(target_arch = "x86_64")]
use x86_64::encrypt_blocks;

/// The most texts that go in step.
pub const WIDTH: usize = 8;

/// Words of subkeys.
const SUBKEYS: usize = 18;

/// Blocks of two words that an expansion fills: subkeys and tables.
const EXPANDED: usize = (SUBKEYS + 4 * 256) / 2;

/// What the last step encrypts 64 times: "OrpheanBeholderScryDoubt".
const ORPHEAN: [[u32; 2]; 3] = [
    [0x4f72_7068, 0x6561_6e42],
    [0x6568_6f6c, 0x6465_7253],
    [0x6372_7944, 0x6f75_6274],
];

/// Blowfish's state for one text: 18 subkeys, four tables of 256 words, and one block to spare,
/// which takes what is encrypted without being kept.
///
/// All of it is one array, so that an expansion fills it from end to end.
#[repr(C, align(8))]
#[derive(Clone)]
struct Lane {
    words: [u32; 2 * EXPANDED + 2],
}

impl Lane {
    fn new() -> Lane {
        let mut words = [0; 2 * EXPANDED + 2];
        words[..2 * EXPANDED].copy_from_slice(&pi::PI);
        Lane { words }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// The bcrypt hashes of `texts`, 23 bytes each, in their order; all of one cost and salt.
///
/// Of each text the first 72 bytes count, as in every bcrypt; a NUL within it counts like any
/// other byte. `None` when `abandoned` became true on the way; that is looked at some thousand
/// times a second.
///
/// # Panics
/// When there are more than [`WIDTH`] texts, or the cost is not of 4 to 31.
pub fn hash(
    cost: u32,
    salt: &[u8; 16],
    texts: &[&[u8]],
    abandoned: &AtomicBool,
) -> Option<Vec<[u8; 23]>> {
    assert!((4..=31).contains(&cost), "a cost is of 4 to 31");
    assert!(texts.len() <= WIDTH, "at most {WIDTH} texts go in step");
    if texts.is_empty() {
        return Some(Vec::new());
    }
    let keys = Zeroizing::new(texts.iter().map(|text| key_words(text)).collect::<Vec<_>>());
    let salts = Zeroizing::new(vec![words_of_salt(salt); texts.len()]);
    let mut lanes = vec![Lane::new(); texts.len()];
    expand_salted(&mut lanes, &keys, &salts[0]);
    for _ in 0..1_u32 << cost {
        if abandoned.load(Ordering::Relaxed) {
            return None;
        }
        expand(&mut lanes, &keys);
        expand(&mut lanes, &salts);
    }
    Some(finish(&mut lanes))
}

/// The first expansion, in which the salt is mixed into each block too.
fn expand_salted(lanes: &mut [Lane], keys: &[[u32; SUBKEYS]], salt: &[u32; SUBKEYS]) {
    mix_in(lanes, keys);
    let mut blocks = Zeroizing::new([0; WIDTH]);
    let blocks = &mut blocks[..lanes.len()];
    for place in 0..EXPANDED {
        let half = 2 * (place % 2);
        for lane in &mut *blocks {
            *lane ^= block(salt[half], salt[half + 1]);
        }
        encrypt_blocks(lanes, blocks, place..place + 1);
    }
}

fn expand(lanes: &mut [Lane], keys: &[[u32; SUBKEYS]]) {
    mix_in(lanes, keys);
    let mut blocks = Zeroizing::new([0; WIDTH]);
    let blocks = &mut blocks[..lanes.len()];
    encrypt_blocks(lanes, blocks, 0..EXPANDED);
}

fn mix_in(lanes: &mut [Lane], keys: &[[u32; SUBKEYS]]) {
    for (lane, key) in lanes.iter_mut().zip(keys) {
        for (subkey, word) in lane.words.iter_mut().zip(key) {
            *subkey ^= word;
        }
    }
}

/// Encrypts three blocks 64 times each; that is the hash.
fn finish(lanes: &mut [Lane]) -> Vec<[u8; 23]> {
    let mut hashes = vec![[0; 23]; lanes.len()];
    for (part, &[left, right]) in ORPHEAN.iter().enumerate() {
        let mut blocks = [block(left, right); WIDTH];
        let blocks = &mut blocks[..lanes.len()];
        for _ in 0..64 {
            encrypt_blocks(lanes, blocks, EXPANDED..EXPANDED + 1);
        }
        for (hash, block) in hashes.iter_mut().zip(&*blocks) {
            let bytes = block.rotate_left(32).to_be_bytes();
            // The last of the 24 bytes is no part of the hash: an old mistake, which all repeat.
            let (start, end) = (8 * part, (8 * part + 8).min(23));
            hash[start..end].copy_from_slice(&bytes[..end - start]);
        }
    }
    hashes
}

/// A block as the lanes hold it: the left half, which is looked up first, in the low bits.
fn block(left: u32, right: u32) -> u64 {
    u64::from(left) | u64::from(right) << 32
}

/// bcrypt reads a C string: the text and its NUL, over and over, until all subkeys are served.
/// That cuts a long text at 72 bytes.
fn key_words(text: &[u8]) -> [u32; SUBKEYS] {
    let mut bytes = text.iter().chain(&[0]).cycle();
    std::array::from_fn(|_| {
        (0..4).fold(0, |word, _| {
            word << 8 | u32::from(*bytes.next().expect("a cycle does not end"))
        })
    })
}

fn words_of_salt(salt: &[u8; 16]) -> [u32; SUBKEYS] {
    std::array::from_fn(|i| {
        let at = 4 * (i % 4);
        u32::from_be_bytes([salt[at], salt[at + 1], salt[at + 2], salt[at + 3]])
    })
}

#[cfg(test)]
mod tests;
