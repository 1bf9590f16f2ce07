//! The outside world of one test, in two forms: embedded files, or real servers with databases,
//! a stream and a bucket of the test's own.

mod delivered;
mod servers;

use std::path::PathBuf;

use axum::http::StatusCode;
use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;
use watershed::connectors::objects::Object;
use watershed::geocoding::Ranges;
use watershed::privacy::{Personal, Pseudonymiser, Secret};
use watershed::retry::Policy;

use crate::fixture::{self, Patron, RANGES, REDSHIFT, SIERRA, Stored};
use crate::program::{Ended, Program};
use servers::{Servers, empty_sierra};
pub use servers::{connect, http, own_name, server, verify_sender};

pub const SALT: &str = "$2b$04$GoldenTestSaltForNYPLu";
pub const SCHEMA: &str = include_str!("../../../src/pipelines/patron_info/PatronInfo.avsc");
/// The present of most tests.
pub const NOW: &str = "2024-07-01T12:00:00+00:00";

pub struct World {
    pub program: Program,
    systems: Systems,
    _folder: TempDir,
}

enum Systems {
    Embedded,
    Servers(Box<Servers>),
}

impl World {
    /// Embedded twins alone.
    pub fn embedded() -> World {
        let (folder, mut program) = World::program();
        let sources = folder.path().join("sources");
        let sierra = Connection::open(sources.join("sierra.db")).expect("a file for Sierra");
        for table in SIERRA {
            sierra
                .execute_batch(&table.replace("sierra_view.", ""))
                .expect("Sierra's schema");
        }
        let redshift = Connection::open(sources.join("redshift.db")).expect("a file for Redshift");
        redshift.execute_batch(REDSHIFT).expect("Redshift's schema");
        std::fs::write(sources.join("schema.avsc"), SCHEMA).expect("the schema");
        for (name, text) in [
            ("SIERRA_URL", "sqlite:sources/sierra.db"),
            ("REDSHIFT_URL", "sqlite:sources/redshift.db"),
            ("PATRON_INFO_SCHEMA_URL", "file:sources/schema.avsc"),
            ("STATE_URL", "file:state/state.json"),
            ("STREAM_URL", "file:stream"),
        ] {
            program.settings.insert(name.into(), text.into());
        }
        World {
            program,
            systems: Systems::Embedded,
            _folder: folder,
        }
    }

    /// Real servers.
    pub async fn servers() -> World {
        let (folder, mut program) = World::program();
        let servers = Servers::start(&mut program).await;
        World {
            program,
            systems: Systems::Servers(Box::new(servers)),
            _folder: folder,
        }
    }

    fn program() -> (TempDir, Program) {
        let folder = TempDir::new().expect("a folder");
        let sources = folder.path().join("sources");
        std::fs::create_dir(&sources).expect("a folder for the sources");
        Ranges::build(RANGES.as_bytes(), "ranges.csv", &sources.join("ranges.db"))
            .expect("a geocoder");
        let settings = [
            ("REDSHIFT_TABLE", "patron_info_qa"),
            ("GEOCODER_URL", "ranges:sources/ranges.db"),
            ("BCRYPT_SALT", SALT),
            ("AS_OF", NOW),
            ("SETTLE_SECONDS", "0"),
            ("RETRY_SECONDS", "5"),
        ];
        let settings = settings.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let program = Program {
            folder: folder.path().to_owned(),
            settings: settings.into(),
            hidden: vec![SALT.to_owned()],
        };
        (folder, program)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.folder.join(name)
    }

    pub fn set(&mut self, name: &str, text: &str) {
        self.program.settings.insert(name.into(), text.into());
    }

    /// Adds patrons to Sierra; whatever is personal about them must not come to light from now on.
    pub async fn add(&mut self, patrons: &[Patron]) {
        self.program
            .hidden
            .extend(patrons.iter().flat_map(Patron::hidden));
        match &self.systems {
            Systems::Embedded => {
                let sierra = Connection::open(self.path("sources/sierra.db")).expect("Sierra");
                fixture::insert_embedded(&sierra, patrons).expect("patrons");
            }
            Systems::Servers(servers) => {
                servers
                    .sierra
                    .batch_execute(&fixture::insert_patrons(patrons))
                    .await
                    .expect("patrons");
            }
        }
    }

    /// Adds rows to Redshift.
    pub async fn store(&self, rows: &[Stored]) {
        self.in_redshift(&fixture::insert_stored(rows)).await;
    }

    pub async fn in_sierra(&self, sql: &str) {
        match &self.systems {
            Systems::Embedded => {
                let sierra = Connection::open(self.path("sources/sierra.db")).expect("Sierra");
                sierra
                    .execute_batch(&sql.replace("sierra_view.", ""))
                    .expect(sql);
            }
            Systems::Servers(servers) => servers.sierra.batch_execute(sql).await.expect(sql),
        }
    }

    pub async fn in_redshift(&self, sql: &str) {
        match &self.systems {
            Systems::Embedded => {
                let redshift =
                    Connection::open(self.path("sources/redshift.db")).expect("Redshift");
                redshift.execute_batch(sql).expect(sql);
            }
            Systems::Servers(servers) => servers.redshift.batch_execute(sql).await.expect(sql),
        }
    }

    /// Makes the first patron's street invalid UTF-8, as an old database in SQL_ASCII may hold it.
    pub async fn break_utf8(&mut self, patrons: &[Patron]) {
        let id = patrons[0].id;
        if let Systems::Embedded = &self.systems {
            let street = "CAST(x'4dfc6c6c' AS TEXT)";
            let sql = format!(
                "UPDATE patron_record_address SET addr1 = {street} WHERE patron_record_id = {id}"
            );
            return self.in_sierra(&sql).await;
        }
        let name = format!("{}_ascii", self.program.settings["SIERRA_DB_NAME"]);
        let postgres = server("WATERSHED_TEST_POSTGRES");
        let admin = connect(&format!("{postgres}/postgres?sslmode=disable")).await;
        let encoding = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {encoding}"))
            .await
            .expect("a database");
        let sierra = empty_sierra(&format!("{postgres}/{name}?sslmode=disable")).await;
        sierra
            .batch_execute(&fixture::insert_patrons(patrons))
            .await
            .expect("patrons");
        let street = r"E'M\xfcll'";
        let sql = format!(
            "UPDATE sierra_view.patron_record_address SET addr1 = {street} WHERE patron_record_id = {id}"
        );
        sierra.batch_execute(&sql).await.expect("a street");
        self.set("SIERRA_DB_NAME", &name);
    }

    /// What the schema API, or the schema's file, says from now on.
    pub fn answer_schema(&self, status: u16, answer: &str) {
        match &self.systems {
            Systems::Embedded => {
                std::fs::write(self.path("sources/schema.avsc"), answer).expect("the schema")
            }
            Systems::Servers(servers) => {
                *servers.answer.lock().unwrap() =
                    (StatusCode::from_u16(status).unwrap(), answer.to_owned());
            }
        }
    }

    /// The schema that both twins answer with.
    pub fn schema_answer(&self, schema: &str) -> String {
        match &self.systems {
            Systems::Embedded => schema.to_owned(),
            Systems::Servers(_) => json!({"data": {"schema": schema}}).to_string(),
        }
    }

    fn state_object(&self) -> (PathBuf, Option<Object>) {
        match &self.systems {
            Systems::Embedded => (self.path("state/state.json"), None),
            Systems::Servers(servers) => {
                let url = format!("s3://{}/states/patron_info.json", servers.bucket);
                let policy = Policy::within(std::time::Duration::from_secs(10));
                (
                    PathBuf::new(),
                    Some(Object::open(&url, &servers.aws, policy).expect("an object")),
                )
            }
        }
    }

    /// Writes the state document as it stands.
    pub async fn write_state(&self, text: &str) {
        match self.state_object() {
            (_, Some(object)) => object
                .write(text.to_owned().into())
                .await
                .expect("the state is written"),
            (path, None) => {
                std::fs::create_dir_all(path.parent().unwrap()).expect("a folder for the state");
                std::fs::write(path, text).expect("the state is written");
            }
        }
    }

    /// The state document's text, if there is one.
    pub async fn state_text(&self) -> Option<String> {
        let bytes = match self.state_object() {
            (_, Some(object)) => object.read().await.expect("the state is read")?.0.to_vec(),
            (path, None) => std::fs::read(path).ok()?,
        };
        Some(String::from_utf8(bytes).expect("the state is UTF-8"))
    }

    pub async fn state(&self) -> Map<String, Json> {
        let text = self.state_text().await.expect("there is a state");
        for hidden in &self.program.hidden {
            assert!(
                !text.contains(hidden.as_str()),
                "P6 is broken: `{hidden}` in the state"
            );
        }
        serde_json::from_str(&text).expect("the state is JSON")
    }

    /// Starts all three modes at these places.
    pub async fn start_at(&self, created: &str, updated: &str, deleted: &str) {
        let state = json!({"creation_dt": created, "update_dt": updated, "deletion_date": deleted});
        self.write_state(&state.to_string()).await;
    }

    /// Starts all three modes where nothing is new.
    pub async fn start_at_the_end(&self) {
        self.start_at(
            "2099-01-01T00:00:00-05:00",
            "2099-01-01T00:00:00-05:00",
            "2099-01-01",
        )
        .await;
    }

    pub async fn poll(&self) -> Ended {
        self.program.poll().await
    }
}

/// The pseudonym of a text with the tests' salt.
pub async fn pseudonym(text: &str) -> String {
    let pseudonymiser = Pseudonymiser::new(&Secret::new(SALT)).expect("the salt is well-formed");
    pseudonymiser
        .pseudonyms(&[Personal::new(text.to_owned())])
        .await
        .expect("a pseudonym")[0]
        .to_string()
}

/// Writes a test once and runs it on the embedded twins and on real servers.
macro_rules! in_both_worlds {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::embedded()).await })*
        }
        mod servers {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::servers().await).await })*
        }
        $(async fn $name(mut $world: World) {
            // Some tests only read their world.
            let _ = &mut $world;
            $body
        })*
    };
}
pub(crate) use in_both_worlds;
