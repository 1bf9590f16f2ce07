//! Runs the program and searches everything that it leaves behind for what must not be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::interruption;

/// How to run the program: settings, and values that must never come to light.
#[derive(Clone)]
pub struct Program {
    pub folder: PathBuf,
    pub settings: BTreeMap<String, String>,
    /// Personal values and secrets of the test's data (P6).
    pub hidden: Vec<String>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Runs `watershed` to its end and searches what it left behind.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let output = self
            .command(env!("CARGO_BIN_EXE_watershed"), arguments)
            .output()
            .await;
        self.searched(output.expect("the program starts"))
    }

    /// As [`Program::run`], with this text on stdin.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_watershed"), arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin
            .write_all(input.as_bytes())
            .await
            .expect("the program reads");
        drop(stdin);
        self.searched(child.wait_with_output().await.expect("the program ends"))
    }

    /// Runs the pipeline once, all modes.
    pub async fn poll(&self) -> Ended {
        self.run(&["run", "patron-info"]).await
    }

    /// Starts `watershed` and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_watershed"), arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// The program that interrupts itself.
    pub fn interrupted(&self, at: &str, by: &str, arguments: &[&str]) -> Command {
        let this = std::env::current_exe().expect("this test binary has a path");
        let mut command = self.command(
            this.to_str().expect("the path is UTF-8"),
            &interruption::THIS_TEST,
        );
        command
            .env(interruption::AT, at)
            .env(interruption::BY, by)
            .env(interruption::ARGUMENTS, arguments.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let temporary = self.folder.join("tmp");
        std::fs::create_dir_all(&temporary).expect("a folder for temporary files");
        let mut command = Command::new(program);
        // At the finest level: whatever could be logged is searched.
        let settings = self
            .settings
            .iter()
            .filter(|(name, _)| *name != "LOG_LEVEL");
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            .env("RUST_LOG", "trace")
            .env("TMPDIR", temporary)
            .env(
                "LOG_LEVEL",
                self.settings
                    .get("LOG_LEVEL")
                    .map_or("trace", String::as_str),
            )
            .envs(settings)
            .current_dir(&self.folder)
            .kill_on_drop(true);
        command
    }

    /// Asserts that neither the output nor a file below the folder holds a hidden value.
    pub fn searched(&self, output: Output) -> Ended {
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let leaks = self.leaks(&ended);
        assert!(leaks.is_empty(), "P6 is broken: {leaks:#?}");
        ended
    }

    /// Where hidden values came to light.
    pub fn leaks(&self, ended: &Ended) -> Vec<String> {
        let mut leaks = Vec::new();
        let mut search = |place: &str, bytes: &[u8]| {
            for hidden in &self.hidden {
                if bytes
                    .windows(hidden.len())
                    .any(|window| window == hidden.as_bytes())
                {
                    leaks.push(format!("`{hidden}` in {place}"));
                }
            }
        };
        search("stdout", ended.stdout.as_bytes());
        search("stderr", ended.stderr.as_bytes());
        for path in files(&self.folder) {
            // The sources are where personal values come from.
            if !path.components().any(|part| part.as_os_str() == "sources") {
                let bytes = std::fs::read(&path).unwrap_or_default();
                search(&path.display().to_string(), &bytes);
                // A mail breaks its long lines and writes letters beyond ASCII in digits.
                if path.extension().is_some_and(|ending| ending == "eml") {
                    search(&path.display().to_string(), &decoded(&bytes));
                }
            }
        }
        leaks
    }
}

/// Quoted-printable text as it was.
fn decoded(mail: &[u8]) -> Vec<u8> {
    let mut pieces = mail.split(|byte| *byte == b'=');
    let mut text = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let (head, rest) = piece.split_at(piece.len().min(2));
        let digits = std::str::from_utf8(head).unwrap_or_default();
        // What is no number is a broken line.
        text.extend(u8::from_str_radix(digits, 16).ok());
        text.extend_from_slice(rest);
    }
    text
}

impl Ended {
    /// Asserts the exit code, and shows everything where it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that the log or an error has these words.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Ended {
        assert!(
            self.stderr.contains(words),
            "`{words}` is not in stderr:\n{}",
            self.stderr
        );
        self
    }
}

/// All files below a folder, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}
