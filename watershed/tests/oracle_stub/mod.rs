//! A stand-in for Oracle's client library: our own C, compiled when a test first needs it, and fed
//! from a file. What is tested with it walks the whole way through the driver and ODPI-C.
//!
//! Its own tests and those of the program include this file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The folder of the library, for `ORACLE_LIB_DIR`.
pub fn library() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../watershed/tests/oracle_stub");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle_stub");
        fs::create_dir_all(&folder).expect("a folder for the library");
        // Made aside, because another test may be loading the one that is there.
        let made = folder.join(format!("{}.so", std::process::id()));
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let compiled = Command::new(compiler)
            .args([
                "-shared", "-fPIC", "-pthread", "-O1", "-Wall", "-Wextra", "-Werror",
            ])
            .args(["client.c", "query.c", "fixture.c"].map(|file| sources.join(file)))
            .arg("-o")
            .arg(&made)
            .output()
            .expect("a C compiler");
        let words = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{words}");
        fs::rename(&made, folder.join("libclntsh.so")).expect("the library has its name");
        folder
    })
}

/// What a server holds, and what was asked of it.
pub struct Stub {
    folder: TempDir,
}

impl Stub {
    /// A server that behaves as the text says: see `fixture.h`.
    pub fn new(fixture: &str) -> Stub {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("fixture"), fixture).expect("a fixture");
        Stub { folder }
    }

    /// What the environment of a process that loads the library must say.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        let file = |name| self.folder.path().join(name);
        [
            ("ORACLE_STUB_FIXTURE", file("fixture")),
            ("ORACLE_STUB_LOG", file("log")),
        ]
    }

    /// What was asked of the server so far.
    #[allow(
        dead_code,
        reason = "the library's tests look at it from within the process"
    )]
    pub fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// A line of a fixture that is a row: `None` is NULL.
pub fn row(values: &[Option<&str>]) -> String {
    let mut line = "row".to_owned();
    for value in values {
        line.push('\t');
        match value {
            None => line.push_str("\\N"),
            Some(text) => {
                let text = text.replace('\\', "\\\\");
                line.push_str(&text.replace('\t', "\\t").replace('\n', "\\n"));
            }
        }
    }
    line + "\n"
}
