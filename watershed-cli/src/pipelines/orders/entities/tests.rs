use super::*;

const GOOD: &str = "\
source: paper-engine
process: orders
schema: dbo
event_id: event_id
entities:
  - name: order
    table: trading.order
    key: [order_id]
    columns:
      order_id: bigint
      price: numeric(18,6) not null
      event_id: bigint
  - name: tag
    snapshot: yes
    key: [name, of]
    columns: {name: text, of: int}
";

#[test]
fn entities_are_read() {
    let entities = Entities::parse(GOOD, "e.yaml").unwrap_or_else(|faults| panic!("{faults:#?}"));
    let [order, tag] = &entities.list[..] else {
        panic!("two entities");
    };
    assert_eq!(order.quoted_table, "\"trading\".\"order\"");
    assert_eq!(order.event_id, Some(2));
    assert!(order.columns[0].not_null && order.columns[1].not_null && !order.columns[2].not_null);
    assert!(!order.snapshot && tag.snapshot);
    assert_eq!(tag.table, "tag");
    assert_eq!(tag.key, [0, 1]);
    assert_eq!(tag.form.null_value, "NULL");
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = "\
source: paper engine
proces: orders
schema: dbo
event_id: event
entities:
  - name: order
    key: [order_id, order_id, id]
    columns:
      order_id: bigit
      price: numeric(4,9)
      price: text
      loader_x: text
  - name: order
    table: other
    columns:
      a: int
    extra: 1
  - name: third
    table: Other
    key: [a]
    snapshot: perhaps
    columns:
      a: int not null
";
    let faults = Entities::parse(text, "e.yaml").err().unwrap();
    insta::assert_snapshot!(faults.join("\n"), @r"
    e.yaml, line 2: unknown field `proces`: expected one of source, process, schema, event_id, header, operation_in_full_load, timestamp_column, null_value, entities
    e.yaml, line 1: the field `process` is missing
    e.yaml, line 1: `source`: `paper engine`: a part of a topic has no blanks and none of . * >
    e.yaml, line 9: column `order_id`: unknown type `bigit`: expected smallint, int, bigint, numeric(p,s), double, text, varchar(n), boolean, date, time, timestamp, timestamptz, uuid, jsonb or bytea, each with `not null` or without
    e.yaml, line 10: column `price`: unknown type `numeric(4,9)`: expected smallint, int, bigint, numeric(p,s), double, text, varchar(n), boolean, date, time, timestamp, timestamptz, uuid, jsonb or bytea, each with `not null` or without
    e.yaml, line 11: the column `price` stands there twice
    e.yaml, line 12: `loader_x`: a column's name has no dot in it and does not begin with `loader_`
    e.yaml, line 7: `key`: `order_id` stands there twice
    e.yaml, line 7: `key`: `id` is no column of this entity
    e.yaml, line 17: unknown field `extra`: expected one of name, table, key, columns, snapshot, header, operation_in_full_load, timestamp_column, null_value
    e.yaml, line 13: the field `key` is missing
    e.yaml, line 21: `snapshot`: `perhaps`: expected true or false
    e.yaml, line 13: the entity `order` stands there twice
    e.yaml, line 19: the table `Other` belongs to another entity already
    e.yaml, line 4: `event_id`: no entity has a column `event`
    ");
}

#[test]
fn what_is_no_yaml_says_where() {
    let faults = Entities::parse("source: [a\nb: c: d\n", "e.yaml")
        .err()
        .unwrap();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("e.yaml, line 2: "), "{faults:?}");
}
