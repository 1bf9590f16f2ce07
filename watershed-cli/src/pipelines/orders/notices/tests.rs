use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use watershed::connectors::aws::AwsSettings;

use super::super::settings::Config;
use super::super::target::Target;
use super::*;

fn config(folder: &Path) -> Config {
    let entities = folder.join("entities.yaml");
    let yaml = "source: desk\nprocess: orders\nschema: dbo\nentities:\n  - {name: strategy, key: [id], columns: {id: int}}\n";
    std::fs::write(&entities, yaml).unwrap();
    Config {
        entities: Arc::new(Entities::read(&entities).unwrap()),
        source: "file:sources".into(),
        aws: AwsSettings::default(),
        target: Secret::new(format!("sqlite:{}", folder.join("target.db").display())),
        notifications: None,
        quarantine: false,
        dry_run: false,
        sleep: Duration::ZERO..=Duration::ZERO,
        policy: Policy::within(Duration::ZERO),
    }
}

/// A delivery whose message waits.
fn commit(database: &Path, id: i64) {
    let sql = "INSERT INTO loader_deliveries (id, key, etag, bytes, last_modified, entity, \"rows\", \
        created, amended, removed, unchanged, started_at, finished_at, host, version, source, process, \
        message) VALUES (?1, ?1, '', 0, '', '', 0, 0, 0, 0, 0, '', '', '', '', 'desk', 'orders', '{}')";
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.execute(sql, [id]).unwrap();
}

/// The load, which commits one more delivery when the last message that waited was just sent.
struct Load {
    notices: Arc<Notices>,
    database: PathBuf,
    committed: AtomicBool,
}

impl<S: Subscriber> Layer<S> for Load {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let is_room = event.fields().any(|field| field.name() == "room");
        let emptied = is_room && format!("{event:?}").contains("emptied");
        if emptied && !self.committed.swap(true, Ordering::Relaxed) {
            commit(&self.database, 2);
            // The broker counts as failed, so that the load does not wait for it.
            assert_eq!(self.notices.publish().now_or_never(), Some(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_at_the_end_of_an_outage_is_sent_too() {
    let folder = tempfile::TempDir::new().unwrap();
    let (config, database) = (config(folder.path()), folder.path().join("target.db"));
    let mut target = Target::open(&config).unwrap();
    target.ready().await.unwrap();
    let file = folder.path().join("notifications.jsonl");
    let url = Secret::new(format!("file:{}", file.display()));
    let notices = Notices::open(&url, &config.entities, target.outbox()).unwrap();
    let notices = Arc::new(notices);
    commit(&database, 1);
    notices.publisher.failed.store(true, Ordering::SeqCst);
    let load = Load {
        notices: notices.clone(),
        database,
        committed: AtomicBool::new(false),
    };
    let _watching = tracing::subscriber::set_default(tracing_subscriber::registry().with(load));

    notices.publisher.until_done().await;
    let sent = std::fs::read_to_string(&file).unwrap();
    assert!(sent.contains("desk.orders.1"), "{sent}");
    assert!(sent.contains("desk.orders.2"), "{sent}");
    assert!(!notices.publisher.failed.load(Ordering::SeqCst));
}
