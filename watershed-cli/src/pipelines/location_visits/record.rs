use jiff::civil::DateTime;
use serde_json::Value as Json;
use watershed::error::Result;
use watershed::formats::avro::{Encoder, Encoding, Field, Record, Unfit};

use super::visit::Visit;

/// Which of the two records a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    Current,
    /// That of the first program, which knew no hours.
    Older,
}

/// A visit, and what a record says beside it.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub visit: &'a Visit,
    /// The day of the run.
    pub poll_date: &'a str,
    /// Whether it was asked for again after the day of its poll.
    pub recovered: bool,
}

/// The record of the current schema.
struct LocationVisit<'a>(Sent<'a>, Start);

/// The record of the older schema.
struct OlderLocationVisit<'a>(Sent<'a>, Start);

impl Record for LocationVisit<'_> {
    const FIELDS: &'static [&'static str] = &[
        "shoppertrak_site_id",
        "orbit",
        "increment_start",
        "enters",
        "exits",
        "is_healthy_data",
        "is_missing_data",
        "is_fresh",
        "poll_date",
    ];

    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        let LocationVisit(Sent { visit, .. }, start) = self;
        vec![
            visit.site.as_deref().into(),
            visit.orbit.into(),
            Field::Text(start.as_str()),
            visit.enters.into(),
            visit.exits.into(),
            Field::Boolean(visit.healthy),
            Field::Boolean(visit.missing),
            Field::Boolean(true),
            Field::Text(self.0.poll_date),
        ]
    }
}

impl Record for OlderLocationVisit<'_> {
    const FIELDS: &'static [&'static str] = &[
        "shoppertrak_site_id",
        "orbit",
        "increment_start",
        "enters",
        "exits",
        "is_healthy_orbit",
        "is_recovery_data",
        "poll_date",
    ];

    const NEWER: &'static [&'static str] = &[];

    fn values(&self) -> Vec<Field<'_>> {
        let OlderLocationVisit(Sent { visit, .. }, start) = self;
        vec![
            visit.site.as_deref().into(),
            visit.orbit.into(),
            Field::Text(start.as_str()),
            visit.enters.into(),
            visit.exits.into(),
            Field::Boolean(visit.healthy),
            Field::Boolean(self.0.recovered),
            Field::Text(self.0.poll_date),
        ]
    }
}

impl Generation {
    /// Holds a schema against the record that it describes; `place` is where it came from.
    pub fn encoder(schema: &str, place: &str) -> Result<(Encoder, Generation)> {
        // A text that is no schema is told by the encoder.
        let json: Json = serde_json::from_str(schema).unwrap_or_default();
        let fields = json["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |name: &str| fields.iter().any(|field| field["name"] == name);
        if has("is_healthy_orbit") && has("is_recovery_data") {
            let encoder = Encoder::new::<OlderLocationVisit<'_>>(schema, place)?;
            return Ok((encoder, Generation::Older));
        }
        let encoder = Encoder::new::<LocationVisit<'_>>(schema, place)?;
        Ok((encoder, Generation::Current))
    }

    /// Whether the kinds of the visit's values are those that the schema expects.
    pub fn check(self, encoder: &Encoder, sent: Sent<'_>) -> Result<(), Unfit> {
        match self {
            Generation::Current => encoder.check(&LocationVisit(sent, self.start(sent))),
            Generation::Older => encoder.check(&OlderLocationVisit(sent, self.start(sent))),
        }
    }

    /// The visit's bare datum.
    pub fn encode(self, encoding: &mut Encoding<'_>, sent: Sent<'_>) -> Result<Vec<u8>, Unfit> {
        match self {
            Generation::Current => encoding.encode(&LocationVisit(sent, self.start(sent))),
            Generation::Older => encoding.encode(&OlderLocationVisit(sent, self.start(sent))),
        }
    }

    /// The record as JSON.
    pub fn json(self, sent: Sent<'_>) -> Json {
        match self {
            Generation::Current => LocationVisit(sent, self.start(sent)).to_json(),
            Generation::Older => OlderLocationVisit(sent, self.start(sent)).to_json(),
        }
    }

    fn start(self, sent: Sent<'_>) -> Start {
        match self {
            Generation::Current => Start::new(sent.visit.start, b' '),
            Generation::Older => Start::new(sent.visit.start, b'T'),
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS`, made without allocating.
struct Start([u8; 19]);

impl Start {
    fn new(at: DateTime, between: u8) -> Start {
        let mut text = *b"0000-00-00 00:00:00";
        text[10] = between;
        // ShopperTrak's dates have four digits of the year.
        let year = at.year().unsigned_abs();
        for (place, number) in [
            (0, (year / 100) as u8),
            (2, (year % 100) as u8),
            (5, at.month().unsigned_abs()),
            (8, at.day().unsigned_abs()),
            (11, at.hour().unsigned_abs()),
            (14, at.minute().unsigned_abs()),
            (17, at.second().unsigned_abs()),
        ] {
            text[place] += number / 10;
            text[place + 1] += number % 10;
        }
        Start(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use serde_json::json;

    const SCHEMA: &str = include_str!("LocationVisits.avsc");

    fn visit() -> Visit {
        Visit {
            site: Some("aa".into()),
            orbit: Some(1),
            start: date(2024, 3, 29).at(9, 45, 0, 0),
            enters: Some(0),
            exits: None,
            healthy: false,
            missing: true,
        }
    }

    fn sent(visit: &Visit) -> Sent<'_> {
        Sent {
            visit,
            poll_date: "2024-04-02",
            recovered: true,
        }
    }

    #[test]
    fn a_start_is_digits() {
        for (at, text) in [
            (date(2024, 12, 31).at(23, 59, 58, 0), "2024-12-31 23:59:58"),
            (date(33, 1, 2).at(3, 4, 5, 0), "0033-01-02 03:04:05"),
        ] {
            assert_eq!(Start::new(at, b' ').as_str(), text);
        }
    }

    #[test]
    fn the_current_schema_has_missing_and_fresh_data() {
        let (encoder, generation) = Generation::encoder(SCHEMA, "here").unwrap();
        assert_eq!(generation, Generation::Current);
        let visit = visit();
        assert!(generation.check(&encoder, sent(&visit)).is_ok());
        assert_eq!(
            generation.json(sent(&visit)),
            json!({
                "shoppertrak_site_id": "aa", "orbit": 1, "increment_start": "2024-03-29 09:45:00",
                "enters": 0, "exits": null, "is_healthy_data": false, "is_missing_data": true,
                "is_fresh": true, "poll_date": "2024-04-02"
            })
        );
    }

    #[test]
    fn the_older_schema_tells_a_recovery_instead() {
        let mut schema: Json = serde_json::from_str(SCHEMA).unwrap();
        let fields = schema["fields"].as_array_mut().unwrap();
        fields[5]["name"] = "is_healthy_orbit".into();
        fields[6]["name"] = "is_recovery_data".into();
        fields.remove(7);
        let (encoder, generation) = Generation::encoder(&schema.to_string(), "here").unwrap();
        assert_eq!(generation, Generation::Older);
        let visit = visit();
        assert!(generation.check(&encoder, sent(&visit)).is_ok());
        assert_eq!(
            generation.json(sent(&visit)),
            json!({
                "shoppertrak_site_id": "aa", "orbit": 1, "increment_start": "2024-03-29T09:45:00",
                "enters": 0, "exits": null, "is_healthy_orbit": false, "is_recovery_data": true,
                "poll_date": "2024-04-02"
            })
        );
        // Half of it is a schema of neither.
        fields_of(&mut schema).remove(6);
        assert!(Generation::encoder(&schema.to_string(), "here").is_err());
    }

    fn fields_of(schema: &mut Json) -> &mut Vec<Json> {
        schema["fields"].as_array_mut().unwrap()
    }
}
