//! The screens are the test.

use crate::world::World;

async fn screen(arguments: &[&str]) -> String {
    let ended = World::embedded().program.run(arguments).await;
    format!(
        "exit code {}\n{}{}",
        ended.code.unwrap(),
        ended.stdout,
        ended.stderr
    )
}

#[tokio::test]
async fn the_help_screens() {
    insta::assert_snapshot!(screen(&["--help"]).await);
    insta::assert_snapshot!(screen(&["run", "--help"]).await);
    insta::assert_snapshot!(screen(&["check", "--help"]).await);
    insta::assert_snapshot!(screen(&["sample", "--help"]).await);
    insta::assert_snapshot!(screen(&["state", "--help"]).await);
    insta::assert_snapshot!(screen(&["state", "set", "--help"]).await);
    insta::assert_snapshot!(screen(&["geocoder", "build", "--help"]).await);
}

#[tokio::test]
async fn the_list() {
    insta::assert_snapshot!(screen(&["list"]).await, @r"
    exit code 0
    patron-info       Sierra's patrons, pseudonymised and geocoded, to a stream
    pc-reserve        Sessions at public PCs, pseudonymised and joined with patron data, to a stream
    location-visits   Visits per door and quarter of an hour, to a stream
    patronload        Staff and students from the data warehouse, as Alma's XML in zips
    orders            Full loads and change files from a bucket, applied to PostgreSQL
    ");
}

#[tokio::test]
async fn usage_errors() {
    insta::assert_snapshot!(screen(&["run"]).await);
    insta::assert_snapshot!(screen(&["run", "patron-inof"]).await);
    insta::assert_snapshot!(screen(&["run", "patron-info", "--set", "NONSENSE"]).await);
    insta::assert_snapshot!(screen(&["run", "patron-info", "--env", "nowhere"]).await);
}

#[tokio::test]
async fn a_run_without_any_settings() {
    let mut program = World::embedded().program;
    let folder = tempfile::TempDir::new().unwrap();
    program.folder = folder.path().to_owned();
    program.settings.clear();
    let ended = program.run(&["check", "patron-info"]).await.expect(3);
    insta::assert_snapshot!(ended.stderr);
}

#[tokio::test]
async fn faulty_address_ranges() {
    let world = World::embedded();
    let csv = "street,zip,side,from,to,tract\nELM ST,10018,left,1,99,36061000100\nELM ST,1001,odd,99,1,36061\n";
    std::fs::write(world.path("ranges.csv"), csv).unwrap();
    let ended = world
        .program
        .run(&["geocoder", "build", "ranges.csv", "ranges.db"])
        .await
        .expect(7);
    insta::assert_snapshot!(ended.stderr);
    assert!(!world.path("ranges.db").exists());
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = World::embedded()
            .program
            .run(&["completions", shell])
            .await
            .expect(0);
        assert!(ended.stdout.contains("watershed"), "{shell}");
    }
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let script = "set -o pipefail; \"$0\" completions bash | head -c 1 > /dev/null";
    let program = env!("CARGO_BIN_EXE_watershed");
    let status = std::process::Command::new("bash")
        .args(["-c", script, program])
        .status();
    assert!(status.expect("bash can be run").success());
}

#[test]
fn a_log_that_cannot_be_written_is_no_error() {
    let script = "exec \"$0\" run patron-info --config nowhere.yaml 2> /dev/full";
    let status = std::process::Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_watershed")])
        .status();
    assert_eq!(status.expect("bash can be run").code(), Some(3));
}
