use super::*;

fn read(kind: &str, text: &str) -> Result<String, Unfit> {
    let kind = ColumnType::parse(kind).unwrap_or_else(|| panic!("{kind} is no type"));
    let mut reader = ValueReader::default();
    reader
        .read(kind, text.as_bytes())
        .map(|scalar| match scalar {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Numeric(number) => number.to_string(),
            Scalar::Double(number) => number.to_string(),
            Scalar::Text(text) => text.to_owned(),
            Scalar::Boolean(truth) => truth.to_string(),
            Scalar::Date(days) => date_text(days),
            Scalar::Time(micros) => time_text(micros),
            Scalar::Timestamp(micros) => timestamp_text(micros),
            Scalar::Uuid(bytes) => format!("{:032x}", u128::from_be_bytes(bytes)),
            Scalar::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
}

#[test]
fn types_are_read_as_entities_name_them() {
    for (text, in_postgres) in [
        ("int", "integer"),
        ("Numeric(12, 4)", "numeric(12,4)"),
        ("numeric(5)", "numeric(5,0)"),
        ("varchar(10)", "character varying(10)"),
        ("timestamptz", "timestamp with time zone"),
    ] {
        assert_eq!(ColumnType::parse(text).unwrap().in_postgres(), in_postgres);
    }
    for text in [
        "bigit",
        "varchar",
        "varchar(0)",
        "numeric(4,5)",
        "numeric(1001,0)",
        "int(4)",
        "",
    ] {
        assert_eq!(ColumnType::parse(text), None, "{text}");
    }
}

#[test]
fn decimals_are_rounded_exactly_and_refused_beyond_their_precision() {
    for (kind, text, expected) in [
        ("numeric(12,4)", "1.5", Ok("1.5000")),
        ("numeric(12,4)", "-0.00005", Ok("-0.0001")),
        (
            "numeric(12,4)",
            "0.00004999999999999999999999",
            Ok("0.0000"),
        ),
        ("numeric(12,4)", "99999999.99995", Err(Unfit::Range)),
        ("numeric(12,4)", "99999999.99994", Ok("99999999.9999")),
        (
            "numeric(30,10)",
            "12345678901234567890.1234567891",
            Ok("12345678901234567890.1234567891"),
        ),
        ("numeric(4,4)", "0.99995", Err(Unfit::Range)),
        ("numeric(4,4)", ".9999", Ok("0.9999")),
        ("numeric(5,0)", "1e4", Ok("10000")),
        ("numeric(5,0)", "9.5e0", Ok("10")),
        ("numeric", "1e-3", Ok("0.001")),
        ("numeric", "-000.100", Ok("-0.100")),
        ("numeric", "-0", Ok("0")),
        ("numeric", "NaN", Ok("NaN")),
        ("numeric", "-inf", Ok("-Infinity")),
        ("numeric(4,2)", "inf", Err(Unfit::Range)),
        ("numeric", "1,5", Err(Unfit::Form)),
        ("numeric", "", Err(Unfit::Form)),
        ("numeric", ".", Err(Unfit::Form)),
        ("numeric", "1e", Err(Unfit::Form)),
    ] {
        assert_eq!(
            read(kind, text),
            expected.map(str::to_owned),
            "{kind} `{text}`"
        );
    }
}

#[test]
fn moments_are_read_in_utc() {
    for (kind, text, expected) in [
        (
            "timestamp",
            "2022-09-22 09:58:53.123",
            Ok("2022-09-22 09:58:53.123000"),
        ),
        (
            "timestamp",
            "2022-09-22T09:58:53+02",
            Ok("2022-09-22 07:58:53.000000"),
        ),
        (
            "timestamptz",
            "2022-09-22 09:58:53.1234567-03:30",
            Ok("2022-09-22 13:28:53.123457"),
        ),
        (
            "timestamptz",
            "2022-09-22 09:58:53 UTC",
            Ok("2022-09-22 09:58:53.000000"),
        ),
        (
            "timestamptz",
            "2022-09-22",
            Ok("2022-09-22 00:00:00.000000"),
        ),
        (
            "timestamptz",
            "2022-12-31 24:00:00Z",
            Ok("2023-01-01 00:00:00.000000"),
        ),
        ("timestamptz", "infinity", Ok("infinity")),
        ("timestamp", "2022-02-29 00:00:00", Err(Unfit::Range)),
        ("timestamp", "2022-09-22 25:00:00", Err(Unfit::Range)),
        ("timestamp", "2022-09-22 soon", Err(Unfit::Form)),
        ("date", "2024-2-29", Ok("2024-02-29")),
        ("date", "20240229", Ok("2024-02-29")),
        ("date", "2022-09-22 09:58:53", Ok("2022-09-22")),
        ("date", "0044-03-15 BC", Ok("0044-03-15 BC")),
        ("date", "01/02/2022", Err(Unfit::Form)),
        ("date", "0000-01-01", Err(Unfit::Range)),
        ("date", "2022-13-01", Err(Unfit::Range)),
        ("time", "9:58", Ok("09:58:00.000000")),
        ("time", "24:00:00", Ok("24:00:00.000000")),
        ("time", "24:00:01", Err(Unfit::Range)),
    ] {
        assert_eq!(
            read(kind, text),
            expected.map(str::to_owned),
            "{kind} `{text}`"
        );
    }
}

#[test]
fn other_values_are_read_as_postgresql_reads_them() {
    for (kind, text, expected) in [
        ("smallint", " -32768 ", Ok("-32768")),
        ("smallint", "32768", Err(Unfit::Range)),
        ("int", "1.0", Err(Unfit::Form)),
        ("bigint", "-9223372036854775808", Ok("-9223372036854775808")),
        ("bigint", "9223372036854775808", Err(Unfit::Range)),
        ("bigint", "", Err(Unfit::Form)),
        ("double", "1e400", Err(Unfit::Range)),
        ("double", "1e-400", Err(Unfit::Range)),
        ("double", "-Infinity", Ok("-inf")),
        ("boolean", "T", Ok("true")),
        ("boolean", "of", Ok("false")),
        ("boolean", "o", Err(Unfit::Form)),
        ("boolean", "2", Err(Unfit::Form)),
        ("varchar(3)", "äöü", Ok("äöü")),
        ("varchar(3)", "abcd", Err(Unfit::Range)),
        ("varchar(3)", "abc  ", Ok("abc")),
        ("text", "a\0b", Err(Unfit::Nul)),
        (
            "uuid",
            "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}",
            Ok("a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ),
        (
            "uuid",
            "a0eebc99-9c0b4ef8-bb6d6bb9bd380a11",
            Ok("a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ),
        (
            "uuid",
            "a0eebc99-9c0b4ef8-bb6d6bb9bd380a1",
            Err(Unfit::Form),
        ),
        ("bytea", "\\xDEADbeef", Ok("deadbeef")),
        ("bytea", "0xDE", Ok("de")),
        ("bytea", "", Ok("")),
        ("bytea", "abc", Err(Unfit::Form)),
        ("jsonb", r#"{"a": [1, null]}"#, Ok(r#"{"a": [1, null]}"#)),
        ("jsonb", r#"{"a": "\u0000"}"#, Err(Unfit::Form)),
        ("jsonb", "{", Err(Unfit::Form)),
    ] {
        assert_eq!(
            read(kind, text),
            expected.map(str::to_owned),
            "{kind} `{text}`"
        );
    }
    let mut reader = ValueReader::default();
    assert_eq!(reader.read(ColumnType::Text, b"\xFF"), Err(Unfit::NotUtf8));
}
