//! The world of `pc-reserve`: that of `patron-info` with an Envisionware, embedded or on MariaDB.

use std::ops::{Deref, DerefMut};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use rusqlite::Connection;
use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Value as Json, json};

use crate::program::{Ended, files};
use crate::world::{World as Systems, pseudonym, server};

pub const SCHEMA: &str = include_str!("../../../src/pipelines/pc_reserve/PcReserve.avsc");
pub const ENVISIONWARE: &str = "CREATE TABLE strad_bci (pcrKey int, pcrUserID varchar(64), pcrMinutesUsed int, \
    pcrDateTime datetime(6), pcrBranch varchar(64), pcrArea varchar(64), pcrUserData1 varchar(255), \
    UNIQUE (pcrDateTime, pcrKey))";
/// In the place of the tables that `patron-info` reads.
pub const SIERRA: [&str; 3] = [
    "DROP TABLE sierra_view.patron_view",
    "CREATE TABLE sierra_view.patron_view (id bigint, record_num int, barcode varchar(512), \
     ptype_code smallint, home_library_code varchar(5), pcode3 smallint)",
    "CREATE TABLE sierra_view.phrase_entry (id serial, record_id bigint, index_tag varchar(20), \
     varfield_type_code char(1), index_entry varchar(512))",
];
/// A time before all sessions of a test that does not care.
pub const MAY: &str = "2024-05-01 00:00:00";

/// The world of `patron-info` with an Envisionware.
pub struct World {
    pub systems: Systems,
    /// URL of the test's own MariaDB; nothing for the embedded twin.
    pub mariadb: Option<String>,
    /// Keys of sessions. They are searched for everywhere but in the state, where the old
    /// program's `pcr_key` is one of them.
    pub keys: Vec<String>,
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

/// A row of `strad_bci`.
#[derive(Clone)]
pub struct Session {
    pub key: i64,
    pub user: Option<String>,
    pub minutes: Option<i32>,
    pub at: Option<String>,
    pub branch: Option<&'static str>,
    pub staff_override: Option<&'static str>,
}

pub fn session(key: i64, user: &str, at: &str) -> Session {
    Session {
        key,
        user: Some(user.into()),
        minutes: Some(30),
        at: Some(at.into()),
        branch: Some("Tidewater"),
        staff_override: None,
    }
}

pub fn literal(text: Option<&str>) -> String {
    text.map_or("NULL".into(), |text| {
        format!("'{}'", text.replace('\'', "''"))
    })
}

impl World {
    pub fn embedded() -> World {
        let mut systems = Systems::embedded();
        let sources = systems.path("sources");
        let envisionware = Connection::open(sources.join("envisionware.db")).unwrap();
        envisionware.execute_batch(ENVISIONWARE).unwrap();
        let sierra = Connection::open(sources.join("sierra.db")).unwrap();
        for sql in SIERRA {
            let sql = sql.replace("sierra_view.", "");
            sierra.execute_batch(&sql).unwrap();
        }
        systems.set("ENVISIONWARE_URL", "sqlite:sources/envisionware.db");
        World::over(systems, None)
    }

    pub async fn servers() -> World {
        let mut systems = Systems::servers().await;
        for sql in SIERRA {
            systems.in_sierra(sql).await;
        }
        let mariadb = server("WATERSHED_TEST_MYSQL");
        // The stream's own name is unique already.
        let name = systems.program.settings["SIERRA_DB_NAME"].replace("sierra", "envisionware");
        let mut admin = Conn::new(Opts::from_url(&mariadb).unwrap()).await.unwrap();
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        admin.query_drop(create).await.unwrap();
        let url = format!("{mariadb}/{name}");
        let (user, host) = mariadb
            .trim_start_matches("mysql://")
            .split_once('@')
            .unwrap();
        let (user, password) = user.split_once(':').unwrap();
        let (host, port) = host.split_once(':').unwrap();
        systems.program.hidden.push(password.to_owned());
        for (part, text) in [
            ("HOST", host),
            ("PORT", port),
            ("NAME", &name),
            ("USER", user),
            ("PASSWORD", password),
        ] {
            systems.set(&format!("ENVISIONWARE_DB_{part}"), text);
        }
        let world = World::over(systems, Some(url));
        world.in_envisionware(ENVISIONWARE).await;
        world
    }

    pub fn over(mut systems: Systems, mariadb: Option<String>) -> World {
        systems.answer_schema(200, &systems.schema_answer(SCHEMA));
        let url = systems.program.settings["PATRON_INFO_SCHEMA_URL"].clone();
        systems.set("PC_RESERVE_SCHEMA_URL", &url);
        systems.set("REDSHIFT_TABLE_SUFFIX", "_qa");
        World {
            systems,
            mariadb,
            keys: Vec::new(),
        }
    }

    pub async fn in_envisionware(&self, sql: &str) {
        match &self.mariadb {
            None => Connection::open(self.path("sources/envisionware.db"))
                .unwrap()
                .execute_batch(sql)
                .expect(sql),
            Some(url) => Conn::new(Opts::from_url(url).unwrap())
                .await
                .unwrap()
                .query_drop(sql)
                .await
                .expect(sql),
        }
    }

    /// Adds sessions; whatever is personal about them must not come to light from now on.
    pub async fn sessions(&mut self, sessions: &[Session]) {
        for session in sessions {
            self.keys.push(session.key.to_string());
            let user = session.user.clone().filter(|user| user.len() > 4);
            self.systems.program.hidden.extend(user);
            let at = session.at.clone().map(|at| match at.contains('.') {
                true => at,
                // As the embedded twin has it.
                false => format!("{at}.000000"),
            });
            let minutes = session.minutes.map_or("NULL".into(), |m| m.to_string());
            let sql = format!(
                "INSERT INTO strad_bci VALUES ({}, {}, {minutes}, {}, {}, 'Adult', {})",
                session.key,
                literal(session.user.as_deref()),
                literal(at.as_deref()),
                literal(session.branch),
                literal(session.staff_override)
            );
            self.in_envisionware(&sql).await;
        }
    }

    /// Makes Sierra know a barcode, under `id`.
    pub async fn entry(&mut self, id: i64, tag: &str, barcode: &str) {
        self.systems.program.hidden.push(id.to_string());
        let barcode = literal(Some(barcode));
        let sql = format!(
            "INSERT INTO sierra_view.phrase_entry (record_id, index_tag, index_entry) VALUES ({id}, '{tag}', {barcode})"
        );
        self.in_sierra(&sql).await;
    }

    pub async fn view(&mut self, id: i64, barcode: &str, ptype: i32, home: &str) {
        self.systems.program.hidden.push(id.to_string());
        let barcode = literal(Some(barcode));
        let sql = format!(
            "INSERT INTO sierra_view.patron_view VALUES ({id}, 0, {barcode}, {ptype}, '{home}', 4)"
        );
        self.in_sierra(&sql).await;
    }

    /// A patron with one barcode, and one row in Redshift.
    pub async fn patron(&mut self, id: i64, barcode: &str) {
        self.entry(id, "b", barcode).await;
        self.view(id, barcode, 10, "aa").await;
        self.area(id, "10018").await;
    }

    pub async fn area(&self, id: i64, postal_code: &str) {
        let patron = pseudonym(&id.to_string()).await;
        let sql = format!(
            "INSERT INTO patron_info_qa (patron_id, postal_code, geoid) VALUES ('{patron}', '{postal_code}', '36061000100')"
        );
        self.in_redshift(&sql).await;
    }

    pub async fn start_at(&self, at: &str, key: &str) {
        let state = json!({"pcr_date_time": at, "pcr_key": key});
        self.write_state(&state.to_string()).await;
    }

    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let ended = self.program.run(arguments).await;
        self.search_keys(&ended);
        ended
    }

    pub fn search_keys(&self, ended: &Ended) {
        // A kill in the middle of a save leaves the new document beside the old one.
        let state = ["state/state.json", "state/state.json.part"].map(|path| self.path(path));
        let written = files(&self.program.folder).into_iter().filter(|path| {
            !state.contains(path) && !path.components().any(|part| part.as_os_str() == "sources")
        });
        let written = written.map(|path| std::fs::read(path).unwrap_or_default());
        let said = [&ended.stdout, &ended.stderr].map(|text| text.clone().into_bytes());
        for text in written.chain(said) {
            let text = String::from_utf8_lossy(&text);
            // Short ones are in every text.
            for key in self.keys.iter().filter(|key| key.len() > 6) {
                assert!(
                    !text.contains(key.as_str()),
                    "P6 is broken: `{key}` in {text}"
                );
            }
        }
    }

    pub async fn poll(&self) -> Ended {
        self.run(&["run", "pc-reserve"]).await
    }

    pub async fn delivered(&self) -> Vec<Json> {
        if self.mariadb.is_none() {
            return self.systems.delivered().await;
        }
        let schema: Schema = SCHEMA.parse().unwrap();
        let records = self.delivered_bytes().await;
        records
            .iter()
            .map(|record| from_datum_slice(record, &schema).unwrap())
            .collect()
    }

    /// The record of the session with this key.
    pub async fn record(&self, key: i64) -> Json {
        let name = pseudonym(&key.to_string()).await;
        let mut records = self.delivered().await;
        records.retain(|record| record["key"] == name.as_str());
        assert_eq!(records.len(), 1, "records of {key}");
        records.remove(0)
    }

    pub async fn cursor(&self) -> (Json, Json) {
        let state = self.state().await;
        (state["pcr_date_time"].clone(), state["pcr_key"].clone())
    }
}

/// Sessions of one time, with rising keys.
pub fn tied(number: i64, at: &str) -> Vec<Session> {
    (0..number)
        .map(|i| session(7_100_000 + i * 7, "23334000000000", at))
        .collect()
}
