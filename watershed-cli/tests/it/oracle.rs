//! `patronload` from an Oracle warehouse: the whole program, through ODPI-C and a stand-in for the
//! client library.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use zip::ZipArchive;

use crate::oracle_stub::{Stub, library, row};
use crate::program::{Ended, Program, files};
use crate::world::{http, server, verify_sender};

const STAFF_COLUMNS: &str = "MIT_ID EMAIL_ADDRESS KRB_NAME_UPPERCASE LIBRARY_ID PREFERRED_FIRST_NAME \
    PREFERRED_MIDDLE_NAME PREFERRED_LAST_NAME LEGAL_FIRST_NAME LEGAL_MIDDLE_NAME LEGAL_LAST_NAME \
    OFFICE_ADDRESS OFFICE_PHONE APPOINTMENT_END_DATE LIBRARY_PERSON_TYPE_CODE LIBRARY_PERSON_TYPE \
    ORG_UNIT_ID ORG_UNIT_TITLE POSITION_TITLE DIRECTORY_TITLE";
const STUDENT_COLUMNS: &str = "MIT_ID EMAIL_ADDRESS KRB_NAME_UPPERCASE LIBRARY_ID \
    PREFERRED_FIRST_NAME PREFERRED_MIDDLE_NAME PREFERRED_LAST_NAME LEGAL_FIRST_NAME \
    LEGAL_MIDDLE_NAME LEGAL_LAST_NAME TERM_STREET1 TERM_STREET2 TERM_CITY TERM_STATE TERM_ZIP \
    TERM_PHONE1 TERM_PHONE2 OFFICE_PHONE STUDENT_YEAR HOME_DEPARTMENT";

const CONNECTOR: &str = r#"{"USER": "READER", "PASSWORD": "Zerlina/7", "HOST": "warehouse.example", "PORT": "1521", "PATH": "DWRHS"}"#;

/// What the program may take for what it does at once.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Invented people; their number stands in most of what they have.
const STAFF: usize = 1_203;
const STUDENTS: usize = 2_650;

/// The program, its folder and its warehouse.
struct World {
    program: Program,
    stub: Stub,
    _folder: TempDir,
}

impl World {
    fn new(fixture: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let stub = Stub::new(&format!(
            "server\t12.1.0.2.0\nlogin\tREADER\tZerlina/7\n{fixture}"
        ));
        let mut program = Program {
            folder: folder.path().to_owned(),
            settings: [
                ("DATAWAREHOUSE_CLOUDCONNECTOR_JSON", CONNECTOR),
                ("ORACLE_LIB_DIR", library().to_str().unwrap()),
                ("OUTPUT_URL", "file:alma"),
                ("MAIL_URL", "file:mail"),
                ("WORKSPACE", "test"),
                ("SES_SEND_FROM_EMAIL", "noreply@library.example"),
                ("SES_RECIPIENT_EMAIL", "staff@library.example"),
                ("AS_OF", "2024-02-29 00:00:00Z"),
                ("RETRY_SECONDS", "0"),
            ]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
            hidden: vec![
                "Zerlina/7".into(),
                "Zoë".into(),
                "Štěpán".into(),
                "@mit.example".into(),
            ],
        };
        let environment = stub.environment();
        let environment =
            environment.map(|(name, path)| (name.to_owned(), path.display().to_string()));
        program.settings.extend(environment);
        World {
            program,
            stub,
            _folder: folder,
        }
    }

    async fn load(&self) -> Ended {
        self.program.run(&["run", "patronload"]).await
    }

    /// Names and contents of what is in the zips, in order.
    fn members(&self) -> Vec<(String, String)> {
        let zips = files(&self.program.folder.join("alma"));
        zips.iter().flat_map(|path| members(path)).collect()
    }

    fn mail(&self) -> String {
        let mails = files(&self.program.folder.join("mail"));
        assert_eq!(mails.len(), 1, "{mails:?}");
        fs::read_to_string(&mails[0]).unwrap()
    }
}

fn members(path: &Path) -> Vec<(String, String)> {
    let mut zip = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let count = zip.len();
    let read = |i| {
        let mut member = zip.by_index(i).unwrap();
        let mut text = String::new();
        member.read_to_string(&mut text).unwrap();
        (member.name().unwrap().into_owned(), text)
    };
    (0..count).map(read).collect()
}

fn table(name: &str, columns: &str) -> String {
    let mut table = format!("table\t{name}\n");
    for column in columns.split_whitespace() {
        let kind = match column {
            "APPOINTMENT_END_DATE" => "DATE",
            // A number that a warehouse may hold as one, and a code of fixed length.
            "ORG_UNIT_ID" => "NUMBER\t8\t0",
            "STUDENT_YEAR" => "CHAR\t1",
            "LEGAL_LAST_NAME" => "NVARCHAR2\t40",
            _ => "VARCHAR2\t200",
        };
        table += &format!("column\t{column}\t{kind}\n");
    }
    table
}

fn staff(number: usize) -> String {
    let n = number.to_string();
    let (email, name) = (format!("s{n}@mit.example"), format!("STAFF{n}"));
    // Every tenth has no account.
    let name = Some(&*name).filter(|_| !number.is_multiple_of(10));
    row(&[
        Some(&n),
        Some(&email),
        name,
        None,
        Some("Zoë"),
        None,
        None,
        Some("Zoë"),
        Some("Q"),
        Some("Štěpán & Ås"),
        None,
        Some("6172530000"),
        Some("2030-06-30 00:00:00"),
        Some("21"),
        Some("Staff"),
        Some("10000536"),
        Some("Libraries"),
        None,
        Some("Librarian"),
    ])
}

fn student(number: usize) -> String {
    let n = number.to_string();
    // The first hundred work there, too.
    let name = match number {
        1..=100 => format!("STAFF{number}"),
        _ => format!("STUDENT{number}"),
    };
    row(&[
        Some(&n),
        None,
        Some(&name),
        Some("NONE"),
        None,
        None,
        None,
        Some("Zoë"),
        None,
        Some("Štěpán"),
        Some("2 Vassar St"),
        None,
        Some("Cambridge"),
        Some("MA"),
        Some("02139"),
        None,
        Some("6175550002"),
        None,
        Some("G"),
        Some("6"),
    ])
}

/// Both tables, with what stands behind the last rows of the second.
fn warehouse(behind: &str) -> String {
    let mut fixture = table("LIBRARY_EMPLOYEE", STAFF_COLUMNS);
    fixture.extend((1..=STAFF).map(staff));
    fixture += &table("LIBRARY_STUDENT", STUDENT_COLUMNS);
    fixture.extend((1..=STUDENTS).map(student));
    fixture + behind
}

#[tokio::test]
async fn the_connection_is_tested_in_the_old_programs_words() {
    let mut world = World::new("");
    // The settings of the warehouse alone.
    world.program.settings.retain(|name, _| {
        ["DATAWAREHOUSE", "ORACLE"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    world
        .program
        .settings
        .insert("LOG_LEVEL".into(), "info".into());
    for flag in ["-t", "--database_connection_test"] {
        let ended = world
            .program
            .run(&["run", "patronload", flag])
            .await
            .expect(0);
        ended.says("INFO: Successfully connected to Oracle Database version: 12.1.0.2.0\n");
    }
    let log = world.stub.log();
    assert!(
        log[0].contains("(HOST=warehouse.example)(PORT=1521))(CONNECT_DATA=(SID=DWRHS))"),
        "{log:?}"
    );
    assert!(files(&world.program.folder.join("mail")).is_empty());
}

#[tokio::test]
async fn staff_and_students_are_loaded_from_oracle() {
    let world = World::new(&warehouse(""));
    world.load().await.expect(0);

    let members = world.members();
    let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "staff_2024-02-29_00.00.00.xml",
            "student_2024-02-29_00.00.00.xml"
        ]
    );
    let [staff, student] = [&members[0].1, &members[1].1];
    let users = |xml: &str| xml.matches("<user>").count();
    assert_eq!(users(staff), STAFF - STAFF / 10);
    // Those who are staff already are skipped, and those of them without an account are not.
    assert_eq!(users(student), STUDENTS - 90);
    for part in [
        "<primary_id>STAFF1@MIT.EDU</primary_id>",
        "<primary_id>STAFF1203@MIT.EDU</primary_id>",
        "<first_name>Zoë</first_name>",
        "<last_name>Štěpán &amp; Ås</last_name>",
        "NO ADDRESS ON FILE IN DATA WAREHOUSE",
        "617-253-0000",
    ] {
        assert!(staff.contains(part), "{part}");
    }
    // The department's code is found by a number: this is the one of an unknown department.
    assert!(!staff.contains(">ZQ<"));
    assert!(student.contains("617-555-0002"));
    // In the warehouse's order.
    let ids = student.split("<primary_id>").skip(1);
    let ids: Vec<&str> = ids.map(|rest| rest.split('@').next().unwrap()).collect();
    let without_account = (10..=100)
        .step_by(10)
        .map(|number| format!("STAFF{number}"));
    let others = (101..=STUDENTS).map(|number| format!("STUDENT{number}"));
    let expected: Vec<String> = without_account.chain(others).collect();
    assert_eq!(ids, expected);

    let mail = world.mail();
    assert!(
        mail.contains("Subject: TEST Patronload file creation 2024-02-29"),
        "{mail}"
    );
    assert!(mail.contains(&STUDENTS.to_string()), "{mail}");
}

/// The environment of the old program's deployment and nothing else but the keys of AWS, which it
/// has from its machine.
#[tokio::test]
async fn an_old_deployment_starts_unchanged() {
    let mut world = World::new(&warehouse(""));
    let aws = server("WATERSHED_TEST_AWS");
    let bucket = format!("olddeployment{}", std::process::id());
    http(&aws, "PUT", &format!("/{bucket}"), &[], "").await;
    let sender = format!("{bucket}@mit.example");
    verify_sender(&sender).await;
    let ours = ["OUTPUT_URL", "MAIL_URL", "AS_OF", "RETRY_SECONDS"];
    world
        .program
        .settings
        .retain(|name, _| !ours.contains(&&**name));
    for (name, text) in [
        ("S3_BUCKET_NAME", &*bucket),
        ("S3_PREFIX", "patronload"),
        ("WORKSPACE", "stage"),
        ("SES_SEND_FROM_EMAIL", &sender),
        (
            "SES_RECIPIENT_EMAIL",
            "one@library.example,two@library.example",
        ),
        ("LOG_LEVEL", "INFO"),
        ("SENTRY_DSN", "None"),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_ENDPOINT_URL", &aws),
    ] {
        world.program.settings.insert(name.into(), text.into());
    }
    let ended = world.load().await.expect(0);
    ended.says("staff: XML created and zipped");
    ended.says("report sent: STAGE Patronload file creation 2");
    let listed = http(&aws, "GET", &format!("/{bucket}?list-type=2"), &[], "").await;
    let keys: Vec<&str> = listed.split("<Key>").skip(1).collect();
    assert_eq!(keys.len(), 2, "{listed}");
    for (key, kind) in keys.iter().zip(["staff", "student"]) {
        assert!(key.starts_with(&format!("patronload/{kind}_2")), "{listed}");
    }
}

#[tokio::test]
async fn files_are_split_by_the_number_that_oracle_counts() {
    let mut world = World::new(&warehouse(""));
    world
        .program
        .settings
        .insert("PATRONS_PER_FILE".into(), "1200".into());
    world.load().await.expect(0);
    let names: Vec<String> = world.members().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "staff_2024-02-29_00.00.00.xml",
            "student_2024-02-29_00.00.00_1.xml",
            "student_2024-02-29_00.00.00_2.xml",
            "student_2024-02-29_00.00.00_3.xml"
        ]
    );
}

#[tokio::test]
async fn p3_an_error_behind_the_last_row_but_one_leaves_the_old_files_in_place() {
    let world = World::new(&warehouse(
        "fail\t3113\tend-of-file on communication channel\n",
    ));
    let alma = world.program.folder.join("alma");
    fs::create_dir(&alma).unwrap();
    fs::write(alma.join("staff_2024-02-28_00.00.00.zip"), "of yesterday").unwrap();
    let ended = world.load().await.expect(4);
    ended.says("DPI-1080: connection was closed by ORA-03113");
    let left: Vec<_> = files(&alma);
    assert_eq!(left, [alma.join("staff_2024-02-28_00.00.00.zip")]);
    assert!(
        world
            .mail()
            .contains("Subject: TEST Patronload FAILED 2024-02-29")
    );
}

#[tokio::test]
async fn check_looks_at_version_and_columns_and_says_what_to_fix() {
    let world = World::new(&warehouse(""));
    fs::create_dir(world.program.folder.join("alma")).unwrap();
    let ended = world.program.run(&["check", "patronload"]).await.expect(0);
    assert!(
        ended.stdout.contains("Oracle Database 12.1.0.2.0"),
        "{}",
        ended.stdout
    );

    let columns = STUDENT_COLUMNS.replace("HOME_DEPARTMENT", "DEPARTMENT");
    for (fixture, words) in [
        (table("LIBRARY_EMPLOYEE", STAFF_COLUMNS), "ORA-00942"),
        (
            table("LIBRARY_EMPLOYEE", STAFF_COLUMNS) + &table("LIBRARY_STUDENT", &columns),
            "ORA-00904: \"HOME_DEPARTMENT\": invalid identifier",
        ),
        (
            "fail-login\t28000\tthe account READER is locked\n".into(),
            "ORA-28000: the user's account is locked",
        ),
    ] {
        let world = World::new(&fixture);
        let ended = world.program.run(&["check", "patronload"]).await.expect(3);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(words), "{said}");
        assert_eq!(
            world
                .stub
                .log()
                .iter()
                .filter(|line| line.starts_with("fetch 1"))
                .count(),
            0
        );
    }
}

#[tokio::test]
async fn without_a_client_the_run_says_what_to_install() {
    let mut world = World::new("");
    let empty = world.program.folder.join("empty");
    fs::create_dir(&empty).unwrap();
    world
        .program
        .settings
        .insert("ORACLE_LIB_DIR".into(), empty.display().to_string());
    for arguments in [
        &["run", "patronload", "-t"][..],
        &["check", "patronload"],
        &["run", "patronload"],
    ] {
        let ended = world.program.run(arguments).await.expect(3);
        let said = ended.stdout + &ended.stderr;
        for words in ["DPI-1047", "Oracle Instant Client", "ORACLE_LIB_DIR"] {
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn p7_a_stop_does_not_wait_for_a_server_that_hangs() {
    let world = World::new(&warehouse("wait\n"));
    let child = world.program.start(&["run", "patronload"]);
    let asked = |what: &'static str| {
        let stub = &world.stub;
        async move {
            while !stub.log().iter().any(|line| line == what) {
                sleep(Duration::from_millis(10)).await;
            }
        }
    };
    timeout(TIME_LIMIT, asked("waiting"))
        .await
        .expect("in time");
    let id = child.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(killed.unwrap().success());
    let ended = timeout(TIME_LIMIT, child.wait_with_output()).await;
    let ended = world.program.searched(ended.expect("in time").unwrap());
    ended.expect(0);
    assert!(world.stub.log().iter().any(|line| line == "break"));
    assert!(world.members().is_empty());
}
