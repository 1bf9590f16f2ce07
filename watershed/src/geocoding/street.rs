//! House numbers, street names and ZIP codes, written one way: what a range says and what a person
//! typed meet here, so both go through the same functions.
//!
//! Text that is typed by people is never indexed by bytes: the panic would print it (P6).

/// The ordinals that people spell out, from the first on.
const ORDINALS: [&str; 20] = [
    "FIRST",
    "SECOND",
    "THIRD",
    "FOURTH",
    "FIFTH",
    "SIXTH",
    "SEVENTH",
    "EIGHTH",
    "NINTH",
    "TENTH",
    "ELEVENTH",
    "TWELFTH",
    "THIRTEENTH",
    "FOURTEENTH",
    "FIFTEENTH",
    "SIXTEENTH",
    "SEVENTEENTH",
    "EIGHTEENTH",
    "NINETEENTH",
    "TWENTIETH",
];

/// Words for a storey; their number may stand before them.
const FLOORS: [&str; 3] = ["FL", "FLR", "FLOOR"];

/// Words that begin a secondary unit (USPS Publication 28, C2), without those that are common in
/// the names of streets: FRONT, KEY, LOWER, OFFICE, PIER, SIDE, SLIP, SPACE, STOP, TRAILER, UPPER.
const UNITS: [&str; 25] = [
    "APARTMENT",
    "APT",
    "BASEMENT",
    "BLDG",
    "BSMT",
    "BUILDING",
    "DEPT",
    "FRNT",
    "HNGR",
    "LBBY",
    "LOBBY",
    "LOT",
    "LOWR",
    "OFC",
    "PENTHOUSE",
    "PH",
    "REAR",
    "RM",
    "ROOM",
    "SPC",
    "STE",
    "SUITE",
    "TRLR",
    "UNIT",
    "UPPR",
];

/// The house number and the normalised street of an address such as `476 5th Ave Apt 3`.
pub(super) fn number_and_street(line: &str) -> Option<(u32, String)> {
    let line = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let (number, street) = line.split_once(|c: char| c.is_whitespace() || c == ',')?;
    let street = match street.trim_start().split_once(char::is_whitespace) {
        Some((word, rest)) if is_fraction(word) => rest,
        _ => street,
    };
    Some((house_number(number)?, normalise(street)?))
}

/// A house number as one that can be compared.
///
/// Letters and fractions behind it do not count (`12A`, `12-A` and `12-1/2` are 12). Of a number
/// with a hyphen, as in Queens, both parts do, the second with two digits at least: `37-12` is
/// 3712, and `37-5` is 3705.
pub(super) fn house_number(text: &str) -> Option<u32> {
    let (first, second) = match text.split_once('-') {
        None => (digits_before_suffix(text)?, ""),
        Some((first, second)) if is_fraction(second) => (first, ""),
        Some((first, second)) => (first, digits_before_suffix(second)?),
    };
    let digits = match second {
        "" => first.to_owned(),
        _ => format!("{first}{second:0>2}"),
    };
    digits.parse().ok().filter(|_| is_digits(first))
}

/// The digits of `12`, `12A` or `12½`, and nothing for `5th`, which is no house number.
fn digits_before_suffix(text: &str) -> Option<&str> {
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_short = suffix.chars().all(char::is_alphanumeric) && suffix.chars().count() <= 1;
    text.strip_suffix(suffix).filter(|_| is_short)
}

/// Whether this is `1/2` or its like.
fn is_fraction(word: &str) -> bool {
    word.split_once('/')
        .is_some_and(|(above, below)| is_digits(above) && is_digits(below))
}

/// A ZIP code of five digits.
pub(super) fn zip(text: &str) -> Option<String> {
    (text.len() == 5 && is_digits(text)).then(|| text.to_owned())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a street as USPS would write it, without what follows: `Fifth Avenue, Apt. 3` is
/// `5TH AVE`. Nothing if no name is left.
pub(super) fn normalise(name: &str) -> Option<String> {
    let words = words(name);
    let mut street: Vec<&str> = without_unit(&words).iter().map(String::as_str).collect();

    if let [name @ .., last] = street.as_mut_slice()
        && is_name(name)
    {
        *last = directional(last).unwrap_or(last);
    }
    if let [first, rest @ ..] = street.as_mut_slice() {
        let name = match rest {
            [name @ .., last] if directional(last).is_some() => name,
            _ => rest,
        };
        if is_name(name) {
            *first = directional(first).unwrap_or(first);
        }
    }

    let mut written = Vec::with_capacity(street.len());
    for (i, word) in street.iter().enumerate() {
        let before_type = street
            .get(i + 1)
            .is_some_and(|next| post_type(next).is_some());
        let number = match ORDINALS.iter().position(|ordinal| ordinal == word) {
            Some(place) => Some(place + 1),
            // New York's own files have `5 AVENUE` and `WEST 40 STREET`.
            None if before_type => word.parse().ok(),
            None => None,
        };
        written.push(match number {
            Some(number) => ordinal(number),
            // Wherever it stands: `AVE A` and `AVENUE A` are one street.
            None => post_type(word).unwrap_or(word).to_owned(),
        });
    }
    (!written.is_empty()).then(|| written.join(" "))
}

/// Whether these words can be the whole name, so that a direction beside them is only that. In
/// `NORTH ST` and `AVENUE NORTH` it is the name, and abbreviated it would be another street's.
fn is_name(words: &[&str]) -> bool {
    match words {
        [] => false,
        [word] => post_type(word).is_none(),
        _ => true,
    }
}

/// The words in upper case without punctuation, except that a comma and a `#` are words between
/// others, because a unit begins there.
fn words(name: &str) -> Vec<String> {
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
    let mut spaced = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_uppercase) {
        match c {
            // `ST. MARK'S` is `ST MARKS`, and `N.W.` is `NW`.
            '.' | '\'' | '’' => {}
            ',' | '#' => spaced.extend([' ', c, ' ']),
            _ if c.is_alphabetic() || c.is_ascii_digit() => spaced.push(c),
            _ => spaced.push(' '),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// The words before the first that begins a secondary unit. The first word of all begins none:
/// something has to be the street.
fn without_unit(words: &[String]) -> &[String] {
    let Some(at) = (1..words.len()).find(|&at| begins_unit(&words[at])) else {
        return words;
    };
    let (street, unit) = words.split_at(at);
    let begins_with_digit = |word: &String| word.starts_with(|c: char| c.is_ascii_digit());
    let number_may_stand_before =
        FLOORS.contains(&unit[0].as_str()) && !unit.get(1).is_some_and(begins_with_digit);
    match street {
        // `5TH AVE 3RD FL`, but not `W 3RD FL 2`, nor a street that would be left without a name.
        [rest @ .., number]
            if number_may_stand_before
                && (begins_with_digit(number) || ORDINALS.contains(&number.as_str()))
                && rest.iter().any(|word| directional(word).is_none()) =>
        {
            rest
        }
        _ => street,
    }
}

/// Whether a unit begins with this word, be it `APT` or `APT3`.
fn begins_unit(word: &str) -> bool {
    let is_designator = |designator: &str| {
        word.strip_prefix(designator)
            .is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_ascii_digit()))
    };
    matches!(word, "," | "#") || UNITS.iter().chain(&FLOORS).any(|unit| is_designator(unit))
}

/// `1ST`, `2ND`, `3RD`, `4TH`, `11TH`.
fn ordinal(number: usize) -> String {
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "TH",
        (1, _) => "ST",
        (2, _) => "ND",
        (3, _) => "RD",
        _ => "TH",
    };
    format!("{number}{suffix}")
}

/// The abbreviation of a direction.
fn directional(word: &str) -> Option<&'static str> {
    Some(match word {
        "NORTH" | "N" => "N",
        "SOUTH" | "S" => "S",
        "EAST" | "E" => "E",
        "WEST" | "W" => "W",
        "NORTHEAST" | "NE" => "NE",
        "NORTHWEST" | "NW" => "NW",
        "SOUTHEAST" | "SE" => "SE",
        "SOUTHWEST" | "SW" => "SW",
        _ => return None,
    })
}

/// The abbreviation of a street's type: those of USPS Publication 28, C1, that are in frequent
/// use, with their usual misspellings. Types that are not abbreviated, such as PARK, are none.
fn post_type(word: &str) -> Option<&'static str> {
    Some(match word {
        "ALLEY" | "ALLY" | "ALY" => "ALY",
        "AVENUE" | "AVENU" | "AVEN" | "AVE" | "AV" => "AVE",
        "BEACH" | "BCH" => "BCH",
        "BOULEVARD" | "BOULV" | "BLVD" | "BVD" => "BLVD",
        "BRIDGE" | "BRG" => "BRG",
        "BROOK" | "BRK" => "BRK",
        "BYPASS" | "BYP" => "BYP",
        "CAUSEWAY" | "CSWY" => "CSWY",
        "CENTER" | "CENTRE" | "CENTR" | "CNTR" | "CTR" => "CTR",
        "CIRCLE" | "CIRC" | "CIRCL" | "CIR" => "CIR",
        "COMMONS" | "CMNS" => "CMNS",
        "CORNER" | "COR" => "COR",
        "COURT" | "CRT" | "CT" => "CT",
        "COURTS" | "CTS" => "CTS",
        "COVE" | "CV" => "CV",
        "CREEK" | "CRK" => "CRK",
        "CRESCENT" | "CRES" => "CRES",
        "CROSSING" | "XING" => "XING",
        "DRIVE" | "DRIV" | "DRV" | "DR" => "DR",
        "ESTATES" | "ESTS" => "ESTS",
        "EXPRESSWAY" | "EXPWY" | "EXPY" => "EXPY",
        "EXTENSION" | "EXT" => "EXT",
        "FORT" | "FT" => "FT",
        "FREEWAY" | "FWY" => "FWY",
        "GARDEN" | "GDN" => "GDN",
        "GARDENS" | "GDNS" => "GDNS",
        "GATEWAY" | "GTWY" => "GTWY",
        "GREEN" | "GRN" => "GRN",
        "GROVE" | "GRV" => "GRV",
        "HARBOR" | "HBR" => "HBR",
        "HEIGHTS" | "HGTS" | "HTS" => "HTS",
        "HIGHWAY" | "HIGHWY" | "HIWAY" | "HWY" => "HWY",
        "HILL" | "HL" => "HL",
        "HILLS" | "HLS" => "HLS",
        "HOLLOW" | "HOLW" => "HOLW",
        "ISLAND" | "IS" => "IS",
        "JUNCTION" | "JCT" => "JCT",
        "LAKE" | "LK" => "LK",
        "LANDING" | "LNDG" => "LNDG",
        "LANE" | "LN" => "LN",
        "MANOR" | "MNR" => "MNR",
        "MEADOW" | "MDW" => "MDW",
        "MEADOWS" | "MDWS" => "MDWS",
        "MOUNT" | "MT" => "MT",
        "MOUNTAIN" | "MTN" => "MTN",
        "PARKWAY" | "PARKWY" | "PKWAY" | "PKWY" | "PKY" => "PKWY",
        "PLACE" | "PL" => "PL",
        "PLAZA" | "PLZA" | "PLZ" => "PLZ",
        "POINT" | "PT" => "PT",
        "RIDGE" | "RDG" => "RDG",
        "RIVER" | "RIV" => "RIV",
        "ROAD" | "RD" => "RD",
        "ROUTE" | "RT" | "RTE" => "RTE",
        "SHORE" | "SHR" => "SHR",
        "SPRING" | "SPG" => "SPG",
        "SQUARE" | "SQU" | "SQ" => "SQ",
        "STATION" | "STA" => "STA",
        // A saint is no type, but is abbreviated like one, and never mistaken for it.
        "STREET" | "STR" | "STRT" | "ST" | "SAINT" => "ST",
        "SUMMIT" | "SMT" => "SMT",
        "TERRACE" | "TERR" | "TER" => "TER",
        "TRACE" | "TRCE" => "TRCE",
        "TRAIL" | "TRL" => "TRL",
        "TUNNEL" | "TUNL" => "TUNL",
        "TURNPIKE" | "TRNPK" | "TPKE" => "TPKE",
        "VALLEY" | "VLY" => "VLY",
        "VIEW" | "VW" => "VW",
        "VILLAGE" | "VLG" => "VLG",
        "VISTA" | "VIS" => "VIS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_normalised(written: &str, names: &[&str]) {
        for name in names {
            assert_eq!(normalise(name).as_deref(), Some(written), "{name}");
        }
    }

    #[test]
    fn types_and_directions_are_abbreviated() {
        assert_normalised("W 40TH ST", &["West 40th Street", "w. 40th st.", "W 40 St"]);
        assert_normalised("QUILL AVE S", &["Quill Avenue South", "QUILL AV. S"]);
        assert_normalised("GRAND OTTER PLZ", &["Grand Otter Plaza"]);
        assert_normalised("ST OTTOS PL", &["Saint Otto's Place", "ST. OTTO’S PL"]);
        assert_normalised("NW OTTER ST", &["N.W. Otter St", "Northwest Otter Street"]);
        assert_normalised("OTTER PARK W", &["Otter Park West"]);
    }

    #[test]
    fn a_direction_or_type_that_is_the_name_survives() {
        assert_normalised("AVE A", &["Avenue A", "AVE A"]);
        assert_normalised("AVE N", &["Avenue N"]);
        assert_normalised("AVE NORTH", &["Avenue North"]);
        assert_normalised("NORTH", &["North"]);
        assert_normalised("NORTH ST", &["North Street"]);
        assert_normalised("N ST", &["N Street"]);
        assert_normalised("AVE", &["Avenue"]);
        assert_normalised("NORTH AVE W", &["North Avenue West"]);
        assert_normalised("N LK AVE", &["North Lake Avenue", "N Lake Ave"]);
        assert_normalised("E NORTH ST", &["East North Street"]);
        assert_normalised("W END AVE", &["West End Avenue", "W End Ave"]);
    }

    #[test]
    fn ordinals_are_written_in_digits() {
        for (number, word) in (1..).zip(ORDINALS) {
            let written = format!("{} AVE", ordinal(number));
            let names = [format!("{word} Avenue"), format!("{number} Avenue")];
            assert_normalised(&written, &names.each_ref().map(String::as_str));
        }
        assert_normalised("5TH AVE", &["Fifth Avenue", "5 AVENUE", "5th Ave"]);
        assert_eq!(
            [1, 2, 3, 11, 12, 13, 21, 112].map(ordinal).join(" "),
            "1ST 2ND 3RD 11TH 12TH 13TH 21ST 112TH"
        );
        assert_normalised("HWY 9", &["Highway 9"]);
    }

    #[test]
    fn units_are_cut_off() {
        for unit in [
            "Apt 3",
            "apt. 3B",
            "Apt3B",
            "#3",
            "# 3",
            ", 3B",
            ", Apt 3",
            "Unit 4",
            "STE 200",
            "Suite 200",
            "FL 3",
            "3rd Fl",
            "3 floor",
            "Third Floor",
            "1st Fl Rear",
            "Rm 5",
            "Room 5",
            "Bsmt",
            "PH",
            "PH2",
            "Lot 7",
            "Penthouse",
            ", New York, NY",
            "Apt 🐟",
        ] {
            assert_normalised("5TH AVE", &[&format!("5th Ave {unit}")]);
            assert_normalised("QUILLWAY", &[&format!("Quillway {unit}")]);
        }
        assert_normalised("5TH AVE", &["5th Ave#3", "5th Ave,Apt 3"]);
        assert_normalised("E 5TH", &["E 5th Fl 3", "E 5th Floor"]);
        assert_normalised("FLOOR ST", &["Floor Street"]);
        assert_normalised("POST OFFICE RD", &["Post Office Road"]);
    }

    #[test]
    fn house_numbers_are_made_comparable() {
        for (text, number) in [
            ("476", Some(476)),
            ("0012", Some(12)),
            ("12A", Some(12)),
            ("12½", Some(12)),
            ("12-A", Some(12)),
            ("12-1/2", Some(12)),
            ("37-12", Some(3712)),
            ("37-5", Some(3705)),
            ("37-05", Some(3705)),
            ("37-12A", Some(3712)),
            ("37-101", Some(37101)),
            ("", None),
            ("-", None),
            ("-5", None),
            ("+5", None),
            ("+5-05", None),
            ("A", None),
            ("5th", None),
            ("1/2", None),
            ("12A-5", None),
            ("12 1/2", None),
            ("99999999999999999999", None),
            ("١٢", None),
        ] {
            assert_eq!(house_number(text), number, "{text}");
        }
    }

    #[test]
    fn an_address_is_a_number_and_a_street() {
        for (line, number, street) in [
            ("476 5th Ave Apt 3", 476, "5TH AVE"),
            ("  476, Fifth Avenue", 476, "5TH AVE"),
            ("10 Grand Otter Plaza", 10, "GRAND OTTER PLZ"),
            ("37-12 82nd St", 3712, "82ND ST"),
            ("12 1/2 Otter Ln", 12, "OTTER LN"),
            ("12½\tOtter Ln", 12, "OTTER LN"),
            ("🏠 12A Otter Ln 🐟", 12, "OTTER LN"),
            ("#12 Otter Ln", 12, "OTTER LN"),
        ] {
            let expected = Some((number, street.to_owned()));
            assert_eq!(number_and_street(line), expected, "{line}");
        }
    }

    #[test]
    fn rubbish_is_no_address() {
        for line in [
            "",
            " ",
            "476",
            "476 ",
            "476 ,",
            "5th Ave",
            "Otter Ln 12",
            "PO Box 7",
            "🐟🐟🐟",
            "12 🐟",
            "½ Otter Ln",
            "12 1/2 ",
            ",,,",
            "#",
            "\0",
            "12 '''",
            "É\u{301} ß",
        ] {
            assert_eq!(number_and_street(line), None, "{line:?}");
        }
    }
}
