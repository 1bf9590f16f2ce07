use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use super::Personal;

/// Each set is cut into these, so that one which grows needs no second place for all of it.
const SHARDS: usize = 64;

/// Personal texts that were met before, as hashes with keys of this process alone: nothing of a
/// text is kept, and nobody can find it out.
///
/// With [`u128`] two texts are never taken for one; [`u64`] takes half the memory, and mistakes one
/// text in ten million millions when there are a million of them.
pub struct Seen<H> {
    keys: [RandomState; 2],
    layers: Vec<Layer<H>>,
}

type Layer<H> = Vec<HashSet<H, BuildHasherDefault<AsItIs>>>;

/// A hash of the length that is wanted.
pub trait Shortened: Copy + Eq + Hash {
    /// Cuts it out of the longest.
    fn of(hash: u128) -> Self;
}

impl Shortened for u128 {
    fn of(hash: u128) -> u128 {
        hash
    }
}

impl Shortened for u64 {
    fn of(hash: u128) -> u64 {
        hash as u64
    }
}

impl<H: Shortened> Default for Seen<H> {
    fn default() -> Seen<H> {
        let mut seen = Seen {
            keys: Default::default(),
            layers: Vec::new(),
        };
        seen.begin_layer();
        seen
    }
}

impl<H: Shortened> Seen<H> {
    /// Whether this is the first time that the text is met as one of this `kind`; from now on it
    /// is known.
    pub fn first_time(&mut self, kind: &'static str, text: &Personal<String>) -> bool {
        let half = |key: &RandomState| u128::from(key.hash_one((kind, text.inner())));
        let hash = half(&self.keys[0]) << 64 | half(&self.keys[1]);
        let shard = (hash >> 96) as usize % SHARDS;
        let hash = H::of(hash);
        let (last, earlier) = self.layers.split_last_mut().expect("there is always one");
        !earlier.iter().any(|layer| layer[shard].contains(&hash)) && last[shard].insert(hash)
    }

    /// What is met from now on can be forgotten by itself.
    pub fn begin_layer(&mut self) {
        self.layers
            .push((0..SHARDS).map(|_| HashSet::default()).collect());
    }

    /// Forgets what was met since the last layer began.
    pub fn forget_layer(&mut self) {
        self.layers.pop();
        self.begin_layer();
    }
}

/// What is hashed already need not be hashed again.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only hashes come here, and each in one piece.
        let mut half = [0; 8];
        let end = bytes.len().min(8);
        half[..end].copy_from_slice(&bytes[..end]);
        self.0 = u64::from_ne_bytes(half);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet<H: Shortened>(seen: &mut Seen<H>, kind: &'static str, text: &str) -> bool {
        seen.first_time(kind, &Personal::new(text.to_owned()))
    }

    fn each_text_is_new_once<H: Shortened>() {
        let mut seen = Seen::<H>::default();
        for i in 0..50_000 {
            assert!(meet(&mut seen, "name", &i.to_string()), "{i}");
        }
        for i in 0..50_000 {
            assert!(!meet(&mut seen, "name", &i.to_string()), "{i}");
        }
        assert!(meet(&mut seen, "barcode", "17"));
        assert!(meet(&mut seen, "name", "Zerlina"));
        assert!(meet(&mut seen, "name", "ZERLINA"));
        assert!(meet(&mut seen, "name", ""));
        assert!(!meet(&mut seen, "name", ""));
    }

    #[test]
    fn a_text_is_new_once() {
        each_text_is_new_once::<u128>();
        each_text_is_new_once::<u64>();
    }

    #[test]
    fn a_layer_is_forgotten_by_itself() {
        let mut seen = Seen::<u128>::default();
        assert!(meet(&mut seen, "name", "a"));
        seen.begin_layer();
        assert!(!meet(&mut seen, "name", "a"));
        assert!(meet(&mut seen, "name", "b"));
        seen.forget_layer();
        assert!(!meet(&mut seen, "name", "a"));
        assert!(meet(&mut seen, "name", "b"));
    }
}
