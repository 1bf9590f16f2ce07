//! What the name of a file says, and the order of delivery.

use super::entities::Entities;

/// Where a file stands among those of its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A part of the whole table, by its counter.
    FullLoad(u64),
    /// Changes, by their time: digits of year, month, day, hour, minute, second and of four places
    /// of its fraction.
    Changes(u64),
}

impl Place {
    pub(super) fn is_full_load(self) -> bool {
        matches!(self, Place::FullLoad(_))
    }

    /// Reads a file's name without its folders; nothing when the migration service writes no such
    /// names.
    pub(super) fn of_name(name: &str) -> Option<Place> {
        let stem = name
            .strip_suffix(".gz")
            .unwrap_or(name)
            .strip_suffix(".csv")?;
        if let Some(counter) = stem.strip_prefix("LOAD") {
            let hexadecimal = counter.len() >= 8 && counter.bytes().all(|b| b.is_ascii_hexdigit());
            let counter = u64::from_str_radix(counter, 16).ok();
            return counter.filter(|_| hexadecimal).map(Place::FullLoad);
        }
        let (date, time) = stem.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if date.len() != 8 || !matches!(time.len(), 9 | 10) || !digits(date) || !digits(time) {
            return None;
        }
        // `.123` and `.1230` are the same time.
        format!("{date}{time:0<10}")
            .parse()
            .ok()
            .map(Place::Changes)
    }

    /// The place that a key's last part names.
    pub(super) fn of_key(key: &str) -> Option<Place> {
        Place::of_name(key.rsplit('/').next().unwrap_or(key))
    }
}

/// A place in the order of delivery: all full loads by declared order and counter, then changes by
/// time and declared order. The key parts what is left.
pub(super) fn order_of_delivery(place: Place, entity: usize) -> (bool, u64, u64) {
    match place {
        Place::FullLoad(counter) => (false, entity as u64, counter),
        Place::Changes(time) => (true, time, entity as u64),
    }
}

/// The entity and the place of a key below `prefix`: `<schema>/<table>/<file>`.
pub(super) fn of_key(entities: &Entities, prefix: &str, key: &str) -> Option<(usize, Place)> {
    let rest = key.strip_prefix(prefix)?.strip_prefix(&*entities.schema)?;
    let (folder, name) = rest.strip_prefix('/')?.split_once('/')?;
    let entity = entities
        .list
        .iter()
        .position(|entity| entity.name == folder)?;
    Some((entity, Place::of_name(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_hexadecimal_and_times_have_three_or_four_more_digits() {
        let place = |name| Place::of_name(name);
        assert_eq!(place("LOAD0000000A.csv.gz"), Some(Place::FullLoad(10)));
        assert_eq!(place("LOAD00000010.csv"), Some(Place::FullLoad(16)));
        assert_eq!(
            place("20220922-095853123.csv.gz"),
            Some(Place::Changes(202_209_220_958_531_230))
        );
        assert_eq!(
            place("20220922-0958531234.csv"),
            Some(Place::Changes(202_209_220_958_531_234))
        );
        assert!(place("LOADFFFFFFFF.csv") < place("20220922-095853123.csv"));
        for name in [
            "LOAD0000001.csv",
            "LOAD0000000G.csv",
            "LOAD00000001.parquet",
            "LOAD00000001",
            "20220922-09585312.csv",
            "20220922-09585312345.csv",
            "2022-09-22.csv",
            "LOAD+0000001.csv",
            ".csv",
        ] {
            assert_eq!(place(name), None, "{name}");
        }
    }
}
