//! How far a delivery is: a bar on a terminal, a line every 3 s in logs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Told with a label, bytes read and bytes in all.
pub type TellShare = dyn Fn(&str, u64, u64) + Send + Sync;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(3);

/// The progress of one delivery.
pub(super) struct Progress {
    delivery: i64,
    bytes: u64,
    last: Mutex<Instant>,
    bar: Option<std::sync::Arc<TellShare>>,
}

impl Progress {
    pub(super) fn new(
        delivery: i64,
        bytes: u64,
        bar: Option<std::sync::Arc<TellShare>>,
    ) -> Progress {
        Progress {
            delivery,
            bytes,
            last: Mutex::new(Instant::now()),
            bar,
        }
    }

    /// So many rows were read, from so many bytes of the file.
    pub(super) fn tell(&self, rows: u64, read: u64) {
        let delivery = self.delivery;
        if let Some(bar) = &self.bar {
            bar(
                &format!("Delivery {delivery}: {rows} rows"),
                read,
                self.bytes,
            );
            return;
        }
        let mut last = self.last.lock().expect("no holder panics");
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            let percent = read.min(self.bytes) * 100 / self.bytes.max(1);
            tracing::info!(
                delivery,
                rows,
                percent,
                "Delivery {delivery}: {rows} rows ({percent} %)"
            );
        }
    }
}
