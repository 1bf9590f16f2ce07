//! Servers of a test's own, which it stops and starts again, on the same port and data.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use super::process::Process;
use crate::world::server;

/// A server, running or not.
pub struct Server {
    /// The program and its arguments.
    command: Vec<String>,
    /// What it writes when it is ready.
    ready: &'static str,
    /// The signal that ends it at once.
    end: &'static str,
    process: Option<Process>,
    /// Behind the process, because it is removed after its end.
    _folder: TempDir,
}

impl Server {
    async fn start(
        command: Vec<String>,
        [ready, end]: [&'static str; 2],
        folder: TempDir,
    ) -> Server {
        let mut server = Server {
            command,
            ready,
            end,
            process: None,
            _folder: folder,
        };
        server.start_again().await;
        server
    }

    pub async fn start_again(&mut self) {
        let child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let process = Process::of(child.expect("the server starts"));
        process.says(self.ready).await;
        self.process = Some(process);
    }

    /// Ends it, without leave to finish anything.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.ended_by(self.end).await;
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(self.end);
            let deadline = Instant::now() + Duration::from_secs(10);
            while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
    }
}

/// Below 32768: above it the kernel hands ports to outgoing connections.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_768));
    ports.find(free).expect("one of them is free")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// PostgreSQL, and its URL.
pub async fn postgres() -> (Server, String) {
    // Not in TMPDIR, where the server's user may not reach it.
    let folder = TempDir::new_in("/tmp").expect("a folder");
    let path = folder.path().display().to_string();
    let programs = PathBuf::from(server("WATERSHED_TEST_POSTGRES_PROGRAMS"));
    let program = |name: &str| programs.join(name).display().to_string();
    let (port, password) = (free_port(), format!("{:016x}", fastrand::u64(..)));
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, &password).expect("the password");
    // PostgreSQL refuses to run as root. setpriv becomes the server.
    let mut as_owner = Vec::new();
    if std::fs::metadata(folder.path()).expect("the folder").uid() == 0 {
        as_owner = words(&[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
        ]);
        run(&words(&["chown", "-R", "postgres:", &path])).await;
    }
    let mut made = as_owner.clone();
    made.extend([
        program("initdb"),
        format!("--pgdata={path}/data"),
        format!("--pwfile={}", password_file.display()),
    ]);
    made.extend(words(&[
        "--username=watershed",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]));
    run(&made).await;
    let mut command = as_owner;
    command.extend([
        program("postgres"),
        "-D".into(),
        format!("{path}/data"),
        "-p".into(),
        port.to_string(),
    ]);
    // A commit must outlive the server, and not the machine.
    for setting in [
        "listen_addresses=127.0.0.1",
        "fsync=off",
        "full_page_writes=off",
        "dynamic_shared_memory_type=mmap",
        "autovacuum=off",
        &format!("unix_socket_directories={path}"),
    ] {
        command.extend(["-c".into(), setting.into()]);
    }
    // Killed, it would leave its own processes and shared memory behind; this writes nothing more.
    let words = ["database system is ready to accept connections", "-QUIT"];
    let server = Server::start(command, words, folder).await;
    (
        server,
        format!("postgres://watershed:{password}@127.0.0.1:{port}"),
    )
}

/// NATS with JetStream, and its URL.
pub async fn nats() -> (Server, String) {
    let folder = TempDir::new().expect("a folder");
    let (port, path) = (free_port(), folder.path().display().to_string());
    let file = folder.path().join("nats.conf");
    let configuration = format!(
        "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{path}\" }}\n\
         authorization {{ user: watershed, password: \"Zerlina-7\" }}\n"
    );
    std::fs::write(&file, configuration).expect("the configuration");
    let program = server("WATERSHED_TEST_NATS_SERVER");
    let command = vec![program, "-c".into(), file.display().to_string()];
    let server = Server::start(command, ["Server is ready", "-KILL"], folder).await;
    (
        server,
        format!("nats://watershed:Zerlina-7@127.0.0.1:{port}"),
    )
}

/// A store of S3 whose bucket `orders` has the files of a folder below `data/`, and its endpoint.
pub async fn store(files: &Path) -> (Server, String) {
    let folder = TempDir::new().expect("a folder");
    let program = folder.path().join("store.py");
    std::fs::write(&program, include_str!("store.py")).expect("the program");
    let port = free_port();
    let command = [
        server("WATERSHED_TEST_PYTHON"),
        // Its lines come when they are written.
        "-u".into(),
        program.display().to_string(),
        port.to_string(),
        "orders".into(),
        "data/".into(),
        files.display().to_string(),
    ];
    let server = Server::start(command.into(), ["Running on", "-KILL"], folder).await;
    (server, format!("http://127.0.0.1:{port}"))
}

async fn run(command: &[String]) {
    let output = Command::new(&command[0]).args(&command[1..]).output().await;
    let output = output.expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}
