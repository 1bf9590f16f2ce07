//! What becomes of a day for every answer that ShopperTrak may give: exit code, state, requests.

use super::server::{Answer, day, good, traffic};
use super::{World, in_both_worlds};

/// An answer about 29 June, and what follows of it. The answer about the 30th is good.
struct Situation {
    name: &'static str,
    answers: Vec<Answer>,
    /// What follows on an ordinary day.
    ordinary: Ends,
    /// … and on one that is listed in `BAD_POLL_DATES`.
    listed: Ends,
    says: &'static str,
}

/// Exit code, requests about the 29th, and whether the poll goes on to the 30th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends(i32, usize, bool);

/// Says nothing about the day: it ends the run, listed or not.
fn about_the_service(
    name: &'static str,
    answers: Vec<Answer>,
    code: i32,
    requests: usize,
    says: &'static str,
) -> Situation {
    let ends = Ends(code, requests, false);
    Situation {
        name,
        answers,
        ordinary: ends,
        listed: ends,
        says,
    }
}

/// Says that the day itself cannot be had: a listed one passes.
fn about_the_day(
    name: &'static str,
    answer: Answer,
    requests: usize,
    says: &'static str,
) -> Situation {
    Situation {
        name,
        answers: vec![answer],
        ordinary: Ends(7, requests, false),
        listed: Ends(0, requests, true),
        says,
    }
}

fn fine(
    name: &'static str,
    answers: Vec<Answer>,
    requests: usize,
    says: &'static str,
) -> Situation {
    let ends = Ends(0, requests, true);
    Situation {
        name,
        answers,
        ordinary: ends,
        listed: ends,
        says,
    }
}

// A table, so that a line is a situation.
#[rustfmt::skip]
fn situations() -> Vec<Situation> {
    let good_day = || good("20240629");
    let Answer::Xml(xml) = good_day() else {
        unreachable!()
    };
    let half = || xml[..xml.len() / 2].to_owned();
    let other = |from: &str, to: &str| Answer::Xml(xml.replacen(from, to, 1));
    vec![
        fine("a good day", vec![good_day()], 1, "all-sites page 1: 2 read, 2 delivered"),
        fine("busy, then fine", vec![Answer::Error("E108"), Answer::Error("E000"), good_day()], 3, "ShopperTrak is busy (E000): asking again for all sites of 2024-06-29 in 0 s (request 3 of 3)"),
        fine("failing, then fine", vec![Answer::Status(500), Answer::Status(503), good_day()], 3, "the answer was 503"),
        fine("cut, then fine", vec![Answer::Cut(half()), good_day()], 2, "asking again for all sites of 2024-06-29"),
        fine("an empty error element", vec![other("<site ", "<error/><site ")], 1, "2 delivered"),
        fine("compressed", vec![Answer::Gzip(xml.clone())], 1, "2 delivered"),
        about_the_service("busy for ever", vec![Answer::Error("E108")], 4, 3, "Hit retry limit: busy (E108) after 3 requests"),
        about_the_service("busy for ever, the other code", vec![Answer::Error("E000")], 4, 3, "Hit retry limit"),
        about_the_service("the request limit", vec![Answer::Error("E107")], 4, 1, "API limit exceeded (E107)"),
        about_the_service("busy, then the limit", vec![Answer::Error("E108"), Answer::Error("E107")], 4, 2, "API limit exceeded (E107)"),
        about_the_service("too many requests", vec![Answer::Status(429)], 4, 1, "API limit exceeded (429"),
        about_the_service("another password", vec![Answer::Status(401)], 3, 1, "the answer was 401"),
        about_the_service("forbidden", vec![Answer::Status(403)], 3, 1, "the answer was 403"),
        about_the_service("another address", vec![Answer::Status(404)], 3, 1, "the answer was 404"),
        about_the_service("a redirect, which would take the password along", vec![Answer::Status(302)], 3, 1, "the answer was 302"),
        about_the_service("a time-out of theirs", vec![Answer::Status(408)], 4, 3, "the answer was 408"),
        about_the_service("a connection cut in mid-body", vec![Answer::Cut(half())], 4, 3, "Failed to retrieve all sites visits data of 2024-06-29"),
        about_the_service("a connection cut behind the root", vec![Answer::Cut(xml.clone())], 4, 3, "Failed to retrieve all sites visits data of 2024-06-29"),
        about_the_day("a server that fails for ever", Answer::Status(500), 3, "the answer was 500"),
        about_the_day("malformed XML", other("</date>", ""), 1, "the answer is no XML"),
        about_the_day("XML that ends in the middle", Answer::Xml(half()), 1, "the answer is no XML"),
        about_the_day("something before the declaration", other("<?xml", "\n<?xml"), 1, "something stands before the XML declaration"),
        about_the_day("a page for people", Answer::Xml("Service temporarily unavailable".into()), 1, "the answer is no XML"),
        about_the_day("an empty body", Answer::Xml(String::new()), 1, "the answer is no XML: it is empty"),
        about_the_day("the wrong date", good("20240628"), 1, "the answer is about 2024-06-28"),
        about_the_day("no traffic", Answer::Xml(day("20240629", "")), 1, "No traffic found"),
        about_the_day("no such customer", Answer::Error("E101"), 1, "E101"),
        about_the_day("no such site", Answer::Error("E104"), 1, "E104"),
        about_the_day("no such date", Answer::Error("E110"), 1, "E110"),
        about_the_day("another error", Answer::Error("tired"), 1, "the answer is the error tired"),
        about_the_day("an error beside data", other("</sites>", "<error>E104</error></sites>"), 1, "E104"),
    ]
}

async fn happens(situation: &Situation, listed: bool) {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.shoppertrak.tell("20240629", &situation.answers);
    world.shoppertrak.tell("20240630", &[good("20240630")]);
    let Ends(code, requests, goes_on) = match listed {
        true => situation.listed,
        false => situation.ordinary,
    };
    if listed {
        world.set("BAD_POLL_DATES", r#"["2024-06-29"]"#);
    }
    let ended = world.poll().await;
    let name = format!(
        "{}, {}",
        situation.name,
        if listed { "listed" } else { "ordinary" }
    );
    assert_eq!(ended.code, Some(code), "{name}\n{}", ended.stderr);
    assert!(
        ended.stderr.contains(situation.says),
        "{name}\n{}",
        ended.stderr
    );

    let mut asked = vec!["allsites|20240629"; requests];
    let mut state = "2024-06-28";
    let mut days = Vec::new();
    if goes_on {
        asked.push("allsites|20240630");
        state = "2024-06-30";
        // A listed day that passes has no records; a good one has, listed or not.
        if situation.ordinary.0 == 0 {
            days.push("2024-06-29");
        }
        days.push("2024-06-30");
    }
    assert_eq!(world.shoppertrak.asked(), asked, "{name}");
    assert_eq!(world.stands_at().await, state, "{name}");
    assert_eq!(world.delivered_days().await, days, "{name}");
    assert_eq!(world.delivered().await.len(), 2 * days.len(), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_answers_on_an_ordinary_day() {
    for situation in situations() {
        happens(&situation, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_answers_on_a_listed_day() {
    for situation in situations() {
        happens(&situation, true).await;
    }
}

in_both_worlds! {
    // The next run begins at the right day, and nothing comes twice.
    async fn a_limit_in_the_middle_of_five_days_is_gone_on_from(world) {
        world.last_poll_date("2024-06-25").await;
        for day in ["20240626", "20240627", "20240629", "20240630"] {
            world.shoppertrak.tell(day, &[good(day)]);
        }
        world.shoppertrak.tell("20240628", &[Answer::Error("E107"), good("20240628")]);
        world.poll().await.expect(4).says("API limit exceeded");
        assert_eq!(world.stands_at().await, "2024-06-27");
        assert_eq!(world.shoppertrak.asked(), ["allsites|20240626", "allsites|20240627", "allsites|20240628"]);

        world.poll().await.expect(0);
        assert_eq!(world.stands_at().await, "2024-06-30");
        assert_eq!(world.shoppertrak.asked(), ["allsites|20240628", "allsites|20240629", "allsites|20240630"]);
        let days: Vec<String> = (26..=30).map(|day| format!("2024-06-{day}")).collect();
        assert_eq!(world.delivered_days().await, days);
        assert_eq!(world.delivered().await.len(), 10);

        // There is nothing left: nobody is asked.
        world.poll().await.expect(0);
        assert_eq!(world.shoppertrak.asked(), [""; 0]);
        assert_eq!(world.delivered().await.len(), 10);
    }

    // A day without records moves the state, and sends nothing.
    async fn a_day_without_increments_passes(world) {
        world.last_poll_date("2024-06-28").await;
        let elsewhere = format!("<sites>{}</sites>", traffic("090000", "01", "1", "1"));
        world.shoppertrak.tell("20240629", &[Answer::Xml(elsewhere)]);
        world.shoppertrak.tell("20240630", &[good("20240630")]);
        let ended = world.poll().await.expect(0);
        ended.says("all-sites page 1: 0 read, 0 delivered, 0 skipped, 0 set aside");
        assert_eq!(world.stands_at().await, "2024-06-30");
        assert_eq!(world.delivered_days().await, ["2024-06-30"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_answers_is_asked_as_often_as_it_may_be() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.shoppertrak.tell("20240629", &[Answer::Silence]);
    world.set("SHOPPERTRAK_TIMEOUT_SECONDS", "1");
    world.set("MAX_RETRIES", "2");
    world.set("BAD_POLL_DATES", "2024-06-29");
    world.poll().await.expect(4);
    assert_eq!(world.shoppertrak.asked(), ["allsites|20240629"; 2]);
    assert_eq!(world.stands_at().await, "2024-06-28");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_leaves_the_state() {
    let mut world = World::embedded().await;
    world.last_poll_date("2024-06-28").await;
    world.set("SHOPPERTRAK_API_BASE_URL", "http://127.0.0.1:9/v2.0");
    let ended = world.poll().await.expect(4);
    ended.says("Failed to retrieve all sites visits data of 2024-06-29");
    assert_eq!(world.stands_at().await, "2024-06-28");
    // The time to try again is a bound, too.
    world.set("RETRY_WAIT_SECONDS", "300");
    world.poll().await.expect(4);
}
