//! What a load leaves behind, to be compared with what one leaves that nothing disturbed.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Desk;
use super::broker::{Listener, by_delivery};
use super::running::ten_files;
use crate::world::server;

/// Makes the tables, and notes every row that is written to them, in the transaction that writes it.
async fn watch_the_tables(desk: &Desk) {
    desk.run().await.expect(0);
    desk.execute(
        "CREATE TABLE written (number bigserial, what text); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO written (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP || ' ' || coalesce(OLD::text, '') || ' ' || coalesce(NEW::text, '')); \
         RETURN NULL; END $$",
    )
    .await;
    for table in ["strategy", "broker", "order", "execution"] {
        desk.execute(&format!("CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON \"{table}\" FOR EACH ROW EXECUTE FUNCTION note()")).await;
    }
}

/// What a load leaves behind.
#[derive(Debug, PartialEq)]
pub struct Left {
    tables: Vec<String>,
    deliveries: Vec<String>,
    written: Vec<String>,
    unsent: Vec<String>,
    messages: BTreeMap<String, Json>,
}

impl Left {
    /// Also asserts that whoever listened was told what is kept and nothing else.
    pub async fn of(desk: &Desk, listener: &mut Listener) -> Left {
        let heard = by_delivery(&listener.heard().await);
        assert_eq!(heard, by_delivery(&listener.kept().await));
        Left::in_stream(desk, listener).await
    }

    /// Where nobody could listen all the time.
    pub async fn in_stream(desk: &Desk, listener: &Listener) -> Left {
        let kept = listener.kept().await;
        let messages = by_delivery(&kept);
        assert_eq!(messages.len(), kept.len(), "a stream keeps each once");
        // The messages that were kept with their deliveries are those that were sent.
        let in_order: Vec<Json> = kept.iter().map(|message| message.payload.clone()).collect();
        assert_eq!(desk.stored_messages().await, in_order);
        let comparable = |(id, mut payload): (String, Json)| {
            let (source, delivery) = id.split_once('.').expect("source and delivery");
            assert_eq!(payload["ds"], source);
            for own in ["ds", "utcts"] {
                payload.as_object_mut().expect("an object").remove(own);
            }
            (delivery.to_owned(), payload)
        };
        Left {
            tables: desk.tables().await,
            deliveries: desk.deliveries().await,
            written: desk.query("SELECT what AS line FROM written ORDER BY number").await,
            unsent: desk.query("SELECT id::text AS line FROM loader_deliveries WHERE notified_at IS NULL AND message IS NOT NULL").await,
            messages: messages.into_iter().map(comparable).collect(),
        }
    }
}

/// Somebody who listens to a desk's messages at a broker whose stream keeps them, and ten files.
pub async fn prepare(desk: &mut Desk, broker: &str) -> Listener {
    desk.use_own_subject();
    let listener = Listener::of(broker, &desk.subject).await;
    listener.keep().await;
    desk.set("NATS", broker);
    watch_the_tables(desk).await;
    ten_files(desk).await;
    listener
}

/// A desk on the servers of all tests.
pub async fn prepared() -> (Desk, Listener) {
    let mut desk = Desk::servers().await;
    let listener = prepare(&mut desk, &server("WATERSHED_TEST_NATS")).await;
    (desk, listener)
}

/// What is left by a load that nothing disturbs.
pub async fn undisturbed() -> Left {
    let (desk, mut listener) = prepared().await;
    desk.run().await.expect(0);
    let left = Left::of(&desk, &mut listener).await;
    assert_eq!((left.deliveries.len(), left.messages.len()), (10, 10));
    left
}
