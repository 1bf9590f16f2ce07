//! Who made a delivery.

use std::sync::LazyLock;

/// The program's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The machine's name.
pub(super) fn host() -> &'static str {
    static HOST: LazyLock<String> = LazyLock::new(|| {
        let read = |path| std::fs::read_to_string(path).ok();
        let name = read("/proc/sys/kernel/hostname").or_else(|| std::env::var("HOSTNAME").ok());
        let name = name.map(|name| name.trim().to_owned());
        name.filter(|name| !name.is_empty())
            .unwrap_or_else(|| "unknown".into())
    });
    &HOST
}
