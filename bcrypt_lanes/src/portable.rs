use std::ops::Range;

use super::{Lane, SUBKEYS, block};

/// Encrypts blocks of all lanes, each from the one before it, and puts each at its place in its
/// lane.
pub(crate) fn encrypt_blocks(lanes: &mut [Lane], blocks: &mut [u64], places: Range<usize>) {
    match blocks.len() {
        1 => in_step::<1>(lanes, blocks, places),
        2 => in_step::<2>(lanes, blocks, places),
        3 => in_step::<3>(lanes, blocks, places),
        4 => in_step::<4>(lanes, blocks, places),
        5 => in_step::<5>(lanes, blocks, places),
        6 => in_step::<6>(lanes, blocks, places),
        7 => in_step::<7>(lanes, blocks, places),
        8 => in_step::<8>(lanes, blocks, places),
        lanes => unreachable!("{lanes} lanes"),
    }
}

fn in_step<const N: usize>(lanes: &mut [Lane], blocks: &mut [u64], places: Range<usize>) {
    // The compiler unrolls what it knows the number of.
    let lanes: &mut [Lane; N] = lanes.try_into().expect("a lane a block");
    let blocks: &mut [u64; N] = blocks.try_into().expect("a block a lane");
    for place in places {
        for pair in (0..16).step_by(2) {
            for n in 0..N {
                blocks[n] ^= block(lanes[n].words[pair], lanes[n].words[pair + 1]);
                blocks[n] = round(&lanes[n], blocks[n]);
            }
            for n in 0..N {
                blocks[n] = round(&lanes[n], blocks[n]);
            }
        }
        for n in 0..N {
            blocks[n] ^= block(lanes[n].words[16], lanes[n].words[17]);
            blocks[n] = blocks[n].rotate_left(32);
            lanes[n].words[2 * place] = blocks[n] as u32;
            lanes[n].words[2 * place + 1] = (blocks[n] >> 32) as u32;
        }
    }
}

/// Looks the low half up, mixes what it finds into the other, and turns them round.
#[inline(always)]
fn round(lane: &Lane, x: u64) -> u64 {
    // A byte never reaches beyond its table, so that no bounds are checked.
    let find = |table: usize, byte: u8| lane.words[SUBKEYS + 256 * table + usize::from(byte)];
    let [d, c, b, a, ..] = x.to_le_bytes();
    let sum = (find(0, a).wrapping_add(find(1, b)) ^ find(2, c)).wrapping_add(find(3, d));
    x.rotate_left(32) ^ u64::from(sum)
}
