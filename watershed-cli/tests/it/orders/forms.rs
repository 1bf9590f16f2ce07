//! The forms that files, settings and entities have.

use super::{Desk, ENTITIES};
use crate::orders::loading;

#[tokio::test]
async fn files_with_headers_operations_times_and_another_null() {
    for desk in Desk::both().await {
        let entities = ENTITIES.replace(
            "schema: dbo\n",
            "schema: dbo\nheader: true\noperation_in_full_load: true\ntimestamp_column: true\nnull_value: \"\"\n",
        );
        desk.declare(&entities);
        desk.put(
            "order/LOAD00000001.csv.gz",
            "Op,ts,Order_ID,strategy_id,price,event_id\nI,2022-09-22 09:00:00,1,1,,5\n",
        )
        .await;
        desk.put(
            "strategy/LOAD00000001.csv.gz",
            "Op,ts,strategy_id,code\nI,2022-09-22 09:00:00,1,\"\"\n",
        )
        .await;
        desk.put(
            "order/20220922-095853123.csv.gz",
            "Op,ts,order_id,strategy_id,price,event_id\nU,2022-09-22 09:00:00,1,1,2,\n",
        )
        .await;
        desk.run().await.expect(0);
        assert_eq!(desk.tables().await, ["strategy: 1 ", "order: 1 1 2.0000 -"]);

        desk.put(
            "order/20220922-095853124.csv.gz",
            "Op,ts,order_id,price,strategy_id,event_id\n",
        )
        .await;
        desk.run()
            .await
            .expect(7)
            .says("line 1, the header: expected `strategy_id`, found `price`");
    }
}

#[tokio::test]
async fn gzip_of_several_members_is_one_file() {
    for desk in Desk::both().await {
        let members = [
            super::gzip(b"1,a\n2,"),
            super::gzip(b"b\n"),
            super::gzip(b""),
        ]
        .concat();
        desk.put_bytes("strategy/LOAD00000001.csv.gz", members)
            .await;
        desk.run().await.expect(0);
        assert_eq!(desk.tables().await, ["strategy: 1 a", "strategy: 2 b"]);
    }
}

#[tokio::test]
async fn every_type_arrives() {
    let entities = "\
source: desk
process: types
schema: dbo
entities:
  - name: thing
    key: [id]
    columns:
      id: smallint
      n: numeric(30,10)
      d: double
      t: text
      v: varchar(5)
      b: boolean
      day: date
      at: time
      ts: timestamp
      tz: timestamptz
      u: uuid
      j: jsonb
      x: bytea
";
    let desk = Desk::postgres().await;
    desk.declare(entities);
    let row = |id: i32| {
        format!(
            "{id},12345678901234567890.1234567891,1e-3,\"a\"\"b\nc\",\"äöü  \",T,2024-02-29,9:58,2022-09-22 09:58:53+02,2022-09-22 09:58:53,{{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}},\"{{\"\"k\"\": [1, null]}}\",0xDEADbeef\n"
        )
    };
    desk.put("thing/LOAD00000001.csv.gz", &row(1)).await;
    let nulls = format!("2{}\n", ",NULL".repeat(12));
    desk.put(
        "thing/20220922-095853123.csv.gz",
        &format!("I,{}I,{nulls}", row(3)),
    )
    .await;
    desk.run().await.expect(0);
    let text = "SELECT concat_ws('|', id, n, d, replace(t, chr(10), '/'), v, b, day, at, ts, tz AT TIME ZONE 'UTC', u, j, x) AS line FROM thing ORDER BY id";
    let expected = |id: i32| {
        format!(
            "{id}|12345678901234567890.1234567891|0.001|a\"b/c|äöü  |t|2024-02-29|09:58:00|2022-09-22 07:58:53|2022-09-22 09:58:53|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{{\"k\": [1, null]}}|\\xdeadbeef"
        )
    };
    let rows: Vec<String> = desk
        .query(&format!(
            "SELECT encode(convert_to(line, 'UTF8'), 'hex') AS line FROM ({text}) lines"
        ))
        .await;
    let hex = |text: String| {
        text.bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(rows, [hex(expected(1)), hex("2".into()), hex(expected(3))]);
}

#[tokio::test]
async fn every_fault_of_the_entities_is_told_before_anything_is_touched() {
    let desk = Desk::embedded();
    let entities = ENTITIES
        .replace("code: text not null", "code: txt")
        .replace("key: [broker_id]", "key: [brokerid]")
        .replace("snapshot: true", "snapshots: true");
    desk.declare(&entities);
    for command in ["check", "run"] {
        let ended = desk.program.run(&[command, "orders"]).await.expect(3);
        ended.says("3 settings to fix:");
        ended.says("entities.yaml, line 8: column `code`: unknown type `txt`");
        ended.says("entities.yaml, line 10: unknown field `snapshots`");
        ended.says("entities.yaml, line 11: `key`: `brokerid` is no column of this entity");
    }
    assert!(!desk.path("target.db").exists());
}

#[tokio::test]
async fn faults_of_the_settings_tell_no_secret() {
    let mut desk = Desk::embedded();
    desk.program.hidden.push("hunter2".into());
    desk.set("SOURCE", "bucket_name=b bucket_id=me bucket_secret=hunter2");
    desk.set("TARGET", "user=me password='hunter2");
    let ended = desk.program.run(&["check", "orders"]).await.expect(3);
    ended.says("SOURCE (environment): unknown word `bucket_secret`");
    ended.says("TARGET (environment): the quote of `password` is not closed");
    desk.set("SOURCE", "bucket_name=b bucket_id=me");
    desk.set("TARGET", "password=hunter2");
    desk.set("MIN_SLEEP", "9");
    let ended = desk.program.run(&["check", "orders"]).await.expect(3);
    ended.says("`bucket_id` and `bucket_key` belong together");
    ended.says("TARGET (environment): `user` is missing");
    ended.says("MIN_SLEEP (environment) is greater than MAX_SLEEP (environment)");
}

#[tokio::test]
async fn check_asks_every_system_and_changes_nothing() {
    for desk in Desk::both().await {
        loading::full_loads(&desk).await;
        let ended = desk.program.run(&["check", "orders"]).await.expect(0);
        for words in [
            "ok    entities   desk.orders: strategy, broker, order, execution",
            "5 files",
            "ok    tables",
            "ok    broker",
        ] {
            assert!(ended.stdout.contains(words), "{}", ended.stdout);
        }
        assert_eq!(desk.messages(), [""; 0]);
        desk.run().await.expect(0).says("Delivery 1: ");
    }
}

#[tokio::test]
async fn json_lines_carry_the_fields() {
    let mut desk = Desk::embedded();
    desk.set("LOG_FORMAT", "json");
    loading::full_loads(&desk).await;
    let ended = desk.run().await.expect(0);
    let lines: Vec<serde_json::Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let counted = lines.iter().find(|line| line["create"] == 3).unwrap();
    assert_eq!(
        counted["message"],
        "Delivery 2: broker (create: 3, amend: 0, remove: 0)"
    );
    assert_eq!(
        (&counted["delivery"], &counted["entity"]),
        (&2.into(), &"broker".into())
    );
}

#[tokio::test]
async fn a_new_loader_is_two_files_and_no_code() {
    let mut desk = Desk::embedded();
    for name in ["ENTITIES", "NATS", "MIN_SLEEP", "MAX_SLEEP"] {
        desk.program.settings.remove(name);
    }
    desk.put(
        "trade/LOAD00000001.csv",
        "id,price,at\n1,1.25,2022-09-22 09:58:53\n2,NULL,2022-09-23 00:00:00+02\n",
    )
    .await;
    let sample = "sources/dbo/trade/LOAD00000001.csv";
    let new = ["new", "loader", "trades", "--sample", sample];
    let ended = desk.program.run(&new).await.expect(0);
    assert!(
        ended.stdout.contains("watershed check orders --env trades"),
        "{}",
        ended.stdout
    );
    insta::assert_snapshot!(
        std::fs::read_to_string(desk.path("config/orders/trades-entities.yaml")).unwrap()
    );
    let run = ["run", "orders", "--env", "trades"];
    desk.program
        .run(&run)
        .await
        .expect(0)
        .says("Delivery 1: trade (create: 2");
    assert_eq!(
        desk.query("SELECT id || ' ' || coalesce(price, '-') || ' ' || at FROM trade")
            .await,
        [
            "1 1.25 2022-09-22 09:58:53.000000",
            "2 - 2022-09-22 22:00:00.000000"
        ]
    );
    // What is there stays.
    desk.program
        .run(&new)
        .await
        .expect(3)
        .says("move what is there away");
}

#[tokio::test]
async fn a_sample_shows_rows_and_applies_none() {
    let desk = Desk::embedded();
    loading::full_loads(&desk).await;
    let ended = desk.program.run(&["sample", "orders"]).await.expect(0);
    // The table fills its last column with blanks.
    let lines: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    strategy_id  code
    1            alpha
    2            be,ta
    ");
    assert!(!desk.path("target.db").exists());
    desk.program
        .run(&["state", "show", "orders"])
        .await
        .expect(3)
        .says("orders: it has none");
}
