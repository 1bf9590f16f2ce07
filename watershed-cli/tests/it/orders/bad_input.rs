//! Bad input: the delivery is rolled back whole, the error names the place, and once the file is
//! repaired the next run goes on.

use super::loading::{DELIVERIES, full_loads};
use super::{Desk, gzip};

/// A file that cannot be applied, and what is said of it.
struct Bad {
    name: &'static str,
    bytes: Vec<u8>,
    says: &'static [&'static str],
}

fn bad(name: &'static str, text: &str, says: &'static [&'static str]) -> Bad {
    let bytes = match name.ends_with(".gz") {
        true => gzip(text.as_bytes()),
        false => text.as_bytes().to_vec(),
    };
    Bad { name, bytes, says }
}

const CHANGES: &str = "order/20220922-095853123.csv.gz";
const FULL: &str = "order/LOAD0000000F.csv.gz";

fn files() -> Vec<Bad> {
    let rows: String = (0..5_000)
        .map(|i| format!("I,{},1,1,1\n", 1_000 + i))
        .collect();
    let whole = gzip(rows.as_bytes());
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 40].fill(0xA5);
    let bytes = |bytes: &[u8], says| Bad {
        name: CHANGES,
        bytes: bytes.to_vec(),
        says,
    };
    let long = "x".repeat(200);
    vec![
        bytes(&whole[..whole.len() - 20], &["truncated or corrupt gzip"]),
        bytes(&corrupt, &["truncated or corrupt gzip"]),
        bytes(b"", &["truncated or corrupt gzip", "the file is empty"]),
        bytes(rows.as_bytes(), &["truncated or corrupt gzip"]),
        bad(
            CHANGES,
            "I,7,1,1,1\nU,8,1,1\n",
            &["line 2, expected 5 columns, found 4"],
        ),
        bad(
            CHANGES,
            "I,7,1,1,1\n\nI,8,1,1,1\n",
            &["line 2, expected 5 columns, found 1"],
        ),
        bad(
            CHANGES,
            "I,7,1,123456789.00001,1\n",
            &[
                "line 1, column price: `123456789.00001`: expected a decimal number of at most 8 digits before the point (numeric(12,4))",
            ],
        ),
        bad(
            "execution/20220922-095853123.csv",
            "I,7,1,2022-02-30 00:00:00,1\n",
            &["line 1, column at: `2022-02-30 00:00:00`: expected a time such as"],
        ),
        bad(
            "execution/20220922-095853123.csv",
            "I,7,32768,2022-02-20 00:00:00,1\n",
            &["column number: `32768`: expected a whole number from -32768 to 32767 (smallint)"],
        ),
        Bad {
            name: "strategy/20220922-095853123.csv",
            bytes: b"I,7,a\nI,8,\xFF\xFE\n".to_vec(),
            says: &["line 2, column code: `\u{fffd}\u{fffd}`: expected UTF-8"],
        },
        bad(
            "strategy/20220922-095853123.csv",
            "I,7,a\0b\n",
            &["column code: `a\u{fffd}b`: expected text without a NUL byte"],
        ),
        bad(
            CHANGES,
            "I,7,1,1,1\nX,8,1,1,1\n",
            &["line 2, column operation: `X`: expected I, U or D"],
        ),
        bad(
            FULL,
            "7,1,1,1\n8,1,1,1\n\"7\",2,2,2\n",
            &["line 3, column order_id: `7`: expected a key that comes once, line 1 has it, too"],
        ),
        bad(
            "execution/LOAD0000000F.csv",
            "7,NULL,NULL,NULL\n",
            &[
                "line 1, column number: `NULL`: expected a value, because the column belongs to the key",
            ],
        ),
        bad(
            CHANGES,
            "I,7,1,1,1\nD,NULL,1,1,1\n",
            &[
                "line 2, column order_id: `NULL`: expected a value, because the column belongs to the key",
            ],
        ),
        bad(
            FULL,
            "7,NULL,1,1\n",
            &["column strategy_id: `NULL`: expected a value, because the column is not null"],
        ),
        bad(
            FULL,
            "7,\"\",1,1\n",
            &["column strategy_id: ``: expected a whole number"],
        ),
        bad(
            CHANGES,
            "I,7,1,\"1,1\nI,8,1,1,1\n",
            &["line 1, expected a row of CSV, found a quote that is not closed"],
        ),
        bad(
            CHANGES,
            &format!("I,{long},1,1,1\n"),
            &["column order_id: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`: expected"],
        ),
    ]
}

#[tokio::test]
async fn every_bad_file_is_rolled_back_and_its_repair_is_applied() {
    for desk in Desk::both().await {
        full_loads(&desk).await;
        desk.run().await.expect(0);
        let before = desk.tables().await;
        for (i, file) in files().into_iter().enumerate() {
            desk.put_bytes(file.name, file.bytes).await;
            // In the order of delivery behind all of them.
            desk.put(
                "strategy/20220923-000000000.csv",
                &format!("U,1,alpha\nI,{},later\n", 100 + i),
            )
            .await;
            let ended = desk.run().await.expect(7);
            ended.says(&desk.key(file.name));
            for words in file.says {
                ended.says(words);
            }
            assert_eq!(desk.tables().await, before, "{:?}", file.says);
            assert_eq!(desk.deliveries().await, DELIVERIES[..5]);
            // Out of the way of the next one, which may lie behind it.
            desk.remove(file.name).await;
        }
        let changed = "U,101,1,1.5,2000\n";
        for name in [
            CHANGES,
            "execution/20220922-095853123.csv",
            "strategy/20220922-095853123.csv",
            FULL,
            "execution/LOAD0000000F.csv",
        ] {
            let repaired = match name {
                CHANGES => changed,
                "strategy/20220922-095853123.csv" => "I,3,gamma\n",
                FULL => "7,1,1,1\n",
                "execution/LOAD0000000F.csv" => "7,1,NULL,NULL\n",
                _ => "I,7,2,NULL,NULL\n",
            };
            desk.put(name, repaired).await;
        }
        desk.run().await.expect(0);
        let deliveries = desk.deliveries().await;
        assert_eq!(deliveries.len(), 5 + 6);
        assert_eq!(
            deliveries[10],
            "11 strategy/20220923-000000000.csv 2 1/0/0/1 2000"
        );
    }
}

#[tokio::test]
async fn quarantine_sets_such_rows_aside_and_goes_on() {
    for mut desk in Desk::both().await {
        desk.set("ON_BAD_ROW", "quarantine");
        full_loads(&desk).await;
        desk.put(
            FULL,
            "8,1,1,1\n7,1,1,1\n8,2,2,2\nten,1,1,1\n7,1,\"a\nb\",1\n9,\"1\"x,1,1\n",
        )
        .await;
        desk.put(
            CHANGES,
            "I,30,1,1,1\nX,31,1,1,1\nU,101,1\nD,NULL,1,1,1\nU,102,9,9,9\n",
        )
        .await;
        desk.put_bytes(
            "strategy/20220922-095853124.csv",
            b"I,7,a\0b\nI,8,\xFF\nI,9,c\n".to_vec(),
        )
        .await;
        let ended = desk.run().await.expect(6);
        ended.says("Delivery 5: 4 rows were set aside");
        ended.says("9 records were set aside in the target's table loader_rejects");
        assert_eq!(
            desk.deliveries().await[4..],
            [
                "5 order/LOAD0000000F.csv.gz 6 2/0/0/0 1003",
                "6 execution/LOAD00000001.csv.gz 1 1/0/0/0 1004",
                "7 order/20220922-095853123.csv.gz 5 1/1/0/0 1004",
                "8 strategy/20220922-095853124.csv 3 1/0/0/0 1004",
            ]
        );
        assert_eq!(
            desk.rejects().await,
            [
                "5/3 [8,2,2,2] column order_id: `8`: expected a key that comes once, line 1 has it, too",
                "5/4 [ten,1,1,1] column order_id: `ten`: expected a whole number from -9223372036854775808 to 9223372036854775807 (bigint)",
                "5/5 [7,1,\"a\nb\",1] column price: `a\u{fffd}b`: expected a decimal number of at most 8 digits before the point (numeric(12,4))",
                "5/7 [9,\"1\"x,1,1] expected a row of CSV, found text behind a closing quote",
                "7/2 [X,31,1,1,1] column operation: `X`: expected I, U or D",
                "7/3 [U,101,1] expected 5 columns, found 3",
                "7/4 [D,NULL,1,1,1] column order_id: `NULL`: expected a value, because the column belongs to the key",
                "8/1 [I,7,a\u{fffd}b] column code: `a\u{fffd}b`: expected text without a NUL byte",
                "8/2 [I,8,\u{fffd}] column code: `\u{fffd}`: expected UTF-8",
            ]
        );
        // A file that is none cannot be set aside.
        desk.put_bytes("order/20220922-095853125.csv.gz", b"no gzip".to_vec())
            .await;
        desk.run().await.expect(7).says("truncated or corrupt gzip");
    }
}

#[tokio::test]
async fn a_snapshot_with_rows_set_aside_removes_nothing() {
    for mut desk in Desk::both().await {
        desk.set("ON_BAD_ROW", "quarantine");
        full_loads(&desk).await;
        desk.run().await.expect(0);
        desk.put(
            "broker/LOAD00000002.csv",
            "10,First,0.00005\n20,NULL,much\n",
        )
        .await;
        desk.run().await.expect(6).says("so that none is removed");
        assert_eq!(
            desk.deliveries().await[5],
            "6 broker/LOAD00000002.csv 2 0/0/0/1 1004"
        );
        desk.put("broker/LOAD00000003.csv", "10,First,0.00005\n")
            .await;
        desk.run().await.expect(0);
        assert_eq!(
            desk.deliveries().await[6],
            "7 broker/LOAD00000003.csv 1 0/0/2/1 1004"
        );
    }
}

#[tokio::test]
async fn more_rejects_than_one_block_holds() {
    for mut desk in Desk::both().await {
        desk.set("ON_BAD_ROW", "quarantine");
        let rows: String = (0..3_000)
            .map(|i| match i % 2 {
                0 => format!("{i},1,1,1\n"),
                _ => format!("{i},1,one,1\n"),
            })
            .collect();
        desk.put("order/LOAD00000001.csv", &rows).await;
        desk.run().await.expect(6);
        assert_eq!(
            desk.deliveries().await,
            ["1 order/LOAD00000001.csv 3000 1500/0/0/0 1"]
        );
        assert_eq!(desk.rejects().await.len(), 1_500);
    }
}
