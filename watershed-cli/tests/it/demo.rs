//! The demo, as README's first command runs it.

use std::process::Command;

use crate::program::{Program, files};
use crate::world::server;

fn program(folder: &tempfile::TempDir) -> Program {
    Program {
        folder: folder.path().to_owned(),
        settings: Default::default(),
        hidden: Vec::new(),
    }
}

/// The screen without what changes from run to run.
fn screen(stdout: &str) -> String {
    let line = |line: &str| match line.split_once(".jsonl") {
        Some((start, _)) => format!("{}/<run>.jsonl", start.rsplit_once('/').unwrap().0),
        None => line.to_owned(),
    };
    stdout.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_twice_and_its_files_open_elsewhere() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut program = program(&folder);
    // Real systems in the environment are none of its business.
    program
        .settings
        .insert("SIERRA_URL".into(), "postgres://production".into());
    program
        .settings
        .insert("RUN_AS_SERVICE".into(), "True".into());
    let first = program.run(&["demo"]).await.expect(0);
    insta::assert_snapshot!(screen(&first.stdout));
    // Each pipeline warns under its own name, and none says more.
    for line in [
        " | pc-reserve | WARNING: More than one Redshift row",
        " | orders | WARNING: Delivery 9: 1 rows were set aside",
    ] {
        first.says(line);
    }
    assert!(!first.stderr.contains("INFO"), "{}", first.stderr);
    let second = program.run(&["demo"]).await.expect(0);
    assert_eq!(screen(&first.stdout), screen(&second.stdout));

    let stream = folder.path().join("watershed-demo/patron-info/stream");
    let script = "import sys, fastavro\n\
        records = [r for f in sys.argv[1:] for r in fastavro.reader(open(f, 'rb'))]\n\
        print(len(records), len({r['patron_id'] for r in records}), sum(r['geoid'] is not None for r in records))";
    let python = Command::new(server("WATERSHED_TEST_PYTHON"))
        .arg("-c")
        .arg(script)
        .args(files(&stream))
        .output()
        .unwrap();
    let counted = String::from_utf8(python.stdout).unwrap();
    let counted: Vec<u64> = counted
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let delivered = 3_198 + 1_399 + 400;
    assert_eq!(
        counted[..2],
        [delivered, delivered],
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    assert!(counted[2] > 3_000);
}

#[tokio::test]
async fn a_folder_that_no_demo_made_is_left_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let precious = folder.path().join("watershed-demo/precious");
    std::fs::create_dir(precious.parent().unwrap()).unwrap();
    std::fs::write(&precious, "mine").unwrap();
    program(&folder)
        .run(&["demo"])
        .await
        .expect(3)
        .says("there is one that no demo made");
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "mine");
}
