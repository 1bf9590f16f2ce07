//! The queues by themselves: what may be in a call.

use super::*;

fn keyed(keys: &[&str]) -> Vec<(usize, StreamRecord)> {
    let records = keys.iter().map(|key| record(*key, 0));
    records.enumerate().collect()
}

fn places(batch: &[Pending]) -> Vec<usize> {
    batch.iter().map(|pending| pending.place).collect()
}

#[test]
fn a_rejected_record_is_not_overtaken_by_a_later_one_of_its_key() {
    let now = Instant::now();
    let mut shards = Shards::unknown();
    let mut queues = Queues::new(keyed(&["a", "b", "a", "c", "a"]), &shards);
    let mut batch = queues.batch(500, &mut shards, now);
    assert_eq!(places(&batch), [0, 1, 3]);
    // While a's first is in flight, its second is in no other call.
    assert!(queues.batch(500, &mut shards, now).is_empty());
    assert_eq!(queues.wake(&shards, now), None);
    let later = now + Duration::from_secs(1);
    queues.again(batch.remove(0), later);
    batch.iter().for_each(|pending| queues.done(pending));
    assert!(queues.batch(500, &mut shards, now).is_empty());
    assert_eq!(queues.wake(&shards, now), Some(later));
    for place in [0, 2, 4] {
        let batch = queues.batch(500, &mut shards, later);
        assert_eq!(places(&batch), [place]);
        queues.done(&batch[0]);
    }
    assert_eq!(queues.wake(&shards, now), None);
}

#[test]
fn a_call_has_at_most_500_records_and_5_mib() {
    let now = Instant::now();
    let names: Vec<_> = (0..501).map(|key| key.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut shards = Shards::unknown();
    let mut queues = Queues::new(keyed(&names), &shards);
    assert_eq!(queues.batch(500, &mut shards, now).len(), 500);
    assert_eq!(queues.batch(500, &mut shards, now).len(), 1);

    // Eight shards, so that the buckets hold more than a call does.
    let mut shards = Shards::new((0..8_u128).map(|eighth| eighth << 125).collect());
    let mut records = keyed(&names);
    for (_, record) in &mut records {
        record.data = vec![0; RECORD_BYTES - 3].into();
    }
    let mut queues = Queues::new(records, &shards);
    assert_eq!(queues.batch(500, &mut shards, now).len(), 5);
    assert_eq!(queues.batch(500, &mut shards, now).len(), 3);
    assert_eq!(queues.batch(500, &mut shards, now).len(), 0);
}

#[test]
fn keys_of_an_empty_bucket_wait_while_others_go_on() {
    let now = Instant::now();
    // MD5 of "a" is 0cc175b9…, of "b" 92eb5ffe….
    let mut shards = Shards::new(vec![0, 1 << 127]);
    let mut queues = Queues::new(keyed(&["a", "b"]), &shards);
    while shards.take(0, 100, now) {}
    assert_eq!(places(&queues.batch(500, &mut shards, now)), [1]);
    let wake = queues.wake(&shards, now).expect("a waits for tokens");
    assert!(wake > now);
    assert_eq!(places(&queues.batch(500, &mut shards, wake)), [0]);
}
