//! The recovery of `location-visits`: a ShopperTrak over HTTP, a Redshift (PostgreSQL, or an
//! embedded file), and the consumer of the stream, which the test plays: it puts what was sent into
//! the table as fresh rows.

mod interrupted;
mod repairs;
mod requests;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use rusqlite::Connection;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::SCHEMA;
use crate::program::Ended;
use crate::world::{World as Systems, server};

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

    fn fails_with(&self, place: &str, day: &str, status: u16) {
        let answer = (StatusCode::from_u16(status).unwrap(), String::new());
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
