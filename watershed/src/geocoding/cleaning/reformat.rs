//! Labelled tokens as columns.
//!
//! The rules are those of the program that this one replaces, oddities included, since the census
//! tracts of earlier records were found with them:
//!
//! 1. Tokens are tagged: the labels of a street count as one group, those of the second line as
//!    another, every other label as a group of its own. Behind an intersection's `&` the labels of
//!    a street are those of a second one, and each a group of its own. A group that comes again
//!    after another is a repeated label.
//! 2. Without a repeated label each column is the tokens of its group, or empty: what the column
//!    held before is lost. The address is house number, street and second line.
//! 3. With a repeated label each column is the distinct tokens of its labels, of both streets, in
//!    the order of [`STREET`] and [`SECOND_LINE`]; a column for which there are none stays as it
//!    was (the house number and the street name, which were no columns, are empty).
//! 4. All of it is written in ASCII, and each column keeps only the characters usual in it.

use std::collections::HashSet;

use zeroize::Zeroizing;

use super::ascii::{kept_in_place, kept_in_postal_code, kept_in_street, transliterate};
use super::labels::{Label, SECOND_LINE, STREET};
use super::{Address, CleanedAddress, Personal};

/// A token and what it is.
pub(super) type Labelled<'a> = (&'a str, Label);

/// Personal text on its way to a column, wiped from memory afterwards (P6).
type Text = Zeroizing<String>;

/// Labels that are tagged as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Street,
    SecondLine,
    /// A street label behind an intersection's `&`: of the second street, and on its own.
    SecondStreet(Label),
    Single(Label),
}

/// The columns of a [prepared](super::prepare) address whose full text has these tokens.
pub(super) fn reformat(prepared: &Address, tokens: &[Labelled<'_>]) -> CleanedAddress {
    let columns = match tagged(tokens) {
        Some(groups) => Columns::from_groups(&groups),
        None => Columns::from_labels(prepared, tokens),
    };
    CleanedAddress {
        address: Personal::new(kept_in_street(&columns.address)),
        city: Personal::new(kept_in_place(&columns.city)),
        region: Personal::new(kept_in_place(&columns.region)),
        postal_code: Personal::new(kept_in_postal_code(&columns.postal_code)),
        house_number: Personal::new(transliterate(&columns.house_number)),
        street_name: Personal::new(kept_in_street(&columns.street_name)),
    }
}

/// Rule 1: the groups with their tokens, or nothing if a group is repeated.
fn tagged<'t, 'a>(tokens: &'t [Labelled<'a>]) -> Option<Vec<(Group, &'t [Labelled<'a>])>> {
    let mut behind_intersection = false;
    let groups: Vec<Group> = tokens
        .iter()
        .map(|&(_, label)| {
            behind_intersection |= label == Label::IntersectionSeparator;
            match label {
                label if STREET.contains(&label) && behind_intersection => {
                    Group::SecondStreet(label)
                }
                label if STREET.contains(&label) => Group::Street,
                label if SECOND_LINE.contains(&label) => Group::SecondLine,
                label => Group::Single(label),
            }
        })
        .collect();

    let mut tagged: Vec<(Group, &[Labelled<'_>])> = Vec::new();
    let mut start = 0;
    for run in groups.chunk_by(Group::eq) {
        if tagged.iter().any(|(group, _)| *group == run[0]) {
            return None;
        }
        tagged.push((run[0], &tokens[start..start + run.len()]));
        start += run.len();
    }
    Some(tagged)
}

/// The columns before rule 4.
struct Columns {
    address: Text,
    city: Text,
    region: Text,
    postal_code: Text,
    house_number: Text,
    street_name: Text,
}

impl Columns {
    /// Rule 2: each column is its group, and empty without one.
    fn from_groups(groups: &[(Group, &[Labelled<'_>])]) -> Columns {
        let text_of = |wanted: Group| {
            let found = groups.iter().find(|(group, _)| *group == wanted);
            let tokens = found.map_or(&[][..], |(_, tokens)| tokens);
            let joined = joined(tokens.iter().map(|(token, _)| *token));
            Text::new(joined.trim_matches([' ', ',', ';']).to_owned())
        };
        let house_number = text_of(Group::Single(Label::AddressNumber));
        let street_name = text_of(Group::Street);
        Columns {
            address: address(&house_number, &street_name, &text_of(Group::SecondLine)),
            city: text_of(Group::Single(Label::PlaceName)),
            region: text_of(Group::Single(Label::StateName)),
            postal_code: text_of(Group::Single(Label::ZipCode)),
            house_number,
            street_name,
        }
    }

    /// Rule 3: each column is the distinct tokens of its labels, and stays as it was without any.
    fn from_labels(prepared: &Address, tokens: &[Labelled<'_>]) -> Columns {
        let text_of = |wanted: Label| {
            let of_label = tokens.iter().filter(|(_, label)| *label == wanted);
            joined(distinct(of_label.map(|(token, _)| *token)))
        };
        let text_of_all = |labels: &[Label]| {
            let pieces: Vec<Text> = labels.iter().map(|&label| text_of(label)).collect();
            let pieces = pieces.iter().map(|piece| piece.as_str());
            joined(distinct(pieces.filter(|piece| !piece.is_empty())))
        };
        let house_number = text_of(Label::AddressNumber);
        let street_name = text_of_all(&STREET);
        let address = address(&house_number, &street_name, &text_of_all(&SECOND_LINE));
        Columns {
            address: or_column(address, &prepared.street),
            city: or_column(text_of(Label::PlaceName), &prepared.city),
            region: or_column(text_of(Label::StateName), &prepared.region),
            postal_code: or_column(text_of(Label::ZipCode), &prepared.postal_code),
            house_number,
            street_name,
        }
    }
}

/// An empty part in the middle leaves two blanks.
fn address(house_number: &str, street: &str, second_line: &str) -> Text {
    let address = joined([house_number, street, second_line]);
    Text::new(address.trim_matches(' ').to_owned())
}

fn or_column(text: Text, column: &Personal<String>) -> Text {
    if text.is_empty() {
        return Text::new(column.for_geocoder().to_owned());
    }
    text
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut seen = HashSet::new();
    texts.filter(move |text| seen.insert(*text))
}

fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> Text {
    let mut joined = Text::default();
    for (i, text) in texts.into_iter().enumerate() {
        if i > 0 {
            joined.push(' ');
        }
        joined.push_str(text);
    }
    joined
}
