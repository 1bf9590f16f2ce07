//! `location-visits`: the poll of all sites, against a ShopperTrak that answers as it is told, on
//! the embedded twins and on PostgreSQL and Kinesis. `recovery` has a world of its own.

mod answers;
mod interrupted;
mod records;
mod recovery;
mod requests;
mod sample;
mod server;
mod settings;

use std::ops::{Deref, DerefMut};

use serde_avro_fast::{Schema, from_datum_slice};
use serde_json::{Value as Json, json};

use crate::program::Ended;
use crate::world::World as Systems;
use server::ShopperTrak;

const SCHEMA: &str = include_str!("../../../src/pipelines/location_visits/LocationVisits.avsc");
const REDSHIFT: [&str; 3] = [
    "CREATE TABLE location_visits_qa (id bigint, shoppertrak_site_id varchar(100), orbit int, \
     increment_start timestamp, enters int, exits int, is_healthy_data boolean, \
     is_missing_data boolean, is_fresh boolean, poll_date date)",
    "CREATE TABLE location_hours_v2_qa (location_id varchar(10), weekday varchar(10), \
     regular_open time, regular_close time, is_current boolean)",
    "CREATE TABLE location_closures_v2_qa (location_id varchar(10), closure_date date, is_full_day boolean)",
];

/// The world of `patron-info` with a ShopperTrak. Yesterday was 30 June 2024, a Sunday.
pub struct World {
    systems: Systems,
    pub shoppertrak: ShopperTrak,
    on_kinesis: bool,
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

impl World {
    async fn embedded() -> World {
        World::over(Systems::embedded(), false).await
    }

    async fn servers() -> World {
        World::over(Systems::servers().await, true).await
    }

    async fn over(mut systems: Systems, on_kinesis: bool) -> World {
        for table in REDSHIFT {
            systems.in_redshift(table).await;
        }
        systems.answer_schema(200, &systems.schema_answer(SCHEMA));
        let shoppertrak = ShopperTrak::start().await;
        let schema = systems.program.settings["PATRON_INFO_SCHEMA_URL"].clone();
        for (name, text) in [
            ("LOCATION_VISITS_SCHEMA_URL", schema.as_str()),
            ("SHOPPERTRAK_API_BASE_URL", &shoppertrak.base("v2.0")),
            ("SHOPPERTRAK_USERNAME", "st-user"),
            ("SHOPPERTRAK_PASSWORD", "st:hidden-pass"),
            ("REDSHIFT_TABLE_SUFFIX", "_qa"),
            ("RETRY_WAIT_SECONDS", "0"),
        ] {
            systems.set(name, text);
        }
        // The salt and the rest of `patron-info` have no place here.
        systems.program.hidden.push("st:hidden-pass".into());
        World {
            systems,
            shoppertrak,
            on_kinesis,
        }
    }

    /// Leaves the level that needs Redshift.
    fn without_redshift(&mut self) {
        let settings = &mut self.systems.program.settings;
        settings.retain(|name, _| !name.starts_with("REDSHIFT_"));
    }

    async fn last_poll_date(&self, day: &str) {
        let state = json!({"last_poll_date": day, "kept": "by us"});
        self.write_state(&state.to_string()).await;
    }

    /// Where the state stands.
    async fn stands_at(&self) -> String {
        let state = self.state().await;
        assert_eq!(state["kept"], "by us", "a member of others is kept");
        state["last_poll_date"].as_str().unwrap().to_owned()
    }

    async fn poll(&self) -> Ended {
        self.program.run(&["run", "location-visits"]).await
    }

    async fn delivered(&self) -> Vec<Json> {
        if !self.on_kinesis {
            return self.systems.delivered().await;
        }
        let schema: Schema = SCHEMA.parse().unwrap();
        let records = self.delivered_bytes().await;
        records
            .iter()
            .map(|record| from_datum_slice(record, &schema).unwrap())
            .collect()
    }

    /// Days of the records delivered so far, one after another.
    async fn delivered_days(&self) -> Vec<String> {
        let records = self.delivered().await;
        let day = |record: &Json| record["increment_start"].as_str().unwrap()[..10].to_owned();
        let mut days: Vec<String> = records.iter().map(day).collect();
        days.dedup();
        days
    }
}

/// Writes a test once and runs it in both worlds.
macro_rules! in_both_worlds {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::embedded().await).await })*
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
use in_both_worlds;
