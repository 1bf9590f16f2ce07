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
    insta::assert_snapshot!(faults.join("\n"), @"");
}

#[test]
fn what_is_no_yaml_says_where() {
    let faults = Entities::parse("source: [a\nb: c: d\n", "e.yaml")
        .err()
        .unwrap();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("e.yaml, line 2: "), "{faults:?}");
}
