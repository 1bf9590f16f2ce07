//! Where each mode stands, and how the state document says so.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use watershed::error::{Error, Remedy, Result};
use watershed::pipeline::Cursor;
use watershed::privacy::{Personal, Seal};
use watershed::state::Members;
use watershed::time::{format_instant, parse_date, parse_instant};

/// How a mode's cursor is written in the state.
pub(super) struct Notation {
    /// Member with the instant, as the old program has it: `creation_dt`.
    pub at: &'static str,
    /// Member with the tie-break that belongs to it: `creation_after`.
    pub after: &'static str,
    pub zone: TimeZone,
    pub seal: Arc<Seal>,
}

/// The last patron of a page by time of creation or update, and among those of one instant by id.
#[derive(Clone)]
pub(super) struct ChangeCursor {
    pub at: Timestamp,
    pub id: Personal<i64>,
    notation: Arc<Notation>,
}

impl ChangeCursor {
    /// Before every patron of this instant: what an inclusive bound was to the old program.
    pub fn before(at: Timestamp, notation: &Arc<Notation>) -> ChangeCursor {
        ChangeCursor::new(at, Personal::new(i64::MIN), notation)
    }

    pub fn new(at: Timestamp, id: Personal<i64>, notation: &Arc<Notation>) -> ChangeCursor {
        ChangeCursor {
            at,
            id,
            notation: notation.clone(),
        }
    }

    /// Behind the patron of this place in the source.
    pub fn behind(&self, at: Timestamp, id: Personal<i64>) -> ChangeCursor {
        ChangeCursor::new(at, id, &self.notation)
    }

    /// Reads the cursor from the state; `start` is where to begin when the state lacks it.
    pub fn read(
        members: &Members,
        notation: &Arc<Notation>,
        start: Option<Timestamp>,
    ) -> Result<ChangeCursor> {
        let instant = |text: &str| parse_instant(text, &notation.zone);
        let Some(text) = text_member(members, notation.at)? else {
            let start = start.ok_or_else(|| missing(notation.at))?;
            return Ok(ChangeCursor::before(start, notation));
        };
        let at = instant(text).ok_or_else(|| unfit(notation.at, "a point in time"))?;
        let inclusive = ChangeCursor::before(at, notation);
        let expected = "an object with the texts dt and id";
        let (dt, id) = match members.get(notation.after) {
            None | Some(Json::Null) => return Ok(inclusive),
            Some(Json::Object(after)) => (after.get("dt"), after.get("id")),
            Some(_) => return Err(unfit(notation.after, expected)),
        };
        let (Some(Json::String(dt)), Some(id)) = (dt, id) else {
            return Err(unfit(notation.after, expected));
        };
        // The tie-break counts only while it belongs to the instant beside it: after a hand edit,
        // or a while back on the old program, the bound is inclusive again.
        if instant(dt) != Some(at) {
            return Ok(inclusive);
        }
        let id = match id {
            Json::String(sealed) => notation.seal.open(sealed, dt),
            Json::Number(number) => number.as_i64().map(Personal::new),
            _ => return Err(unfit(notation.after, expected)),
        };
        match id {
            Some(id) => Ok(ChangeCursor::new(at, id, notation)),
            None => {
                tracing::warn!(
                    "{}: the tie-break was sealed with another salt; patrons of that instant are sent again",
                    notation.after
                );
                Ok(inclusive)
            }
        }
    }
}

impl Cursor for ChangeCursor {
    fn write(&self, members: &mut Members) {
        let at = format_instant(self.at, &self.notation.zone);
        let id = self.notation.seal.seal(&self.id, &at);
        members.insert(self.notation.after.into(), json!({"dt": at, "id": id}));
        members.insert(self.notation.at.into(), at.into());
    }
}

impl Ord for ChangeCursor {
    fn cmp(&self, other: &ChangeCursor) -> Ordering {
        (self.at, &self.id).cmp(&(other.at, &other.id))
    }
}

impl PartialOrd for ChangeCursor {
    fn partial_cmp(&self, other: &ChangeCursor) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ChangeCursor {
    fn eq(&self, other: &ChangeCursor) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ChangeCursor {}

/// The last deleted patron of a page by date, and among those of one date by id. The state holds
/// the date alone, because ids do not follow the order of deletion: a new run begins with the
/// whole date again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeletionCursor {
    pub date: Date,
    pub id: Personal<i64>,
}

const DELETION_DATE: &str = "deletion_date";

impl DeletionCursor {
    /// Reads the cursor from the state; `start` is where to begin when the state lacks it.
    pub fn read(members: &Members, start: Option<Date>) -> Result<DeletionCursor> {
        let date = match text_member(members, DELETION_DATE)? {
            // An instant is taken, too: a person may have written one.
            Some(text) => text
                .get(..10)
                .and_then(parse_date)
                .ok_or_else(|| unfit(DELETION_DATE, "a date"))?,
            None => start.ok_or_else(|| missing(DELETION_DATE))?,
        };
        Ok(DeletionCursor {
            date,
            id: Personal::new(i64::MIN),
        })
    }
}

impl Cursor for DeletionCursor {
    fn write(&self, members: &mut Members) {
        members.insert(DELETION_DATE.into(), self.date.to_string().into());
    }
}

fn text_member<'a>(members: &'a Members, name: &str) -> Result<Option<&'a str>> {
    match members.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(unfit(name, "a text")),
    }
}

fn missing(member: &str) -> Error {
    Error::new(Remedy::FixSettings, format!("reading the state: it has no member {member}"))
        .with_hint(format!("set it with `watershed state set patron-info {member}=…`, or begin at the start settings with `--start`"))
}

fn unfit(member: &str, expected: &str) -> Error {
    Error::new(
        Remedy::FixData,
        format!("reading the state: its member {member} is not {expected}"),
    )
    .with_hint(format!(
        "mend it with `watershed state set patron-info {member}=…`"
    ))
}
