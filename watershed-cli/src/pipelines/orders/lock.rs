/// The number of the advisory lock of a source and a process, the same on every machine and in
/// every version: 64-bit FNV-1a.
pub(super) fn lock_number(source: &str, process: &str) -> i64 {
    // A part of a topic has no dot, so that no two pairs look alike.
    let name = format!("watershed.{source}.{process}");
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_never_changes() {
        let number = lock_number("paper-engine", "orders");
        assert_eq!(number, 8_838_366_295_438_320_562);
        assert_ne!(number, lock_number("paper-engine", "prices"));
    }
}
