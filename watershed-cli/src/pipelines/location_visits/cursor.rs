//! Where the pipeline stands, and how the state document says so.

use jiff::civil::Date;
use serde_json::Value as Json;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::pipeline::Cursor;
use watershed::state::Members;
use watershed::time::parse_date;

/// The last day whose visits are delivered. The member is that of the old program, so that either
/// goes on where the other stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LastPollDate(pub Date);

pub(super) const LAST: &str = "last_poll_date";

impl LastPollDate {
    /// Reads the cursor from the state; nothing when it has none.
    pub fn read(members: &Members) -> Result<Option<LastPollDate>> {
        let date = match members.get(LAST) {
            None | Some(Json::Null) => return Ok(None),
            Some(member) => member.as_str().and_then(parse_date),
        };
        let date = date.ok_or_else(|| {
            let what = format!("reading the state: its member {LAST} is no date");
            Error::new(Remedy::FixData, what)
                .with_hint("set it with `watershed state set location-visits last_poll_date=…`")
        })?;
        Ok(Some(LastPollDate(date)))
    }

    /// The day behind it.
    pub fn next_day(self) -> Result<Date> {
        let what = || format!("looking for the day behind {}", self.0);
        self.0.tomorrow().or_fail(Remedy::FixData, what)
    }
}

impl Cursor for LastPollDate {
    fn write(&self, members: &mut Members) {
        members.insert(LAST.into(), self.0.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_state_is_that_of_the_old_program() {
        let read = |member: Json| {
            let members = Members::from_iter([(LAST.to_owned(), member)]);
            LastPollDate::read(&members)
        };
        let cursor = read(json!("2024-03-30")).unwrap().unwrap();
        assert_eq!(cursor.next_day().unwrap().to_string(), "2024-03-31");
        let mut written = Members::new();
        cursor.write(&mut written);
        assert_eq!(
            Json::Object(written),
            json!({"last_poll_date": "2024-03-30"})
        );

        assert_eq!(read(Json::Null).unwrap(), None);
        for faulty in [json!("2024-02-30"), json!("yesterday"), json!(20240330)] {
            let error = read(faulty.clone()).unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixData, "{faulty}");
        }
    }
}
