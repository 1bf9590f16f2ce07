//! Values and rows against PostgreSQL itself: what it reads is what we read, and what it would have
//! stored is what our binary rows store.

use fastrand::Rng;
use futures::SinkExt as _;
use tokio_postgres::{Client, NoTls};
use watershed::formats::copy;
use watershed::formats::csv::CsvReader;
use watershed::formats::values::{ColumnType, ValueReader};

use crate::support::{environment, unique};

/// A database of the test's own, in another zone than UTC.
async fn database() -> Client {
    let server = environment("WATERSHED_TEST_POSTGRES");
    let name = unique("values").replace('-', "_");
    let connect = async |url: String| {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let admin = connect(format!("{server}/postgres?sslmode=disable")).await;
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let client = connect(format!("{server}/{name}?sslmode=disable")).await;
    client.batch_execute(READ).await.unwrap();
    client
}

/// What PostgreSQL reads a text as, or nothing when it refuses it. Each value is stored in a column
/// of its type, as `COPY` does.
const READ: &str = "
    SET timezone TO 'UTC';
    CREATE FUNCTION read(text, text) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE result text;
    BEGIN
        EXECUTE format('CREATE TEMPORARY TABLE one (v %s) ON COMMIT DROP', $2);
        -- A text in JSON is a JSON value already, so that jsonb alone is cast.
        EXECUTE CASE $2 WHEN 'jsonb' THEN 'INSERT INTO one SELECT $1::jsonb'
            ELSE 'INSERT INTO one SELECT i.v FROM json_populate_record(NULL::one, json_build_object(''v'', $1)) i' END USING $1;
        EXECUTE 'SELECT v::text FROM one' INTO result;
        DROP TABLE one;
        RETURN result;
    EXCEPTION WHEN OTHERS THEN RETURN NULL;
    END $$";

/// Copies texts in our binary form; gives what was stored, and nothing for those that we refuse.
async fn ours(client: &Client, kind: ColumnType, texts: &[String]) -> Vec<Option<String>> {
    let table = format!(
        "DROP TABLE IF EXISTS ours; CREATE TABLE ours (n int, v {})",
        kind.in_postgres()
    );
    client.batch_execute(&table).await.unwrap();
    let mut reader = ValueReader::default();
    let mut bytes = copy::HEADER.to_vec();
    for (n, text) in texts.iter().enumerate() {
        if let Ok(value) = reader.read(kind, text.as_bytes()) {
            copy::begin_row(2, &mut bytes);
            bytes.extend_from_slice(&4_i32.to_be_bytes());
            bytes.extend_from_slice(&(n as i32).to_be_bytes());
            copy::value(kind, value, &mut bytes);
        }
    }
    bytes.extend_from_slice(copy::TRAILER);
    let sink = client
        .copy_in("COPY ours FROM STDIN (FORMAT binary)")
        .await
        .unwrap();
    futures::pin_mut!(sink);
    sink.send(bytes::Bytes::from(bytes)).await.unwrap();
    sink.finish()
        .await
        .unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    let mut stored = vec![None; texts.len()];
    for row in client
        .query("SELECT n, v::text FROM ours", &[])
        .await
        .unwrap()
    {
        stored[row.get::<_, i32>(0) as usize] = Some(row.get(1));
    }
    stored
}

/// What PostgreSQL makes of the texts.
async fn theirs(client: &Client, kind: &str, texts: &[String]) -> Vec<Option<String>> {
    let sql = format!(
        "SELECT read(t, '{kind}') FROM unnest($1::text[]) WITH ORDINALITY AS texts (t, n) ORDER BY n"
    );
    let rows = client.query(&sql, &[&texts]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn compare(client: &Client, kind: &str, texts: Vec<String>) {
    let kind = ColumnType::parse(kind).unwrap();
    let ours = ours(client, kind, &texts).await;
    let theirs = theirs(client, &kind.in_postgres(), &texts).await;
    let mut fits = 0;
    for ((text, ours), theirs) in texts.iter().zip(&ours).zip(&theirs) {
        assert_eq!(ours, theirs, "{kind}: `{text}`");
        fits += usize::from(ours.is_some());
    }
    assert!(
        fits > texts.len() / 20,
        "{kind}: only {fits} of {} fit",
        texts.len()
    );
}

fn digits(random: &mut Rng, most: usize) -> String {
    (0..random.usize(0..=most))
        .map(|_| random.digit(10))
        .collect()
}

fn pick(random: &mut Rng, from: &[&str]) -> String {
    random.choice(from).unwrap().to_string()
}

fn decimal(random: &mut Rng) -> String {
    let mut text = pick(random, &["", "-", "+", " ", "-0"]);
    text.push_str(&digits(random, 12));
    if random.bool() {
        text.push('.');
        text.push_str(&digits(random, 14));
    }
    if random.u8(0..5) == 0 {
        text.push_str(&format!(
            "e{}{}",
            pick(random, &["", "-", "+"]),
            random.u8(0..12)
        ));
    }
    text.push_str(&pick(random, &["", "", "", "", " ", "x", "9995", "."]));
    text
}

const TEXTS: usize = 600;

#[tokio::test]
async fn decimals_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(1);
    for kind in [
        "numeric(12,4)",
        "numeric(20,0)",
        "numeric(6,6)",
        "numeric",
        "numeric(1000,500)",
    ] {
        let mut texts: Vec<String> = (0..TEXTS).map(|_| decimal(&mut random)).collect();
        let known = [
            "NaN",
            "nan",
            "-nan",
            "inf",
            "-Infinity",
            "0.00005",
            "0.000049999",
            "99999999.99995",
            "1e1000",
            "1e-1000",
            "0e5",
            "-0.0",
            "10000",
            "9999.9999",
            "0.0001",
            "1e131071",
            "1e131072",
        ];
        texts.extend(known.map(str::to_owned));
        compare(&client, kind, texts).await;
    }
}

#[tokio::test]
async fn numbers_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(2);
    for (kind, most) in [("smallint", 5), ("int", 10), ("bigint", 19)] {
        let texts = (0..TEXTS).map(|_| {
            format!(
                "{}{}{}",
                pick(&mut random, &["", "-", "+", " ", "\t"]),
                digits(&mut random, most),
                pick(&mut random, &["", "", "", " ", ".0", "a"])
            )
        });
        compare(&client, kind, texts.collect()).await;
    }
    let mut texts: Vec<String> = (0..TEXTS).map(|_| decimal(&mut random)).collect();
    texts.extend(
        [
            "1e308", "1e309", "-1e309", "4.9e-324", "1e-324", "inf", "-inf", "Infinity", "NaN",
            "1e400",
        ]
        .map(str::to_owned),
    );
    compare(&client, "double", texts).await;
}

#[tokio::test]
async fn words_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(3);
    let booleans = ["true", "FALSE", "yes", "no", "on", "off", "1", "0", "truex"];
    let texts = (0..TEXTS).map(|_| {
        let word = pick(&mut random, &booleans);
        let cut = random.usize(0..=word.len());
        format!(
            "{}{}{}",
            pick(&mut random, &["", " "]),
            &word[..cut],
            pick(&mut random, &["", " "])
        )
    });
    compare(&client, "boolean", texts.collect()).await;
    let letters = ["a", "ä", "€", "𝄞", " ", "  ", "\n", "'", "\\"];
    for kind in ["text", "varchar(4)"] {
        let texts = (0..TEXTS).map(|_| {
            (0..random.usize(0..7))
                .map(|_| pick(&mut random, &letters))
                .collect()
        });
        compare(&client, kind, texts.collect()).await;
    }
    let texts = (0..TEXTS).map(|_| {
        let mut text = String::new();
        for group in 0..random.choice([8, 8, 8, 8, 7]).unwrap() {
            if group > 0 {
                text.push_str(&pick(&mut random, &["-", "-", ""]));
            }
            text.push_str(&format!("{:04x}", random.u16(..)));
        }
        match random.u8(0..6) {
            0 => format!("{{{text}}}"),
            1 => text.to_uppercase(),
            2 => format!("{text}-"),
            _ => text,
        }
    });
    compare(&client, "uuid", texts.collect()).await;
}

#[tokio::test]
async fn json_and_bytes_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(4);
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"\\u0041\"",
        "\"\\u0000\"",
        "\"\\ud834\\udd1e\"",
        "\"\\ud834\"",
        "1",
        "-1.5e3",
        "01",
        "true",
        "null",
        " ",
    ];
    let mut texts: Vec<String> = (0..TEXTS)
        .map(|_| {
            (0..random.usize(1..4))
                .map(|_| pick(&mut random, &pieces))
                .collect()
        })
        .collect();
    for _ in 0..TEXTS {
        let values: Vec<String> = (0..random.usize(0..4))
            .map(|_| {
                format!(
                    "{}: [{}]",
                    pick(&mut random, &pieces[6..10]),
                    pick(&mut random, &pieces[6..16])
                )
            })
            .collect();
        texts.push(format!("{{{}}}", values.join(", ")));
    }
    compare(&client, "jsonb", texts).await;
    let texts = (0..TEXTS).map(|_| {
        let digits: String = (0..random.usize(0..6)).map(|_| random.digit(16)).collect();
        format!("\\x{digits}")
    });
    compare(&client, "bytea", texts.collect()).await;
}

fn date(random: &mut Rng) -> String {
    let year = match random.u8(0..8) {
        0 => random.u32(0..10_000),
        1 => random.u32(10_000..300_000),
        _ => random.u32(1900..2100),
    };
    let (month, day) = (random.u32(0..14), random.u32(0..33));
    match random.u8(0..5) {
        0 => format!("{year:04}-{month}-{day}"),
        1 => format!("{year:04}/{month:02}/{day:02}"),
        2 if year < 10_000 => format!("{year:04}{month:02}{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02}"),
    }
}

fn time(random: &mut Rng) -> String {
    let (hour, minute, second) = (random.u32(0..26), random.u32(0..62), random.u32(0..62));
    match random.u8(0..5) {
        0 => format!("{hour}:{minute:02}"),
        1 => format!("{hour:02}:{minute:02}:{second:02}"),
        2 => "24:00:00".into(),
        _ => format!(
            "{:02}:{:02}:{:02}.{}",
            hour % 24,
            minute % 60,
            second % 60,
            digits(random, 9)
        ),
    }
}

fn offset(random: &mut Rng) -> String {
    let hours = random.u32(0..17);
    let sign = pick(random, &["+", "-"]);
    match random.u8(0..7) {
        0 => "Z".into(),
        1 => format!("{sign}{hours:02}"),
        2 => format!("{sign}{hours:02}:{:02}", random.u32(0..62)),
        3 => format!(" {sign}{hours:02}{:02}", random.u32(0..60)),
        4 => " UTC".into(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn moments_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(5);
    let mut dates: Vec<String> = (0..TEXTS).map(|_| date(&mut random)).collect();
    dates.extend(
        [
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "2022-09-22 09:58:53",
            "4713-11-24 BC",
            "4714-11-24 BC",
            "4714-11-23 BC",
            "5874897-12-31",
            "5874898-01-01",
            "2024-02-29 AD",
        ]
        .map(str::to_owned),
    );
    compare(&client, "date", dates).await;
    let times = (0..TEXTS).map(|_| time(&mut random)).collect();
    compare(&client, "time", times).await;
    for (kind, with_offset) in [("timestamp", false), ("timestamptz", true)] {
        let mut texts: Vec<String> = (0..2 * TEXTS)
            .map(|_| {
                let between = pick(&mut random, &[" ", "T", "  "]);
                let offset = if with_offset {
                    offset(&mut random)
                } else {
                    String::new()
                };
                match random.u8(0..6) {
                    0 => date(&mut random),
                    _ => format!(
                        "{}{between}{}{offset}",
                        date(&mut random),
                        time(&mut random)
                    ),
                }
            })
            .collect();
        texts.extend(
            [
                "infinity",
                "-infinity",
                "294276-12-31 23:59:59.999999",
                "294277-01-01",
                "4714-11-24 00:00:00 BC",
                "4714-11-23 23:59:59 BC",
            ]
            .map(str::to_owned),
        );
        compare(&client, kind, texts).await;
    }
}

/// Rows of two columns as PostgreSQL reads them from CSV: `-` stands for no value.
async fn csv_theirs(client: &Client, csv: &str) -> Vec<String> {
    client
        .batch_execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS csv (n serial, a text, b text); TRUNCATE csv",
        )
        .await
        .unwrap();
    let sink = client
        .copy_in("COPY csv (a, b) FROM STDIN (FORMAT csv, NULL 'NULL')")
        .await
        .unwrap();
    futures::pin_mut!(sink);
    sink.send(bytes::Bytes::copy_from_slice(csv.as_bytes()))
        .await
        .unwrap();
    sink.finish().await.unwrap();
    let sql = "SELECT coalesce('<' || a || '>', '-') || coalesce('<' || b || '>', '-') FROM csv ORDER BY n";
    client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[tokio::test]
async fn rows_of_csv_are_postgresqls() {
    let client = database().await;
    let mut random = Rng::with_seed(6);
    let pieces = ["a", "NULL", ",", "\"\"", "\n", "é", " ", "\r\n", "'"];
    for end in ["\n", "\r\n"] {
        for _ in 0..100 {
            let mut csv = String::new();
            for _ in 0..random.usize(1..8) {
                let fields: Vec<String> = (0..2)
                    .map(|_| {
                        let text: String = (0..random.usize(0..4))
                            .map(|_| pick(&mut random, &pieces))
                            .collect();
                        match random.bool() && !text.contains([',', '"', '\n', '\r']) {
                            true => text,
                            false => format!("\"{text}\""),
                        }
                    })
                    .collect();
                csv.push_str(&fields.join(","));
                csv.push_str(end);
            }
            let mut reader = CsvReader::new(csv.as_bytes());
            let mut ours = Vec::new();
            while let Some(row) = reader.read().unwrap() {
                assert_eq!((row.fault, row.len()), (None, 2), "{csv:?}");
                let value = |place| {
                    let field = row.field(place);
                    match field.quoted || field.text != b"NULL" {
                        true => format!("<{}>", String::from_utf8_lossy(field.text)),
                        false => "-".to_owned(),
                    }
                };
                ours.push(value(0) + &value(1));
            }
            assert_eq!(ours, csv_theirs(&client, &csv).await, "{csv:?}");
        }
    }
}
