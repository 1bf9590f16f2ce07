//! Full loads and changes: tables, counts, deliveries and messages are exact.

use super::{Desk, ENTITIES};

/// Full loads of four entities, the counters in hexadecimal order.
pub async fn full_loads(desk: &Desk) {
    desk.put("strategy/LOAD00000001.csv.gz", "1,alpha\n2,\"be,ta\"\n")
        .await;
    desk.put(
        "broker/LOAD00000001.csv",
        "10,First,0.00005\r\n20,NULL,1.5\r\n30,\"NULL\",NULL\r\n",
    )
    .await;
    desk.put("order/LOAD0000000A.csv.gz", "103,2,7.25,1003\n")
        .await;
    desk.put(
        "order/LOAD00000009.csv.gz",
        "101,1,1.5,1001\n102,1,NULL,1002\n",
    )
    .await;
    desk.put(
        "execution/LOAD00000001.csv.gz",
        "101,1,2022-09-22 09:58:53.123,1004\n",
    )
    .await;
}

/// Changes, among them several of one key in one file.
pub async fn changes(desk: &Desk) {
    desk.put(
        "order/20220922-095853123.csv.gz",
        "U,101,1,1.5000,1001\n\
         U,102,2,9.99,1010\n\
         I,104,1,1,1011\n\
         U,104,1,2,1012\n\
         I,105,1,5,1013\n\
         D,105,1,5,1013\n\
         D,999,1,5,1014\n\
         D,103,NULL,NULL,NULL\n",
    )
    .await;
    desk.put(
        "execution/20220922-0958531230.csv",
        "I,101,2,2022-09-22T12:00:00+02,NULL\n",
    )
    .await;
    desk.put(
        "order/20220922-095853124.csv.gz",
        "I,103,1,1,1015\nD,103,1,1,1016\nI,103,2,8,1020\n",
    )
    .await;
}

pub const TABLES: [&str; 11] = [
    "strategy: 1 alpha",
    "strategy: 2 be,ta",
    "broker: 10 First 0.0001",
    "broker: 20 - 1.5000",
    "broker: 30 NULL -",
    "order: 101 1 1.5000 1001",
    "order: 102 2 9.9900 1010",
    "order: 103 2 8.0000 1020",
    "order: 104 1 2.0000 1012",
    "execution: 101 1 2022-09-22 09:58:53.123000 1004",
    "execution: 101 2 2022-09-22 10:00:00.000000 -",
];

pub const DELIVERIES: [&str; 8] = [
    "1 strategy/LOAD00000001.csv.gz 2 2/0/0/0 -",
    "2 broker/LOAD00000001.csv 3 3/0/0/0 -",
    "3 order/LOAD00000009.csv.gz 2 2/0/0/0 1002",
    "4 order/LOAD0000000A.csv.gz 1 1/0/0/0 1003",
    "5 execution/LOAD00000001.csv.gz 1 1/0/0/0 1004",
    "6 order/20220922-095853123.csv.gz 8 1/1/1/3 1014",
    "7 execution/20220922-0958531230.csv 1 1/0/0/0 1014",
    "8 order/20220922-095853124.csv.gz 3 1/0/0/0 1020",
];

pub const MESSAGES: [&str; 8] = [
    "desk.orders.1 strategy.CREATE=2 max=null",
    "desk.orders.2 broker.CREATE=3 max=null",
    "desk.orders.3 order.CREATE=2 max=1002",
    "desk.orders.4 order.CREATE=1 max=1003",
    "desk.orders.5 execution.CREATE=1 max=1004",
    "desk.orders.6 order.AMEND=1 order.CREATE=1 order.REMOVE=1 max=1014",
    "desk.orders.7 execution.CREATE=1 max=1014",
    "desk.orders.8 order.CREATE=1 max=1020",
];

#[tokio::test]
async fn full_loads_and_then_changes() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        let first = desk.run().await.expect(0);
        let key = desk.key("order/LOAD00000009.csv.gz");
        first.says(&format!("INFO: Delivery 3: {key}\n"));
        first.says("INFO: Delivery 3: order (create: 2, amend: 0, remove: 0)\n");
        first.says("INFO: Delivery 3: committed\n");
        first.says("INFO: Delivery 3: notified\n");
        first.says("INFO: Delivery 3: done in 0:00:0");
        first.says("9 read, 9 delivered");

        changes(&desk).await;
        desk.run().await.expect(0);
        assert_eq!(desk.tables().await, TABLES);
        assert_eq!(desk.deliveries().await, DELIVERIES);
        assert_eq!(desk.messages(), MESSAGES);

        // Again, nothing waits.
        desk.run().await.expect(0).says("0 read, 0 delivered");
        assert_eq!(desk.deliveries().await, DELIVERIES);
        let unsent = "SELECT CAST(id AS text) AS line FROM loader_deliveries WHERE notified_at IS NULL OR host = '' OR version = '' OR finished_at < started_at";
        assert_eq!(desk.query(unsent).await, [""; 0]);
    }
}

/// Names are no order: three digits may be the time that four are, and at one time the entities come
/// as they are declared; the key parts what is left.
#[tokio::test]
async fn changes_come_by_their_time_and_then_as_the_entities_are_declared() {
    for desk in Desk::both().await {
        for (name, row) in [
            ("execution/20220922-0958531229.csv", "I,101,1,NULL,NULL\n"),
            ("execution/20220922-095853123.csv", "I,101,2,NULL,NULL\n"),
            ("broker/20220922-0958531230.csv", "I,10,a,1\n"),
            ("order/20220922-0958531230.csv", "I,101,1,1,1\n"),
            ("order/20220922-095853123.csv.gz", "I,102,1,1,1\n"),
            ("strategy/20220922-0958531230.csv.gz", "I,1,a\n"),
            ("strategy/20220922-0958531231.csv", "I,2,a\n"),
        ] {
            desk.put(name, row).await;
        }
        desk.run().await.expect(0);
        let names = |line: &String| line.split(' ').nth(1).map(str::to_owned);
        let delivered: Vec<String> = desk.deliveries().await.iter().filter_map(names).collect();
        assert_eq!(
            delivered,
            [
                "execution/20220922-0958531229.csv",
                "strategy/20220922-0958531230.csv.gz",
                "broker/20220922-0958531230.csv",
                "order/20220922-095853123.csv.gz",
                "order/20220922-0958531230.csv",
                "execution/20220922-095853123.csv",
                "strategy/20220922-0958531231.csv",
            ]
        );
    }
}

#[tokio::test]
async fn a_full_load_again_counts_what_differs() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        desk.run().await.expect(0);
        // The same keys with another ETag: all of the first, one other row in the second, and a
        // snapshot that lacks two keys.
        desk.put("strategy/LOAD00000001.csv.gz", "2,\"be,ta\"\n1,\"alpha\"\n")
            .await;
        desk.put(
            "order/LOAD00000009.csv.gz",
            "102,1,0.1,1002\n101,1,1.50,1001\n100,1,1,1000\n",
        )
        .await;
        desk.put("broker/LOAD00000001.csv", "20,NULL,1.5\n").await;
        desk.run().await.expect(0);
        assert_eq!(
            desk.deliveries().await[5..],
            [
                "6 strategy/LOAD00000001.csv.gz 2 0/0/0/2 1004",
                "7 broker/LOAD00000001.csv 1 0/0/2/1 1004",
                "8 order/LOAD00000009.csv.gz 3 1/1/0/1 1004",
            ]
        );
        // What changed nothing is told to nobody.
        assert_eq!(
            desk.messages()[5..],
            [
                "desk.orders.7 broker.REMOVE=2 max=1004",
                "desk.orders.8 order.AMEND=1 order.CREATE=1 max=1004",
            ]
        );
    }
}

#[tokio::test]
async fn a_late_file_stops_the_run_unless_it_is_allowed() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        changes(&desk).await;
        desk.run().await.expect(0);
        desk.put("order/20220922-095853122.csv", "D,101,1,1,1\n")
            .await;
        desk.put("strategy/20220923-000000000.csv", "I,3,gamma\n")
            .await;
        let late = desk.key("order/20220922-095853122.csv");
        let last = desk.key("order/20220922-095853124.csv.gz");
        let stopped = desk.run().await.expect(7);
        stopped.says(&format!(
            "delivering {late}: it is late, {last} was delivered before it"
        ));
        stopped.says("--allow-late");
        // Nothing after it was applied.
        assert_eq!(desk.deliveries().await, DELIVERIES);
        desk.program
            .run(&["run", "orders", "--allow-late"])
            .await
            .expect(0);
        assert_eq!(
            desk.deliveries().await[8..],
            [
                "9 order/20220922-095853122.csv 1 0/0/1/0 1020",
                "10 strategy/20220923-000000000.csv 1 1/0/0/0 1020"
            ]
        );
        // A full load that is restarted after changes would set rows back.
        desk.put("order/LOAD00000009.csv.gz", "101,1,1.5,1001\n")
            .await;
        desk.run()
            .await
            .expect(7)
            .says("LOAD00000009.csv.gz: it is late");
    }
}

#[tokio::test]
async fn a_dry_run_tells_the_counts_and_leaves_nothing() {
    for mut desk in Desk::both().await {
        full_loads(&desk).await;
        changes(&desk).await;
        desk.set("RUN_AS_SERVICE", "True");
        for arguments in [
            vec!["run", "orders", "--set", "DRY_RUN=True"],
            vec!["run", "orders", "--dry-run"],
        ] {
            let ended = desk.program.run(&arguments).await.expect(0);
            ended.says("Delivery 6: order (create: 1, amend: 1, remove: 1)");
            ended.says("the dry run was rolled back");
            assert!(!ended.stderr.contains("committed"), "{}", ended.stderr);
        }
        assert_eq!(desk.messages(), [""; 0]);
        let tables = match desk.is_postgres() {
            true => {
                "SELECT relname AS line FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            }
            false => "SELECT name FROM sqlite_master",
        };
        assert_eq!(desk.query(tables).await, [""; 0]);
    }
}

#[tokio::test]
async fn without_a_broker_no_message_is_kept() {
    for mut desk in Desk::both().await {
        desk.set("NATS", "");
        full_loads(&desk).await;
        let ended = desk.run().await.expect(0);
        assert_eq!(ended.stderr.matches("NATS is not set").count(), 1);
        let kept = "SELECT CAST(count(*) AS text) AS line FROM loader_deliveries WHERE message IS NOT NULL";
        assert_eq!(desk.query(kept).await, ["0"]);
    }
}

#[tokio::test]
async fn an_unreachable_broker_neither_blocks_nor_fails_the_load() {
    for mut desk in Desk::both().await {
        // Nobody listens on this port.
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        desk.set("NATS", &format!("nats://{closed}"));
        full_loads(&desk).await;
        let ended = desk.run().await.expect(0);
        ended.says("notifications wait for the broker, the load goes on");
        ended.says("5 notifications wait for the broker; the next run sends them");
        desk.set("NATS", "file:notifications.jsonl");
        desk.run().await.expect(0).says("Delivery 5: notified");
        assert_eq!(desk.messages(), MESSAGES[..5]);
    }
}

#[tokio::test]
async fn what_is_no_file_of_the_entities_is_ignored_and_told_once() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        desk.put("order/LOAD00000001.parquet", "?").await;
        desk.put("customer/LOAD00000001.csv", "1\n").await;
        desk.put("order/2022/20220922-095853123.csv", "?").await;
        let ended = desk.run().await.expect(0);
        ended.says("3 objects below ");
        assert_eq!(ended.stderr.matches("are ignored").count(), 1);
        assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
    }
}

#[tokio::test]
async fn existing_tables_are_used_as_they_are_or_refused_by_name() {
    for desk in Desk::both().await {
        let (name, price) = match desk.is_postgres() {
            true => ("public.\"order\"", "numeric(12,4)"),
            false => ("\"order\"", "TEXT"),
        };
        let integer = if desk.is_postgres() {
            "bigint"
        } else {
            "INTEGER"
        };
        desk.execute(&format!("CREATE TABLE {name} (order_id {integer}, strategy_id TEXT, event_id {integer}, remark text, PRIMARY KEY (order_id))")).await;
        full_loads(&desk).await;
        let refused = desk.run().await.expect(3);
        refused.says("table order, column strategy_id: the entities have bigint");
        refused.says(if desk.is_postgres() {
            "the table has text"
        } else {
            "the table has TEXT"
        });
        refused.says("table order, column price: the entities have numeric(12,4)");
        refused.says("the table has no such column");
        let checked = desk.program.run(&["check", "orders"]).await.expect(3);
        assert!(
            checked.stdout.contains("column price"),
            "{}",
            checked.stdout
        );

        desk.execute(&format!("DROP TABLE {name}; CREATE TABLE {name} (remark text DEFAULT 'ours', event_id {integer}, order_id {integer}, price {price}, strategy_id {integer}, PRIMARY KEY (order_id))")).await;
        desk.run().await.expect(0);
        assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
        assert_eq!(
            desk.query("SELECT DISTINCT remark AS line FROM \"order\"")
                .await,
            ["ours"]
        );
    }
}

#[tokio::test]
async fn two_processes_share_a_target() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        desk.run().await.expect(0);
        let other = "source: desk\nprocess: other\nschema: dbo\nentities:\n  - {name: strategy, table: strategies, key: [id], columns: {id: int, code: text}}\n";
        desk.declare(other);
        desk.run()
            .await
            .expect(0)
            .says("Delivery 1: strategy (create: 2");
        desk.declare(ENTITIES);
        desk.run().await.expect(0).says("0 read");
    }
}

#[tokio::test]
async fn what_only_the_server_refuses_names_the_file() {
    let desk = Desk::postgres().await;
    full_loads(&desk).await;
    desk.run().await.expect(0);
    desk.execute("ALTER TABLE \"order\" ADD CHECK (price < 100)")
        .await;
    desk.put("order/20220922-095853123.csv.gz", "U,101,1,100,1\n")
        .await;
    let ended = desk.run().await.expect(7);
    ended.says("applying dbo/order/20220922-095853123.csv.gz: ");
    ended.says("violates check constraint");
    assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
}
