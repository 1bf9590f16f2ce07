//! What the runs before have tried. It is the member `recovery` of the state:
//!
//! ```json
//! "recovery": {
//!   "today": {"on": "2024-07-01", "requests": 57, "polled_behind": "2024-06-29", "sent": {"2024-06-18": ["dd"]}},
//!   "in_vain": {"2024-06-10": {"aa 01": {"tries": 4, "passed": 1, "last": "no answer"}}}
//! }
//! ```
//!
//! A site that is asked for in vain again and again waits, so that it does not use up the requests
//! of those that answer. And what was sent on this day may not be in the table yet: a second run
//! must not take it for missing, and send it again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use watershed::state::Members;

use super::plan::{SiteDay, Window};

/// Its name in the state.
pub const MEMBER: &str = "recovery";

/// So many tries in vain are no sign yet that the next one will be, too.
const TRIES: u32 = 3;

/// From then on it is asked for every third run: so many runs in between pass it by.
const PASSES: u64 = 2;

/// The ledger. Its tries are those that have brought nothing since one last did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    #[serde(skip_serializing_if = "Option::is_none")]
    today: Option<Today>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    in_vain: BTreeMap<Date, BTreeMap<String, Tries>>,
}

/// What all runs of one day have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Today {
    on: Date,
    /// Requests, against `DAILY_REQUEST_LIMIT`.
    #[serde(default, skip_serializing_if = "is_zero")]
    requests: u64,
    /// The days behind this one were polled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    polled_behind: Option<Date>,
    /// Missing sites and days that something was sent of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sent: BTreeMap<Date, BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    tries: u32,
    /// Runs that have passed it by since the last try.
    #[serde(default, skip_serializing_if = "is_zero")]
    passed: u64,
    last: Fruitless,
}

fn is_zero(number: &u64) -> bool {
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
    /// is begun anew; what was done on another day than this is forgotten.
    pub fn read(members: &Members, today: Date) -> Ledger {
        let Some(member) = members.get(MEMBER) else {
            return Ledger::default();
        };
        let mut ledger = Ledger::deserialize(member).unwrap_or_else(|cause| {
            tracing::warn!(
                "the state's member {MEMBER} cannot be read, and is begun anew: {cause}"
            );
            Ledger::default()
        });
        ledger.today = ledger.today.filter(|day| day.on == today);
        ledger
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

    fn today(&mut self, on: Date) -> &mut Today {
        // `read` has forgotten every other day.
        self.today.get_or_insert(Today {
            on,
            requests: 0,
            polled_behind: None,
            sent: BTreeMap::new(),
        })
    }

    /// Requests made today so far.
    pub fn requests(&self) -> u64 {
        self.today.as_ref().map_or(0, |today| today.requests)
    }

    /// Counts requests of today.
    pub fn add_requests(&mut self, today: Date, number: u64) {
        self.today(today).requests += number;
    }

    /// The days behind this one were polled today.
    pub fn polled_behind(&mut self, today: Date, last: Date) {
        let behind = &mut self.today(today).polled_behind;
        *behind = Some(behind.map_or(last, |earlier| earlier.min(last)));
    }

    /// Something was sent today of a site and day that was missing.
    pub fn sent_missing(&mut self, today: Date, at: &SiteDay) {
        let day = self.today(today).sent.entry(at.day).or_default();
        day.insert(at.site.clone());
    }

    /// Whether what seems to be missing was sent today, and the table does not show it yet: that
    /// site and day, or all of a day that was polled today and has no row at all.
    pub fn is_on_its_way(&self, at: &SiteDay, found: &BTreeSet<SiteDay>) -> bool {
        let Some(today) = &self.today else {
            return false;
        };
        let of_day = today.sent.get(&at.day);
        let polled = today.polled_behind.is_some_and(|last| last < at.day);
        let first = SiteDay {
            day: at.day,
            site: String::new(),
        };
        let has_rows = || {
            found
                .range(first..)
                .next()
                .is_some_and(|row| row.day == at.day)
        };
        of_day.is_some_and(|sites| sites.contains(&at.site)) || (polled && !has_rows())
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
        let today = date("2024-07-01");
        ledger.add_requests(today, 7);
        ledger.polled_behind(today, date("2024-06-29"));
        ledger.sent_missing(today, &at("2024-06-18", "dd"));
        let mut members = Members::new();
        members.insert("last_poll_date".into(), "2024-06-30".into());
        ledger.write(&mut members);
        let expected = json!({
            "last_poll_date": "2024-06-30",
            "recovery": {
                "today": {
                    "on": "2024-07-01",
                    "requests": 7,
                    "polled_behind": "2024-06-29",
                    "sent": {"2024-06-18": ["dd"]},
                },
                "in_vain": {"2024-06-15": {"aa": {"tries": 1, "passed": 1, "last": "no answer"}}},
            },
        });
        assert_eq!(json!(members), expected);
        assert_eq!(Ledger::read(&members, today), ledger);
        let mut tomorrow = Ledger::read(&members, date("2024-07-02"));
        assert_eq!(tomorrow.requests(), 0);
        tomorrow.today = ledger.today.clone();
        assert_eq!(tomorrow, ledger, "only the day is forgotten");
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
            let read = Ledger::read(&members, date("2024-07-01"));
            assert_eq!(read, Ledger::default());
        }
    }

    #[test]
    fn what_was_sent_today_is_on_its_way_until_the_table_shows_it() {
        let today = date("2024-07-01");
        let mut ledger = Ledger::default();
        assert!(!ledger.is_on_its_way(&at("2024-06-30", "aa"), &BTreeSet::new()));
        ledger.sent_missing(today, &at("2024-06-15", "aa"));
        ledger.polled_behind(today, date("2024-06-28"));
        ledger.polled_behind(today, date("2024-06-29"));
        let found = [at("2024-06-27", "zz"), at("2024-06-30", "zz")].into();
        for (day, site, on_its_way) in [
            ("2024-06-15", "aa", true),
            ("2024-06-15", "ab", false),
            ("2024-06-14", "aa", false),
            // Polled before today.
            ("2024-06-28", "aa", false),
            // Polled today, and nothing of that day has arrived.
            ("2024-06-29", "aa", true),
            // Something has arrived: this site was not there.
            ("2024-06-30", "aa", false),
        ] {
            let is = ledger.is_on_its_way(&at(day, site), &found);
            assert_eq!(is, on_its_way, "{site} on {day}");
        }
    }
}
