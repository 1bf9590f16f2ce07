//! Which sites and days are asked for again.

use std::collections::BTreeSet;
use std::fmt;

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::ledger::Ledger;

/// ShopperTrak mends its data within about a month.
const DAYS: i64 = 30;

/// Days of the recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first day.
    pub start: Date,
    /// The day behind the last one.
    pub end: Date,
}

impl Window {
    /// The thirty days before `today`, of which those count that were polled before this run.
    pub fn new(today: Date, last_polled: Date) -> Window {
        let polled = last_polled.saturating_add(1.day());
        Window {
            start: today.saturating_sub(DAYS.days()),
            end: polled.min(today),
        }
    }

    /// Nothing, when the last poll was before the window.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether a day has only just come into the window, or is about to leave it: the last two
    /// days at either end, which are asked for in every run.
    pub fn is_at_an_end(&self, day: Date) -> bool {
        day < self.start.saturating_add(2.days()) || day >= self.end.saturating_sub(2.days())
    }

    fn days(&self) -> impl Iterator<Item = Date> + use<> {
        let end = self.end;
        self.start.series(1.day()).take_while(move |day| *day < end)
    }
}

/// A site on a day. The order is that of the requests: by day, then by site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteDay {
    /// The day.
    pub day: Date,
    /// ShopperTrak's site.
    pub site: String,
}

impl fmt::Display for SiteDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.site, self.day)
    }
}

/// What a site is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A day of which nothing is stored: every increment is wanted.
    Missing,
    /// A day with unhealthy rows: only healthy increments are wanted.
    Unhealthy,
}

/// Full-day closures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closures {
    /// Days on which every site is closed.
    pub everywhere: BTreeSet<Date>,
    /// Days and locations.
    pub at: BTreeSet<(Date, String)>,
}

impl Closures {
    /// A site belongs to the location of its first two characters; for regular hours it is its
    /// first word.
    fn cover(&self, at: &SiteDay) -> bool {
        let location: String = at.site.chars().take(2).collect();
        self.everywhere.contains(&at.day) || self.at.contains(&(at.day, location))
    }
}

/// What the tables of Redshift hold of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Sites and days that have rows, stale ones too.
    pub found: BTreeSet<SiteDay>,
    /// Those that have an unhealthy row which is fresh.
    pub unhealthy: BTreeSet<SiteDay>,
    /// Closures.
    pub closures: Closures,
}

/// What a run asks for, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Missing sites and days first, then unhealthy ones.
    pub requests: Vec<(SiteDay, Ask)>,
    /// Left for a later run, because asking was in vain so often.
    pub waiting: Vec<SiteDay>,
    /// Missing sites and days whose increments were sent today, and are not in the table yet.
    pub on_their_way: u64,
}

/// Decides what is asked for. Without a list of sites nothing is missing.
pub fn plan(
    window: Window,
    stored: &Stored,
    sites: Option<&BTreeSet<String>>,
    ledger: &Ledger,
) -> Plan {
    let all = window.days().flat_map(|day| {
        let sites = sites.into_iter().flatten().cloned();
        sites.map(move |site| SiteDay { day, site })
    });
    let missing = all
        .filter(|at| !stored.found.contains(at))
        .map(|at| (at, Ask::Missing));
    // Sites that are in no list count, too: their rows are there.
    let unhealthy = stored.unhealthy.iter().cloned();
    let unhealthy = unhealthy.map(|at| (at, Ask::Unhealthy));
    let mut plan = Plan::default();
    for (at, ask) in missing.chain(unhealthy) {
        if stored.closures.cover(&at) {
            continue;
        }
        if ask == Ask::Missing && ledger.is_on_its_way(&at, &stored.found) {
            plan.on_their_way += 1;
        } else if ledger.is_due(&at, window) {
            plan.requests.push((at, ask));
        } else {
            plan.waiting.push(at);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Fruitless;
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn window(start: &str, end: &str) -> Window {
        let (start, end) = (date(start), date(end));
        Window { start, end }
    }

    fn at(day: &str, site: &str) -> SiteDay {
        let (day, site) = (date(day), site.to_owned());
        SiteDay { day, site }
    }

    fn sites(sites: &[&str]) -> BTreeSet<String> {
        sites.iter().map(|site| (*site).to_owned()).collect()
    }

    fn asked(plan: &Plan, ask: Ask) -> Vec<String> {
        let requests = plan.requests.iter().filter(|request| request.1 == ask);
        requests
            .map(|(at, _)| format!("{} {}", at.day, at.site))
            .collect()
    }

    #[test]
    fn the_window_ends_with_the_last_poll_and_yesterday_at_the_latest() {
        for (last_polled, start, end, empty) in [
            ("2024-06-30", "2024-06-01", "2024-07-01", false),
            ("2024-06-20", "2024-06-01", "2024-06-21", false),
            ("2024-06-01", "2024-06-01", "2024-06-02", false),
            ("2024-05-31", "2024-06-01", "2024-06-01", true),
            ("2023-01-01", "2024-06-01", "2023-01-02", true),
            // A state that is ahead: a person set it, or the clock was wrong.
            ("2024-08-01", "2024-06-01", "2024-07-01", false),
        ] {
            let found = Window::new(date("2024-07-01"), date(last_polled));
            assert_eq!(found, window(start, end), "{last_polled}");
            assert_eq!(found.is_empty(), empty, "{last_polled}");
            let days = if empty {
                0
            } else {
                (found.end - found.start).get_days()
            };
            assert_eq!(found.days().count(), days as usize, "{last_polled}");
        }
    }

    #[test]
    fn missing_is_what_was_not_found_of_all_sites_in_order_of_day_and_site() {
        let stored = Stored {
            found: [at("2024-06-01", "b"), at("2024-06-02", "a")].into(),
            ..Stored::default()
        };
        let days = window("2024-06-01", "2024-06-03");
        let all = sites(&["b", "a", "aa 01"]);
        let plan = plan(days, &stored, Some(&all), &Ledger::default());
        let expected = [
            "2024-06-01 a",
            "2024-06-01 aa 01",
            "2024-06-02 aa 01",
            "2024-06-02 b",
        ];
        assert_eq!(asked(&plan, Ask::Missing), expected);
        assert_eq!(plan.requests.len(), 4);
    }

    #[test]
    fn without_a_list_of_sites_nothing_is_missing() {
        let stored = Stored {
            found: [at("2024-06-01", "b")].into(),
            unhealthy: [at("2024-06-01", "b")].into(),
            ..Stored::default()
        };
        let days = window("2024-06-01", "2024-06-03");
        let plan = plan(days, &stored, None, &Ledger::default());
        assert_eq!(plan.requests, [(at("2024-06-01", "b"), Ask::Unhealthy)]);
    }

    #[test]
    fn unhealthy_sites_come_after_the_missing_ones_and_need_not_be_in_the_list() {
        let rows: BTreeSet<SiteDay> = [
            at("2024-06-02", "a"),
            at("2024-06-01", "zz"),
            at("2024-06-01", "b"),
        ]
        .into();
        let stored = Stored {
            found: rows.clone(),
            unhealthy: rows,
            ..Stored::default()
        };
        let days = window("2024-06-01", "2024-06-03");
        let plan = plan(days, &stored, Some(&sites(&["a"])), &Ledger::default());
        let order: Vec<_> = plan.requests.iter().map(|(at, ask)| (at, *ask)).collect();
        assert_eq!(
            order,
            [
                (&at("2024-06-01", "a"), Ask::Missing),
                (&at("2024-06-01", "b"), Ask::Unhealthy),
                (&at("2024-06-01", "zz"), Ask::Unhealthy),
                (&at("2024-06-02", "a"), Ask::Unhealthy),
            ]
        );
    }

    #[test]
    fn a_closed_site_is_not_asked_for() {
        let unhealthy = [at("2024-06-01", "aa 2"), at("2024-06-02", "éa-7")];
        let stored = Stored {
            unhealthy: unhealthy.into(),
            closures: Closures {
                everywhere: [date("2024-06-03")].into(),
                at: [
                    (date("2024-06-01"), "aa".to_owned()),
                    (date("2024-06-02"), "éa".to_owned()),
                    // No site's first two characters.
                    (date("2024-06-02"), "b".to_owned()),
                    (date("2024-06-02"), "bbc".to_owned()),
                ]
                .into(),
            },
            ..Stored::default()
        };
        let days = window("2024-06-01", "2024-06-04");
        let all = sites(&["aab", "bbc", "a"]);
        let plan = plan(days, &stored, Some(&all), &Ledger::default());
        let expected = [
            "2024-06-01 a",
            "2024-06-01 bbc",
            "2024-06-02 a",
            "2024-06-02 aab",
            "2024-06-02 bbc",
        ];
        assert_eq!(asked(&plan, Ask::Missing), expected);
        assert_eq!(asked(&plan, Ask::Unhealthy), [""; 0]);
    }

    #[test]
    fn what_was_sent_today_is_not_missing() {
        let mut ledger = Ledger::default();
        ledger.sent_missing(date("2024-07-01"), &at("2024-06-02", "a"));
        // What is in the table and unhealthy has arrived.
        ledger.sent_missing(date("2024-07-01"), &at("2024-06-01", "a"));
        let stored = Stored {
            found: [at("2024-06-01", "a")].into(),
            unhealthy: [at("2024-06-01", "a")].into(),
            ..Stored::default()
        };
        let days = window("2024-06-01", "2024-06-04");
        let plan = plan(days, &stored, Some(&sites(&["a"])), &ledger);
        assert_eq!(asked(&plan, Ask::Unhealthy), ["2024-06-01 a"]);
        assert_eq!(asked(&plan, Ask::Missing), ["2024-06-03 a"]);
        assert_eq!(plan.on_their_way, 1);
    }

    #[test]
    fn what_was_asked_for_in_vain_waits() {
        let mut ledger = Ledger::default();
        for day in ["2024-06-01", "2024-06-10", "2024-06-29"] {
            for _ in 0..3 {
                ledger.tried_in_vain(&at(day, "a"), Fruitless::NoAnswer);
            }
        }
        let unhealthy = ["2024-06-01", "2024-06-09", "2024-06-10", "2024-06-29"];
        let stored = Stored {
            unhealthy: unhealthy.map(|day| at(day, "a")).into(),
            ..Stored::default()
        };
        let plan = plan(window("2024-06-01", "2024-07-01"), &stored, None, &ledger);
        let expected = ["2024-06-01 a", "2024-06-09 a", "2024-06-29 a"];
        assert_eq!(asked(&plan, Ask::Unhealthy), expected);
        assert_eq!(plan.waiting, [at("2024-06-10", "a")]);
    }
}
