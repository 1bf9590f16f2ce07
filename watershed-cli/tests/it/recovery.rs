//! The recovery of `location-visits`: a ShopperTrak over HTTP, a Redshift (PostgreSQL, or an
//! embedded file), and the consumer of the stream, which the test plays: it puts what was sent into
//! the table as fresh rows.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use rusqlite::Connection;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::program::Ended;
use crate::world::{World as Systems, in_both_worlds, server};

const SCHEMA: &str = include_str!("../../src/pipelines/location_visits/LocationVisits.avsc");
/// A day in the middle of the window, which is June: the present is the first of July.
const DAY: &str = "2024-06-15";

/// The world of `patron-info` with a ShopperTrak, and the tables of `location-visits`.
struct World {
    systems: Systems,
    /// URL of the test's own PostgreSQL; nothing for the embedded twin.
    postgres: Option<String>,
    shoppertrak: Arc<ShopperTrak>,
    consumed: Vec<Json>,
}

impl Deref for World {
    type Target = Systems;

    fn deref(&self) -> &Systems {
        &self.systems
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Systems {
        &mut self.systems
    }
}

#[derive(Default)]
struct ShopperTrak {
    /// By place, such as `site/aa`, and date. What is not there has no traffic.
    answers: Mutex<BTreeMap<(String, String), (StatusCode, String)>>,
    asked: Mutex<Vec<String>>,
    /// A question about this place waits until the test lets it go on.
    held: Mutex<Option<String>>,
    reached: Notify,
    go_on: Notify,
}

impl ShopperTrak {
    async fn answer(&self, request: Request) -> (StatusCode, String) {
        let place = request.uri().path().trim_start_matches("/service/");
        let place = place.replace("%20", " ");
        let query = request.uri().query().unwrap_or_default();
        let date = query.trim_start_matches("date=").get(..8).unwrap();
        let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
        self.asked.lock().unwrap().push(format!("{place} {date}"));
        if self.held.lock().unwrap().as_ref() == Some(&place) {
            self.reached.notify_one();
            self.go_on.notified().await;
        }
        let answers = self.answers.lock().unwrap();
        let answer = answers.get(&(place, date)).cloned();
        answer.unwrap_or((StatusCode::OK, "<sites/>".into()))
    }

    async fn serve(self: Arc<ShopperTrak>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(move |request: Request| {
            let this = self.clone();
            async move { this.answer(request).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/")
    }
}

/// An increment: door, code, begin as `HHMM`, people who came in.
type Increment = (&'static str, &'static str, &'static str, i32);

/// What ShopperTrak says about a site and day.
fn site(id: &str, day: &str, increments: &[Increment]) -> String {
    let date = day.replace('-', "");
    let entrances: String = increments
        .iter()
        .map(|(door, code, start, enters)| {
            format!(
                "<entrance entranceName=\"{door}\"><traffic code=\"{code}\" startTime=\"{start}00\" enters=\"{enters}\" exits=\"0\"/></entrance>"
            )
        })
        .collect();
    format!(
        "<sites><site siteID=\"{id}\"><date dateValue=\"{date}\">{entrances}</date></site></sites>"
    )
}

impl World {
    fn embedded() -> World {
        World::over(Systems::embedded(), None)
    }

    async fn servers() -> World {
        let systems = Systems::servers().await;
        let name = &systems.program.settings["REDSHIFT_DB_NAME"];
        let postgres = format!("{}/{name}", server("WATERSHED_TEST_POSTGRES"));
        World::over(systems, Some(postgres))
    }

    fn over(mut systems: Systems, postgres: Option<String>) -> World {
        systems.answer_schema(200, &systems.schema_answer(SCHEMA));
        let schema = systems.program.settings["PATRON_INFO_SCHEMA_URL"].clone();
        for name in [
            "SIERRA_DB_HOST",
            "SIERRA_DB_PORT",
            "SIERRA_DB_NAME",
            "SIERRA_DB_USER",
            "SIERRA_DB_PASSWORD",
            "SIERRA_URL",
            "PATRON_INFO_SCHEMA_URL",
            "REDSHIFT_TABLE",
            "GEOCODER_URL",
            "BCRYPT_SALT",
        ] {
            systems.program.settings.remove(name);
        }
        let sites = systems.path("sources/sites.json");
        std::fs::write(sites, "[]").unwrap();
        for (name, text) in [
            ("LOCATION_VISITS_SCHEMA_URL", &*schema),
            ("REDSHIFT_TABLE_SUFFIX", "_qa"),
            ("SHOPPERTRAK_USERNAME", "user-of-the-counters"),
            ("SHOPPERTRAK_PASSWORD", "Zerlina-of-the-counters"),
            ("ALL_SITES_URL", "file:sources/sites.json"),
            ("RETRY_WAIT_SECONDS", "0"),
        ] {
            systems.set(name, text);
        }
        systems
            .program
            .hidden
            .push("Zerlina-of-the-counters".into());
        World {
            systems,
            postgres,
            shoppertrak: Arc::default(),
            consumed: Vec::new(),
        }
    }

    /// Starts ShopperTrak and makes the tables; the state is that of yesterday.
    async fn prepare(&mut self) {
        let url = self.shoppertrak.clone().serve().await;
        self.set("SHOPPERTRAK_API_BASE_URL", &url);
        let (id, time, date) = match &self.postgres {
            Some(_) => ("bigserial", "timestamp", "date"),
            None => ("integer PRIMARY KEY", "text", "text"),
        };
        self.in_redshift(&format!(
            "CREATE TABLE location_visits_qa (id {id}, shoppertrak_site_id varchar(20), orbit integer, \
                 increment_start {time}, enters integer, exits integer, is_healthy_data boolean, \
                 is_missing_data boolean, is_fresh boolean, poll_date {date}); \
             CREATE TABLE location_closures_v2_qa (location_id varchar(10), closure_date {date}, is_full_day boolean); \
             CREATE TABLE location_hours_v2_qa (location_id varchar(10), weekday varchar(10), \
                 regular_open varchar(8), regular_close varchar(8), is_current boolean)"
        ))
        .await;
        self.start_at("2024-06-30").await;
    }

    async fn start_at(&self, last: &str) {
        self.write_state(&json!({"last_poll_date": last, "theirs": [1]}).to_string())
            .await;
    }

    fn all_sites(&self, sites: &[&str]) {
        let text = json!(sites).to_string();
        std::fs::write(self.path("sources/sites.json"), text).unwrap();
    }

    /// Adds a row of `DAY`: door, begin, whether it is healthy and fresh, people who came in.
    async fn row(&self, site: &str, row: (Option<i32>, &str, bool, bool, i32)) {
        let (orbit, start, healthy, fresh, enters) = row;
        let orbit = orbit.map_or("NULL".into(), |orbit| orbit.to_string());
        self.in_redshift(&format!(
            "INSERT INTO location_visits_qa (shoppertrak_site_id, orbit, increment_start, enters, exits, is_healthy_data, is_fresh) \
             VALUES ('{site}', {orbit}, '{DAY} {start}', {enters}, 0, {healthy}, {fresh})"
        ))
        .await;
    }

    /// Makes ShopperTrak answer for a site on `DAY`.
    fn answers(&self, id: &str, increments: &[Increment]) {
        self.answers_with(&format!("site/{id}"), DAY, &site(id, DAY, increments));
    }

    fn answers_with(&self, place: &str, day: &str, answer: &str) {
        let answer = (StatusCode::OK, answer.to_owned());
        let mut answers = self.shoppertrak.answers.lock().unwrap();
        answers.insert((place.to_owned(), day.to_owned()), answer);
    }

    /// What ShopperTrak was asked for since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shoppertrak.asked.lock().unwrap())
    }

    async fn poll(&self) -> Ended {
        self.program.run(&["run", "location-visits"]).await
    }

    async fn delivered(&self) -> Vec<Json> {
        if self.postgres.is_none() {
            return self.systems.delivered().await;
        }
        let schema: Schema = SCHEMA.parse().unwrap();
        let records = self.delivered_bytes().await;
        records
            .iter()
            .map(|record| from_datum_slice(record, &schema).unwrap())
            .collect()
    }

    /// Puts what was sent since the last call into the table, as the consumer of the stream does;
    /// gives the number of records.
    async fn consume(&mut self) -> usize {
        let mut new = self.delivered().await;
        for known in &self.consumed {
            let place = new.iter().position(|record| record == known);
            new.remove(place.expect("a stream forgets nothing"));
        }
        for record in &new {
            let text = |name: &str| match &record[name] {
                Json::String(text) => format!("'{text}'"),
                other => other.to_string(),
            };
            let columns = [
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
            let values = columns.map(text).join(", ");
            let columns = columns.join(", ");
            let sql = format!("INSERT INTO location_visits_qa ({columns}) VALUES ({values})");
            self.in_redshift(&sql).await;
        }
        let number = new.len();
        self.consumed.extend(new);
        number
    }

    /// The fresh rows: `site orbit time enters healthy`, in order.
    async fn fresh(&self) -> Vec<String> {
        let sql = "SELECT COALESCE(shoppertrak_site_id, '-') || ' ' || COALESCE(CAST(orbit AS varchar(9)), '-') \
            || ' ' || substr(CAST(increment_start AS varchar(32)), 6, 11) || ' ' || enters || ' ' \
            || CASE WHEN is_healthy_data THEN 'healthy' ELSE 'unhealthy' END AS fresh_row \
            FROM location_visits_qa WHERE is_fresh ORDER BY 1";
        let Some(url) = &self.postgres else {
            let redshift = Connection::open(self.path("sources/redshift.db")).unwrap();
            let mut rows = redshift.prepare(sql).unwrap();
            let rows = rows.query_map((), |row| row.get(0)).unwrap();
            let mut rows: Vec<String> = rows.map(Result::unwrap).collect();
            rows.sort();
            return rows;
        };
        let url = format!("{url}?sslmode=disable");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
            _ => None,
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        rows
    }
}

in_both_worlds! {
    async fn bad_days_are_repaired(world) {
        world.prepare().await;
        for row in [
            (Some(1), "09:00:00", false, true, 0), // replaced, and its double with it
            (Some(1), "09:00:00", false, true, 0),
            (Some(1), "09:15:00", false, true, 0), // still unhealthy at ShopperTrak
            (Some(1), "09:30:00", true, true, 6),  // healthy, with other counts
            (Some(1), "09:45:00", false, true, 0), // beside a healthy one: a run died here
            (Some(1), "09:45:00", true, true, 4),
            (None, "09:00:00", false, true, 0),    // a door of its own
            (Some(2), "09:00:00", false, false, 0), // stale already
        ] {
            world.row("aa 01", row).await;
        }
        world.answers("aa 01", &[
            ("EP 01", "01", "0900", 3),
            ("EP 01", "01", "0900", 3),
            ("EP 01", "02", "0915", 9),
            ("EP 01", "01", "0930", 7),
            ("EP 01", "01", "0945", 4),
            ("door", "01", "0900", 1),
            ("EP 02", "01", "0900", 2),
        ]);
        let ended = world.poll().await.expect(0);
        ended.says("1 increments of aa 01 on 2024-06-15 are stored as healthy with other counts");
        assert_eq!(world.asked(), ["site/aa 01 2024-06-15"]);
        assert_eq!(world.consume().await, 3);
        for record in &world.consumed {
            assert_eq!((&record["is_missing_data"], &record["is_fresh"]), (&json!(false), &json!(true)));
            assert_eq!(record["poll_date"], "2024-07-01");
        }
        let repaired = [
            "aa 01 - 06-15 09:00 1 healthy",
            "aa 01 1 06-15 09:00 3 healthy",
            "aa 01 1 06-15 09:15 0 unhealthy",
            "aa 01 1 06-15 09:30 6 healthy",
            "aa 01 1 06-15 09:45 4 healthy",
            "aa 01 2 06-15 09:00 2 healthy",
        ];
        assert_eq!(world.fresh().await, repaired);

        // The second run finds one increment that is still bad, and nothing to change.
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/aa 01 2024-06-15"]);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, repaired);
        let state = world.state().await;
        assert_eq!((&state["last_poll_date"], &state["theirs"]), (&json!("2024-06-30"), &json!([1])));
        assert_eq!(state["recovery"], json!({"in_vain": {DAY: {"aa 01": {"tries": 1, "last": "nothing new"}}}}));
    }

    async fn missing_days_are_filled(world) {
        world.prepare().await;
        world.all_sites(&["aa", "ab", "b/1"]);
        // A row of `ab` for each day but two, stale or not; those of no site are nobody's.
        for day in 3..=30 {
            world.in_redshift(&format!(
                "INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, enters, is_healthy_data, is_fresh) VALUES \
                 ('ab', '2024-06-{day:02} 10:00:00', 1, true, {}), ('b/1', '2024-06-{day:02} 10:00:00', 1, true, true), \
                 ('aa', '2024-06-{day:02} 10:00:00', 1, true, true), (NULL, '2024-06-{day:02} 10:00:00', 0, false, true)",
                day % 2 == 0
            )).await;
        }
        world.in_redshift(
            "INSERT INTO location_closures_v2_qa VALUES ('aa', '2024-06-02', true), ('ab', '2024-06-01', false), ('b/', '2024-06-01', true)",
        ).await;
        let increments = [("EP 01", "01", "0900", 3), ("EP 01", "02", "0915", 0), ("EP 01", "02", "0915", 0)];
        world.answers_with("site/ab", "2024-06-02", &site("ab", "2024-06-02", &increments));
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/aa 2024-06-01", "site/ab 2024-06-01", "site/ab 2024-06-02", "site/b/1 2024-06-02"]);
        assert_eq!(world.consume().await, 3);
        let mut missing: Vec<&Json> = world.consumed.iter().map(|record| &record["is_missing_data"]).collect();
        missing.sort_by_key(|missing| missing.as_bool());
        // Without hours of that site, unhealthy increments in which nobody was counted are missing.
        assert_eq!(missing, [&json!(false), &json!(true), &json!(true)]);
    }

    async fn on_a_day_when_all_are_closed_nothing_is_asked_for(world) {
        world.prepare().await;
        world.all_sites(&["aa"]);
        for day in 1..=30 {
            if day != 15 {
                world.in_redshift(&format!("INSERT INTO location_closures_v2_qa VALUES (NULL, '2024-06-{day:02}', true)")).await;
            }
        }
        world.in_redshift("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('zz', '2024-06-14 10:00:00', false, true), ('aa', '2024-06-15 10:00:00', true, true)").await;
        world.poll().await.expect(0);
        assert_eq!(world.asked(), [""; 0]);
    }

    async fn nothing_is_marked_that_has_no_replacement(world) {
        world.prepare().await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.row("aa", (Some(1), "09:15:00", false, true, 0)).await;
        world.row("aa", (Some(1), "09:15:00", true, true, 2)).await;
        world.answers("aa", &[("EP 01", "01", "0900", 3), ("EP 01", "01", "0915", 2)]);
        let before = world.fresh().await;
        let state = world.state_text().await;
        world.program.run(&["run", "location-visits", "--dry-run"]).await.expect(0);
        world.program.run(&["run", "location-visits", "--set", "IGNORE_KINESIS=True"]).await.expect(0);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, before);
        assert_eq!(world.state_text().await, state);
        assert_eq!(world.asked().len(), 2);

        world.program.run(&["run", "location-visits", "--set", "IGNORE_UPDATE=True"]).await.expect(0);
        assert_eq!(world.fresh().await, before);
        assert_eq!(world.consume().await, 1);
        // Marked by a later run that may.
        world.poll().await.expect(0);
        assert_eq!(world.consume().await, 0);
        assert_eq!(world.fresh().await, ["aa 1 06-15 09:00 3 healthy", "aa 1 06-15 09:15 2 healthy"]);
    }

    // An unusable answer about a day that is not listed ends the poll and not the recovery; days
    // of that poll are not recovered.
    async fn the_recovery_runs_when_the_poll_stopped_at_a_day(world) {
        world.prepare().await;
        world.start_at("2024-06-27").await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.in_redshift("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('aa', '2024-06-28 09:00:00', false, true)").await;
        world.answers("aa", &[("EP 01", "01", "0900", 3)]);
        world.answers_with("allsites", "2024-06-28", &site("bb", "2024-06-28", &[("EP 01", "01", "0900", 3)]));
        world.answers_with("allsites", "2024-06-29", "<sites><error>E104</error></sites>");
        world.poll().await.expect(7).says("E104");
        assert_eq!(world.asked(), ["allsites 2024-06-28", "allsites 2024-06-29", "site/aa 2024-06-15"]);
        assert_eq!(world.state().await["last_poll_date"], "2024-06-28");
        assert_eq!(world.consume().await, 2);
    }

    async fn the_recovery_does_not_run_when_the_poll_learnt_nothing(world) {
        world.prepare().await;
        world.row("aa", (Some(1), "09:00:00", false, true, 0)).await;
        world.answers("aa", &[("EP 01", "01", "0900", 3)]);
        world.start_at("2024-06-29").await;
        world.answers_with("allsites", "2024-06-30", "<sites><error>E107</error></sites>");
        world.poll().await.expect(4).says("API limit exceeded");
        assert_eq!(world.asked(), ["allsites 2024-06-30"]);
        assert_eq!(world.consume().await, 0);
    }

    async fn a_limit_that_is_reached_ends_the_recovery(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 3)]);
        }
        world.answers_with("site/ab", DAY, "<sites><error>E107</error></sites>");
        world.poll().await.expect(4).says("API limit exceeded");
        assert_eq!(world.asked(), ["site/aa 2024-06-15", "site/ab 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
        assert_eq!(world.fresh().await, ["aa 1 06-15 09:00 3 healthy", "ab 1 06-15 09:00 0 unhealthy", "ac 1 06-15 09:00 0 unhealthy"]);
    }

    async fn requests_are_left_for_the_next_poll(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac", "ad"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
        }
        world.set("DAILY_REQUEST_LIMIT", "5");
        world.set("MAX_RETRIES", "2");
        world.poll().await.expect(0).says("the rest of DAILY_REQUEST_LIMIT is for the next poll");
        // Five, less one day's poll, which may take two.
        assert_eq!(world.asked().len(), 3);
        assert_eq!(world.state().await["recovery"]["today"], json!({"on": "2024-07-01", "requests": 3}));
        world.poll().await.expect(0);
        assert_eq!(world.asked().len(), 0, "another run of that day");
    }

    // The consumer takes its time: a second run on that day must not send everything again.
    async fn what_was_sent_today_is_not_missing(world) {
        world.prepare().await;
        world.start_at("2024-06-28").await;
        world.all_sites(&["aa"]);
        for day in 1..=27 {
            world.in_redshift(&format!("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, enters, is_healthy_data, is_fresh) VALUES ('aa', '2024-06-{day:02} 10:00:00', 1, true, true)")).await;
        }
        let increments = [("EP 01", "01", "0900", 3)];
        for day in ["2024-06-29", "2024-06-30", "2024-07-01"] {
            world.answers_with("allsites", day, &site("aa", day, &increments));
        }
        world.answers_with("site/aa", "2024-06-28", &site("aa", "2024-06-28", &increments));
        // The poll ends with an error behind its first day, so that the recovery does not run.
        world.answers_with("allsites", "2024-06-30", "<sites><error>E107</error></sites>");
        world.poll().await.expect(4);
        world.answers_with("allsites", "2024-06-30", &site("aa", "2024-06-30", &increments));
        world.asked();
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["allsites 2024-06-30", "site/aa 2024-06-28"]);
        world.poll().await.expect(0).says("3 were sent today");
        assert_eq!(world.asked(), [""; 0]);
        assert_eq!(world.delivered().await.len(), 3);

        // Tomorrow it is taken for lost, unless it has arrived.
        world.set("AS_OF", "2024-07-02T12:00:00+00:00");
        let sent = world.delivered().await;
        let kept = sent.into_iter().filter(|record| record["increment_start"] != "2024-06-28 09:00:00");
        for record in kept {
            let start = record["increment_start"].as_str().unwrap();
            world.in_redshift(&format!("INSERT INTO location_visits_qa (shoppertrak_site_id, increment_start, is_healthy_data, is_fresh) VALUES ('aa', '{start}', true, true)")).await;
        }
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["allsites 2024-07-01", "site/aa 2024-06-28"]);
    }

    // P7
    async fn sigterm_ends_the_recovery_between_two_sites(world) {
        world.prepare().await;
        for id in ["aa", "ab", "ac"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 3)]);
        }
        *world.shoppertrak.held.lock().unwrap() = Some("site/ab".into());
        let child = world.program.start(&["run", "location-visits"]);
        tokio::time::timeout(Duration::from_secs(60), world.shoppertrak.reached.notified()).await.expect("it asks");
        let id = child.id().expect("it runs").to_string();
        let sent = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill can be run").success());
        let ended = world.program.searched(child.wait_with_output().await.expect("it ends"));
        ended.expect(0).says("stopping");
        assert!(sent.elapsed() < Duration::from_secs(10));
        world.shoppertrak.go_on.notify_one();
        assert_eq!(world.asked(), ["site/aa 2024-06-15", "site/ab 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
        *world.shoppertrak.held.lock().unwrap() = None;
        world.poll().await.expect(0);
        assert_eq!(world.asked(), ["site/ab 2024-06-15", "site/ac 2024-06-15"]);
        assert_eq!(world.consume().await, 2);
    }

    async fn it_can_be_run_alone_and_shown(world) {
        world.prepare().await;
        world.start_at("2024-06-28").await;
        for id in ["aa", "ab"] {
            world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
            world.answers(id, &[("EP 01", "01", "0900", 37)]);
        }
        world.answers_with("allsites", "2024-06-29", &site("bb", "2024-06-29", &[("EP 01", "01", "0900", 3)]));
        let sample = world.program.run(&["sample", "location-visits"]).await.expect(0);
        assert!(sample.stdout.contains("37"), "{}", sample.stdout);
        assert_eq!(world.asked(), ["allsites 2024-06-29", "site/aa 2024-06-15"]);
        world.program.run(&["run", "location-visits", "--only", "recovery", "--max-batches", "1"]).await.expect(0);
        assert_eq!(world.asked(), ["site/aa 2024-06-15"]);
        assert_eq!(world.consume().await, 1);
    }
}

/// P1: killed between any two rooms, and run again. What the first run had sent is in the table by
/// then. Each increment has one fresh row in the end, and a healthy one.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_rooms_the_table_ends_right() {
    for room in [
        "recovery sent",
        "recovery set aside",
        "recovery marked",
        "recovery saved",
    ] {
        killed(World::embedded(), room).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_real_servers_the_table_ends_right() {
    for room in ["recovery sent", "recovery marked"] {
        killed(World::servers().await, room).await;
    }
}

async fn killed(mut world: World, room: &str) {
    world.prepare().await;
    for id in ["aa", "ab", "ac"] {
        world.row(id, (Some(1), "09:00:00", false, true, 0)).await;
        world.row(id, (None, "09:00:00", false, true, 0)).await;
        world.answers(id, &[("EP 01", "01", "0900", 3), ("door", "01", "0900", 4)]);
    }
    // Tried in vain, so that there is something to save.
    world.row("zz", (Some(1), "09:00:00", false, true, 0)).await;
    let time = if room == "recovery saved" { 1 } else { 2 };
    let child = world
        .program
        .interrupted(
            &format!("{room}:{time}"),
            "kill",
            &["run", "location-visits"],
        )
        .spawn()
        .expect("it starts");
    let output = child.wait_with_output().await.expect("the program ends");
    assert_eq!(
        output.status.code(),
        None,
        "{room}: it was not killed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    world.program.searched(output);
    let first = world.consume().await;
    let between = world.fresh().await.len();
    world.poll().await.expect(0);
    let second = world.consume().await;
    assert_eq!(first + second, 6, "{room}: nothing is sent twice");
    let mut expected = Vec::new();
    for id in ["aa", "ab", "ac"] {
        expected.push(format!("{id} - 06-15 09:00 4 healthy"));
        expected.push(format!("{id} 1 06-15 09:00 3 healthy"));
    }
    expected.push("zz 1 06-15 09:00 0 unhealthy".into());
    assert_eq!(world.fresh().await, expected, "{room}");
    if room == "recovery sent" {
        assert_eq!(
            (first, between),
            (4, 9),
            "it was killed between sending and marking"
        );
    }
}
