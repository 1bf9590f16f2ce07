//! The rounds in machine code, which every x86-64 runs.
//!
//! It is the one place with `unsafe`. What the code relies on: `lanes` are `N` arrays of 522
//! blocks, one behind the other without a gap (`repr(C)`, and the constant below is checked
//! against the type); a table is looked up by a register that holds one byte and zeroes; a block
//! is written at a place below 522. So it reads and writes within the lanes alone, for which it
//! has the only reference.

use std::ops::Range;

use super::Lane;

/// Bytes of a lane.
const LANE: usize = 4176;
const _: () = assert!(size_of::<Lane>() == LANE);

/// A round of one lane. `$x`, `$x32` and `$x8` are the register of its block, of which the low
/// half is looked up; `$subkeys` is what is mixed in meanwhile.
///
/// What has the longest way to the sum comes first. One byte alone is taken by its own name (`dh`),
/// since Intel's processors do that but once a cycle, and shift twice. The subkeys of the next two
/// rounds are mixed in before the sum is, which would wait for it otherwise.
macro_rules! round {
    ($lane:literal, $x:tt, $x32:tt, $x8:tt, $subkeys:expr) => {
        concat!(
            "mov edx, ", $x32, "\n",
            "movzx ecx, dh\n",
            "shr edx, 16\n",
            "movzx eax, dl\n",
            "shr edx, 8\n",
            "mov edx, [rdi + rdx*4 + ", $lane, "*4176 + 72]\n",
            "add edx, [rdi + rax*4 + ", $lane, "*4176 + 1096]\n",
            "xor edx, [rdi + rcx*4 + ", $lane, "*4176 + 2120]\n",
            "movzx ecx, ", $x8, "\n",
            "add edx, [rdi + rcx*4 + ", $lane, "*4176 + 3144]\n",
            "rol ", $x, ", 32\n",
            $subkeys,
            "xor ", $x, ", rdx\n",
        )
    };
}

/// The two subkeys behind those of pair `rbx`; behind the last pair they are the two that end a
/// block.
macro_rules! next_subkeys {
    ($lane:literal, $x:tt) => {
        concat!("xor ", $x, ", [rdi + rbx*8 + ", $lane, "*4176 + 8]\n")
    };
}

macro_rules! first_subkeys {
    ($lane:literal, $x:tt) => {
        concat!("xor ", $x, ", [rdi + ", $lane, "*4176]\n")
    };
}

/// Puts the block at its place.
macro_rules! keep {
    ($lane:literal, $x:tt) => {
        concat!(
            "rol ",
            $x,
            ", 32\n",
            "mov [rdi + rsi*8 + ",
            $lane,
            "*4176], ",
            $x,
            "\n",
        )
    };
}

/// Blocks in these lanes and registers, two rounds a turn of the inner loop.
macro_rules! blocks {
    ($lanes:ident, $blocks:ident, $places:ident; $($lane:literal $x:tt $x32:tt $x8:tt),*) => {
        // SAFETY: the module says what is read and written, and `encrypt_blocks` has checked
        // lengths and places. `rbx` and the stack are put back; all else that changes is declared.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "push rax",
                "2:",
                concat!($(first_subkeys!($lane, $x)),*),
                "xor ebx, ebx",
                "3:",
                concat!($(round!($lane, $x, $x32, $x8, "")),*),
                concat!($(round!($lane, $x, $x32, $x8, next_subkeys!($lane, $x))),*),
                "inc ebx",
                "cmp ebx, 8",
                "jne 3b",
                concat!($(keep!($lane, $x)),*),
                "inc rsi",
                "cmp rsi, [rsp]",
                "jne 2b",
                "pop rax",
                "pop rbx",
                in("rdi") $lanes.as_mut_ptr(),
                inout("rsi") $places.start => _,
                inout("rax") $places.end => _,
                out("rcx") _,
                out("rdx") _,
                $(inout($x) $blocks[$lane],)*
            );
        }
    };
}

/// Encrypts blocks of all lanes, each from the one before it, and puts each at its place in its
/// lane.
#[rustfmt::skip]
pub(crate) fn encrypt_blocks(lanes: &mut [Lane], blocks: &mut [u64], places: Range<usize>) {
    assert!(lanes.len() == blocks.len() && places.start < places.end && places.end <= LANE / 8);
    match blocks.len() {
        1 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b"),
        2 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b"),
        3 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b"),
        4 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b",
            3 "r11" "r11d" "r11b"),
        5 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b",
            3 "r11" "r11d" "r11b", 4 "r12" "r12d" "r12b"),
        6 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b",
            3 "r11" "r11d" "r11b", 4 "r12" "r12d" "r12b", 5 "r13" "r13d" "r13b"),
        7 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b",
            3 "r11" "r11d" "r11b", 4 "r12" "r12d" "r12b", 5 "r13" "r13d" "r13b",
            6 "r14" "r14d" "r14b"),
        8 => blocks!(lanes, blocks, places;
            0 "r8" "r8d" "r8b", 1 "r9" "r9d" "r9b", 2 "r10" "r10d" "r10b",
            3 "r11" "r11d" "r11b", 4 "r12" "r12d" "r12b", 5 "r13" "r13d" "r13b",
            6 "r14" "r14d" "r14b", 7 "r15" "r15d" "r15b"),
        lanes => unreachable!("{lanes} lanes"),
    }
}
