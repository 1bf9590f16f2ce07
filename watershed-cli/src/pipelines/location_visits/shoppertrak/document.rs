//! An answer of ShopperTrak, read as it comes and judged when it has come whole.
//!
//! A day of all sites may be 60 MB of XML: neither the text nor a tree of it is ever held. What is
//! kept of an increment is 56 bytes; its site's id is shared.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use quick_xml::Reader;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use serde_json::json;
use watershed::pipeline::DeadLetter;

use super::super::visit::Visit;
use super::values::{Number, date, number, orbit, time};

/// An increment, or why it is set aside.
pub(in super::super) type Reading = Result<Visit, Box<DeadLetter>>;

/// Increments of one reason that are kept to be set aside, hundreds of bytes each. More are more
/// than a tenth of any day, whose 60 MB are 768,000 increments, and more than a tenth is refused.
pub(super) const KEPT: u64 = 100_000;

/// What an answer says. None of it may be used before all of it is judged.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Text of the root's first child `error`; blank when that is empty.
    pub error: Option<String>,
    /// Whether there is an element `traffic` anywhere.
    pub has_traffic: bool,
    /// A date that it is about and that was not asked for.
    pub other_date: Option<Date>,
    /// In the order of the document; without malformed ones beyond [`KEPT`].
    pub readings: Vec<Reading>,
    /// How many increments there are.
    pub increments: u64,
    /// How many of them are malformed, by reason.
    pub malformed: Vec<(&'static str, u64)>,
    pub oddities: Oddities,
}

impl Document {
    fn count_malformed(&mut self, reason: &'static str) -> u64 {
        let known = self
            .malformed
            .iter()
            .position(|(other, _)| *other == reason);
        let place = known.unwrap_or_else(|| {
            self.malformed.push((reason, 0));
            self.malformed.len() - 1
        });
        let number = &mut self.malformed[place].1;
        *number += 1;
        *number
    }
}

/// Why a text is no XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotXml(String);

impl fmt::Display for NotXml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for NotXml {
    fn from(error: E) -> NotXml {
        NotXml(error.to_string())
    }
}

fn not_xml(why: &str) -> NotXml {
    NotXml(why.to_owned())
}

/// What deserves a warning: how often, and where first.
#[derive(Debug, Default)]
pub(super) struct Oddities(Vec<(&'static str, u64, String)>);

impl Oddities {
    fn note(&mut self, what: &'static str, place: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, number, _)) => *number += 1,
            None => self.0.push((what, 1, place())),
        }
    }

    /// One line a kind.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(what, number, first)| format!("{number} {what}, the first at {first}"))
    }
}

/// The elements on the way to an increment; the root may have any name.
const PATH: [&str; 5] = ["", "site", "date", "entrance", "traffic"];

/// Reads an answer about `day`. In the older service's answers an entrance may have its `name`
/// under that name.
pub(super) fn read(answer: impl BufRead, day: Date, older: bool) -> Result<Document, NotXml> {
    let mut reader = Reader::from_reader(answer);
    reader.config_mut().check_comments = true;
    let mut walk = Walk::new(day, older);
    let mut buffer = Vec::new();
    let mut first = true;
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer)? {
            Event::Start(element) => walk.open(&element)?,
            Event::Empty(element) => {
                walk.open(&element)?;
                walk.close();
            }
            Event::End(_) => walk.close(),
            Event::Text(text) => walk.text(&text)?,
            Event::CData(text) => walk.text(&text)?,
            Event::GeneralRef(reference) => {
                let text = quick_xml::escape::unescape(&format!("&{};", &*reference))?.into_owned();
                walk.text(&text)?;
            }
            Event::Decl(_) if !first => {
                return Err(not_xml("something stands before the XML declaration"));
            }
            Event::DocType(_) if walk.has_root => {
                return Err(not_xml("a document type stands behind the root"));
            }
            Event::Decl(_) | Event::DocType(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
        first = false;
    }
    walk.end()
}

/// Where the reader is in the document.
struct Walk {
    day: Date,
    older: bool,
    document: Document,
    has_root: bool,
    /// Elements that are open.
    depth: usize,
    /// Of these, how many from the root on are those of [`PATH`].
    on_path: usize,
    /// Whether the text at hand is that of the element `error`.
    in_error: bool,
    site: Option<Arc<str>>,
    /// Nothing when it is missing or malformed.
    date: Option<Date>,
    entrance: String,
    orbit: Number,
    seen: SeenTimes,
}

/// The attributes of an element `traffic`.
#[derive(Default)]
struct Traffic<'a> {
    code: Option<Cow<'a, str>>,
    enters: Option<Cow<'a, str>>,
    exits: Option<Cow<'a, str>>,
    start: Option<Cow<'a, str>>,
}

impl Walk {
    fn new(day: Date, older: bool) -> Walk {
        Walk {
            day,
            older,
            document: Document::default(),
            has_root: false,
            depth: 0,
            on_path: 0,
            in_error: false,
            site: None,
            date: None,
            entrance: String::new(),
            orbit: Number::IsNot,
            seen: SeenTimes::default(),
        }
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), NotXml> {
        let name = element.name();
        let name = name.as_ref();
        let level = self.depth;
        if level == 0 && std::mem::replace(&mut self.has_root, true) {
            return Err(not_xml("it has more than one root"));
        }
        self.document.has_traffic |= name == "traffic";
        // Of an element's text what stands before its first child counts.
        self.in_error = level == 1 && name == "error" && self.document.error.is_none();
        if self.in_error {
            self.document.error = Some(String::new());
        }
        let is_next = level == 0 || PATH.get(level) == Some(&name);
        if self.on_path == level && is_next {
            self.on_path += 1;
            match level {
                1 => self.open_site(element)?,
                2 => self.open_date(element)?,
                3 => self.open_entrance(element)?,
                4 => self.open_traffic(element)?,
                _ => well_formed(element)?,
            }
        } else {
            well_formed(element)?;
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) {
        // The reader has checked that there is one to close.
        self.depth -= 1;
        self.on_path = self.on_path.min(self.depth);
        self.in_error = false;
    }

    fn text(&mut self, text: &str) -> Result<(), NotXml> {
        if self.depth == 0 && !text.chars().all(char::is_whitespace) {
            return Err(not_xml("text stands outside of the root"));
        }
        if self.in_error
            && let Some(error) = &mut self.document.error
        {
            error.push_str(text);
        }
        Ok(())
    }

    fn end(self) -> Result<Document, NotXml> {
        if !self.has_root {
            return Err(not_xml("it is empty"));
        }
        if self.depth > 0 {
            return Err(not_xml("it ends before its root does"));
        }
        Ok(self.document)
    }

    fn open_site(&mut self, element: &BytesStart<'_>) -> Result<(), NotXml> {
        let [id] = values(element, ["siteID"])?;
        let id = id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        self.site = id.map(Arc::from);
        if self.site.is_none() {
            let place = || "the top".to_owned();
            self.document.oddities.note("sites without an id", place);
        }
        Ok(())
    }

    fn open_date(&mut self, element: &BytesStart<'_>) -> Result<(), NotXml> {
        let [value] = values(element, ["dateValue"])?;
        self.date = value.as_deref().and_then(date);
        if let Some(other) = self.date.filter(|date| *date != self.day) {
            self.document.other_date.get_or_insert(other);
        }
        Ok(())
    }

    fn open_entrance(&mut self, element: &BytesStart<'_>) -> Result<(), NotXml> {
        let [name, older_name] = values(element, ["entranceName", "name"])?;
        let name = name.or(older_name.filter(|_| self.older));
        self.entrance.clear();
        self.entrance.push_str(name.as_deref().unwrap_or_default());
        self.orbit = orbit(&self.entrance);
        self.seen.clear();
        if self.orbit == Number::IsNot {
            let place = self.place();
            let what = "entrances without an orbit";
            self.document.oddities.note(what, || place);
        }
        Ok(())
    }

    fn open_traffic(&mut self, element: &BytesStart<'_>) -> Result<(), NotXml> {
        let traffic = Traffic::read(element)?;
        self.document.increments += 1;
        let reading = match self.visit(&traffic) {
            Ok(visit) => Ok(visit),
            Err(reason) if self.document.count_malformed(reason) > KEPT => return Ok(()),
            Err(reason) => Err(Box::new(self.dead_letter(&traffic, reason))),
        };
        self.document.readings.push(reading);
        Ok(())
    }

    /// The visit, or why it is set aside.
    fn visit(&mut self, traffic: &Traffic<'_>) -> Result<Visit, &'static str> {
        let date = self.date.ok_or("dateValue: expected YYYYMMDD")?;
        let start = traffic.start.as_deref().and_then(time);
        let start = start.ok_or("startTime: expected HHMMSS")?;
        let count = |text: &Option<Cow<'_, str>>| number(text.as_deref().unwrap_or_default());
        let (enters, exits) = (count(&traffic.enters), count(&traffic.exits));
        for (number, reason) in [
            (enters, "enters: expected a whole number of 32 bits"),
            (exits, "exits: expected a whole number of 32 bits"),
            (self.orbit, "entranceName: expected an orbit of 32 bits"),
        ] {
            if number == Number::TooLarge {
                return Err(reason);
            }
        }
        let code = traffic.code.as_deref().unwrap_or_default().trim();
        for (is_odd, what) in [
            (!matches!(code, "01" | "02"), "increments of unknown code"),
            (enters == Number::IsNot, "increments without enters"),
            (exits == Number::IsNot, "increments without exits"),
            (self.seen.add(start), "start times that came before"),
        ] {
            if is_odd {
                let place = || position(&self.site, &self.entrance, self.date, traffic);
                self.document.oddities.note(what, place);
            }
        }
        Ok(Visit {
            site: self.site.clone(),
            orbit: self.orbit.known(),
            start: date.to_datetime(start),
            enters: enters.known(),
            exits: exits.known(),
            healthy: code == "01",
            missing: false,
        })
    }

    /// P3: what cannot be placed is kept with what it says. It holds nothing personal.
    fn dead_letter(&self, traffic: &Traffic<'_>, reason: &str) -> DeadLetter {
        let record = json!({
            "code": traffic.code,
            "enters": traffic.enters,
            "exits": traffic.exits,
            "startTime": traffic.start,
        });
        DeadLetter {
            key: self.site.as_deref().map(str::to_owned),
            position: position(&self.site, &self.entrance, self.date, traffic),
            reason: reason.to_owned(),
            record: Some(record),
        }
    }

    fn place(&self) -> String {
        position(&self.site, &self.entrance, self.date, &Traffic::default())
    }
}

fn position(
    site: &Option<Arc<str>>,
    entrance: &str,
    date: Option<Date>,
    traffic: &Traffic<'_>,
) -> String {
    let site = site.as_deref().unwrap_or("without id");
    let date = date.map_or_else(|| "no date".to_owned(), |date| date.to_string());
    let start = traffic.start.as_deref().unwrap_or_default().trim();
    format!("site {site}, entrance {}, {date} {start}", entrance.trim())
        .trim_end()
        .to_owned()
}

impl<'a> Traffic<'a> {
    fn read(element: &'a BytesStart<'_>) -> Result<Traffic<'a>, NotXml> {
        let mut traffic = Traffic::default();
        // The library's own check of doubles would allocate for every increment.
        for attribute in element.attributes().with_checks(false) {
            let attribute = attribute?;
            let value = value(&attribute)?;
            let place = match attribute.key.as_ref() {
                "code" => &mut traffic.code,
                "enters" => &mut traffic.enters,
                "exits" => &mut traffic.exits,
                "startTime" => &mut traffic.start,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(not_xml("an attribute stands there twice"));
            }
        }
        Ok(traffic)
    }
}

/// The values of the attributes with these names.
fn values<'a, const N: usize>(
    element: &'a BytesStart<'_>,
    names: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], NotXml> {
    let mut values = [const { None }; N];
    for attribute in element.attributes() {
        let attribute = attribute?;
        let value = value(&attribute)?;
        if let Some(place) = names
            .iter()
            .position(|name| *name == attribute.key.as_ref())
        {
            values[place] = Some(value);
        }
    }
    Ok(values)
}

fn well_formed(element: &BytesStart<'_>) -> Result<(), NotXml> {
    values(element, []).map(|_| ())
}

fn value<'a>(attribute: &Attribute<'a>) -> Result<Cow<'a, str>, NotXml> {
    let bytes = attribute.value.as_bytes();
    if bytes.contains(&b'<') {
        return Err(not_xml("an attribute holds a <"));
    }
    if bytes.contains(&b'&') {
        return Ok(quick_xml::escape::unescape(&attribute.value)?
            .into_owned()
            .into());
    }
    Ok(attribute.value.clone())
}

/// The start times of one entrance, a bit a second.
struct SeenTimes {
    bits: Box<[u64]>,
    any: bool,
}

impl Default for SeenTimes {
    fn default() -> SeenTimes {
        SeenTimes {
            bits: vec![0; 86_400usize.div_ceil(64)].into(),
            any: false,
        }
    }
}

impl SeenTimes {
    fn clear(&mut self) {
        if std::mem::take(&mut self.any) {
            self.bits.fill(0);
        }
    }

    /// Adds a time; whether it was there before.
    fn add(&mut self, at: Time) -> bool {
        let hours_and_minutes = at.hour() as usize * 60 + at.minute() as usize;
        let second = hours_and_minutes * 60 + at.second() as usize;
        let (place, bit) = (second / 64, 1 << (second % 64));
        let was_there = self.bits[place] & bit != 0;
        self.bits[place] |= bit;
        self.any = true;
        was_there
    }
}
