//! What was asked for in vain, so that a site which never answers does not use up the requests of
//! those that do. It is the member `recovery` of the state:
//!
//! ```json
//! "recovery": {
//!   "requests": {"on": "2024-07-01", "made": 57},
//!   "in_vain": {"2024-06-10": {"aa 01": {"tries": 4, "passed": 1, "last": "no answer"}}}
//! }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use watershed::state::Members;

use super::plan::{SiteDay, Window};

const MEMBER: &str = "recovery";

/// So many tries in vain are no sign yet that the next one will be, too.
const TRIES: u32 = 3;

/// From then on it is asked for every third run: so many runs in between pass it by.
const PASSES: u32 = 2;

/// Tries of the sites and days in the window that have brought nothing since they last did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Requests>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    in_vain: BTreeMap<Date, BTreeMap<String, Tries>>,
}

/// Requests of one day in all runs, against `DAILY_REQUEST_LIMIT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Requests {
    on: Date,
    made: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    tries: u32,
    /// Runs that have passed it by since the last try.
    #[serde(default, skip_serializing_if = "is_zero")]
    passed: u32,
    last: Fruitless,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why a try was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fruitless {
    /// ShopperTrak had nothing to say that could be used.
    #[serde(rename = "no answer")]
    NoAnswer,
    /// Its answer changed nothing.
    #[serde(rename = "nothing new")]
    NothingNew,
    /// What it answered was set aside.
    #[serde(rename = "set aside")]
    SetAside,
}

impl Ledger {
    /// Reads the state's member. All it does is to spare requests, so that one which cannot be read
    /// is begun anew.
    pub fn read(members: &Members) -> Ledger {
        let Some(member) = members.get(MEMBER) else {
            return Ledger::default();
        };
        Ledger::deserialize(member).unwrap_or_else(|cause| {
            tracing::warn!(
                "the state's member {MEMBER} cannot be read, and is begun anew: {cause}"
            );
            Ledger::default()
        })
    }

    /// Writes the state's member; an empty one is none.
    pub fn write(&self, members: &mut Members) {
        if *self == Ledger::default() {
            members.shift_remove(MEMBER);
            return;
        }
        let member = serde_json::to_value(self).expect("its keys are texts");
        members.insert(MEMBER.into(), member);
    }

    /// Whether this run asks for a site and day.
    pub fn is_due(&self, at: &SiteDay, window: Window) -> bool {
        let tries = self.in_vain.get(&at.day).and_then(|day| day.get(&at.site));
        tries.is_none_or(|t| t.tries < TRIES || t.passed >= PASSES) || window.is_at_an_end(at.day)
    }

    /// Keeps what is still asked for or waits. Everything else is mended, closed, or has left the
    /// window, which bounds the ledger.
    pub fn keep<'a>(&mut self, wanted: impl Iterator<Item = &'a SiteDay>) {
        let mut of_days: BTreeMap<Date, BTreeSet<&str>> = BTreeMap::new();
        for at in wanted {
            of_days.entry(at.day).or_default().insert(&at.site);
        }
        self.in_vain.retain(|day, sites| {
            let wanted = of_days.get(day);
            sites.retain(|site, _| wanted.is_some_and(|w| w.contains(site.as_str())));
            !sites.is_empty()
        });
    }

    /// A try brought nothing.
    pub fn tried_in_vain(&mut self, at: &SiteDay, last: Fruitless) {
        let day = self.in_vain.entry(at.day).or_default();
        let tries = day.entry(at.site.clone()).or_insert(Tries {
            tries: 0,
            passed: 0,
            last,
        });
        tries.tries = tries.tries.saturating_add(1);
        tries.passed = 0;
        tries.last = last;
    }

    /// A try brought something: what is still wanted of this site and day has all its tries again.
    pub fn tried_with_success(&mut self, at: &SiteDay) {
        if let Some(day) = self.in_vain.get_mut(&at.day) {
            day.remove(&at.site);
            if day.is_empty() {
                self.in_vain.remove(&at.day);
            }
        }
    }

    /// A run passed it by.
    pub fn passed(&mut self, at: &SiteDay) {
        let day = self.in_vain.get_mut(&at.day);
        if let Some(tries) = day.and_then(|day| day.get_mut(&at.site)) {
            tries.passed = tries.passed.saturating_add(1);
        }
    }

    /// Requests made on a day so far.
    pub fn requests_on(&self, day: Date) -> u64 {
        let requests = self.requests.as_ref().filter(|requests| requests.on == day);
        requests.map_or(0, |requests| requests.made)
    }

    /// Counts requests of a day; those of other days are forgotten.
    pub fn add_requests(&mut self, on: Date, number: u64) {
        let made = self.requests_on(on) + number;
        self.requests = Some(Requests { on, made });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn at(day: &str, site: &str) -> SiteDay {
        let (day, site) = (date(day), site.to_owned());
        SiteDay { day, site }
    }

    fn june() -> Window {
        Window::new(date("2024-07-01"), date("2024-06-30"))
    }

    /// Runs that ask for a site and day, `#`, and runs that do not, `.`, when it is always in vain.
    fn runs(day: &str, number: usize) -> String {
        let (mut ledger, at) = (Ledger::default(), at(day, "aa"));
        let mut run = |_| {
            if ledger.is_due(&at, june()) {
                ledger.tried_in_vain(&at, Fruitless::NothingNew);
                '#'
            } else {
                ledger.passed(&at);
                '.'
            }
        };
        (0..number).map(&mut run).collect()
    }

    #[test]
    fn after_three_tries_in_vain_every_third_run_asks_and_at_the_ends_of_the_window_each() {
        assert_eq!(runs("2024-06-15", 12), "###..#..#..#");
        assert_eq!(runs("2024-06-03", 7), "###..#.");
        assert_eq!(runs("2024-06-28", 7), "###..#.");
        for day in ["2024-06-01", "2024-06-02", "2024-06-29", "2024-06-30"] {
            assert_eq!(runs(day, 7), "#######", "{day}");
        }
    }

    #[test]
    fn a_success_gives_all_tries_back() {
        let (mut ledger, at) = (Ledger::default(), at("2024-06-15", "aa"));
        for _ in 0..3 {
            ledger.tried_in_vain(&at, Fruitless::NoAnswer);
        }
        assert!(!ledger.is_due(&at, june()));
        ledger.tried_with_success(&at);
        assert_eq!(ledger, Ledger::default());
    }

    #[test]
    fn it_is_bounded_by_what_is_wanted() {
        let mut ledger = Ledger::default();
        let (kept, mended) = (at("2024-06-15", "aa"), at("2024-06-15", "ab"));
        let left = at("2024-05-31", "aa");
        for at in [&kept, &mended, &left] {
            ledger.tried_in_vain(at, Fruitless::NoAnswer);
        }
        ledger.keep([&kept].into_iter());
        let mut expected = Ledger::default();
        expected.tried_in_vain(&kept, Fruitless::NoAnswer);
        assert_eq!(ledger, expected);
    }

    #[test]
    fn the_state_holds_it_beside_what_is_not_ours() {
        let mut ledger = Ledger::default();
        ledger.tried_in_vain(&at("2024-06-15", "aa"), Fruitless::NoAnswer);
        ledger.passed(&at("2024-06-15", "aa"));
        ledger.add_requests(date("2024-07-01"), 7);
        let mut members = Members::new();
        members.insert("last_poll_date".into(), "2024-06-30".into());
        ledger.write(&mut members);
        let expected = json!({
            "last_poll_date": "2024-06-30",
            "recovery": {
                "requests": {"on": "2024-07-01", "made": 7},
                "in_vain": {"2024-06-15": {"aa": {"tries": 1, "passed": 1, "last": "no answer"}}},
            },
        });
        assert_eq!(json!(members), expected);
        assert_eq!(Ledger::read(&members), ledger);
        Ledger::default().write(&mut members);
        assert_eq!(json!(members), json!({"last_poll_date": "2024-06-30"}));
    }

    #[test]
    fn one_that_cannot_be_read_is_begun_anew() {
        for member in [
            json!(null),
            json!([]),
            json!("x"),
            json!({"in_vain": {"soon": {}}}),
            json!({"in_vain": {"2024-06-15": {"aa": {"tries": -1, "last": "no answer"}}}}),
        ] {
            let members = [("recovery".to_owned(), member)].into_iter().collect();
            assert_eq!(Ledger::read(&members), Ledger::default());
        }
    }

    #[test]
    fn requests_count_for_their_day() {
        let mut ledger = Ledger::default();
        ledger.add_requests(date("2024-06-30"), 5);
        ledger.add_requests(date("2024-06-30"), 2);
        assert_eq!(ledger.requests_on(date("2024-06-30")), 7);
        assert_eq!(ledger.requests_on(date("2024-07-01")), 0);
        ledger.add_requests(date("2024-07-01"), 1);
        assert_eq!(ledger.requests_on(date("2024-07-01")), 1);
    }
}
