//! The files: their names and parts, the change from the old ones to the new, and what is left of
//! runs that did not come to their end.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use watershed::connectors::objects::Folder;
use watershed::retry::Policy;

use super::world::{STAFF, STUDENTS, World, aws};
use crate::interrupted::{paused, stopped};
use crate::world::{http, server};

const NAME: &str = "KRB_NAME_UPPERCASE";
const NEW: [&str; 2] = [
    "patronload/staff_2024-02-29_00.00.00.zip",
    "patronload/student_2024-02-29_00.00.00.zip",
];

/// Two files of an older run, and what is none of ours.
async fn old_files(world: &World) -> Vec<&'static str> {
    for key in ["patronload/staff_old.zip", "patronload/student_old.zip"] {
        world.put(key, b"old").await;
    }
    let others = ["patronload/x.zip.imported", "patronload2/other.zip"];
    for key in others {
        world.put(key, b"other").await;
    }
    others.to_vec()
}

async fn two_patrons(world: &mut World) {
    world.add(STAFF, &[(NAME, "STAFF1")]).await;
    world.add(STUDENTS, &[(NAME, "STUDENT1")]).await;
}

fn names(files: &[super::world::XmlFile]) -> Vec<&str> {
    files.iter().map(|file| &*file.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_zips_are_replaced_below_the_prefix_alone() {
    for mut world in [World::embedded(), World::embedded_to_s3().await] {
        two_patrons(&mut world).await;
        let others = old_files(&world).await;
        world.put("patronload/sub/deep.zip", b"old").await;
        world
            .put("patronload/student_1999.zip.part", b"left over")
            .await;
        world.run().await.expect(0);
        assert_eq!(world.stored().await, [NEW[0], NEW[1], others[0], others[1]]);
        // Once more, under the same names and under others.
        world.run().await.expect(0);
        assert_eq!(world.stored().await, [NEW[0], NEW[1], others[0], others[1]]);
        world.set("AS_OF", "2024-03-01T00:00:01Z");
        world.run().await.expect(0);
        assert_eq!(
            world.zips("staff").await,
            ["patronload/staff_2024-03-01_00.00.01.zip"]
        );
        assert_eq!(world.zips("student").await.len(), 1);
    }
}

/// An upload that was begun and never ended costs money and is seen by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_ended_by_the_next_run() {
    let mut world = World::embedded_to_s3().await;
    two_patrons(&mut world).await;
    let aws = server("WATERSHED_TEST_AWS");
    let bucket = world.program.settings["S3_BUCKET_NAME"].clone();
    for key in [
        "patronload/staff_1999.zip.part",
        "patronload2/staff_1999.zip.part",
    ] {
        http(&aws, "POST", &format!("/{bucket}/{key}?uploads"), &[], "").await;
    }
    let ended = world.run().await.expect(0);
    ended.says("1 unfinished uploads were ended");
    let left = http(&aws, "GET", &format!("/{bucket}?uploads"), &[], "").await;
    assert_eq!(left.matches("<UploadId>").count(), 1, "{left}");
    assert!(left.contains("patronload2/staff_1999.zip.part"), "{left}");
}

/// The old program looked at the first thousand objects alone.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_old_zips_are_removed() {
    let mut world = World::embedded_to_s3().await;
    two_patrons(&mut world).await;
    let others = old_files(&world).await;
    let url = format!(
        "s3://{}/patronload",
        world.program.settings["S3_BUCKET_NAME"]
    );
    let policy = Policy::within(Duration::from_secs(20));
    let folder = Folder::open(&url, &aws().await, policy).unwrap();
    for i in 0..2_500 {
        let mut upload = folder.upload(&format!("staff_{i}.zip"));
        upload.write("old".into()).await.unwrap();
        upload.finish().await.unwrap();
    }
    let ended = world.run().await.expect(0);
    ended.says("2502 old files were removed");
    assert_eq!(world.stored().await, [NEW[0], NEW[1], others[0], others[1]]);
}

/// Above 8 MiB a zip comes in parts, and memory does not grow with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_zip_comes_in_parts() {
    let mut world = World::embedded_to_s3().await;
    two_patrons(&mut world).await;
    // Random digits: they cannot be deflated to less than half.
    let many = "INSERT INTO LIBRARY_EMPLOYEE (KRB_NAME_UPPERCASE, OFFICE_ADDRESS)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
        SELECT 'N' || i, hex(randomblob(1000)) FROM n;";
    world.in_warehouse(many).await;
    let output = interrupted(&world, "staff stored", 1, "kill")
        .output()
        .await;
    world.program.searched(output.unwrap());
    // S3 names the number of parts in the tag.
    let url = format!(
        "s3://{}/patronload",
        world.program.settings["S3_BUCKET_NAME"]
    );
    let folder = Folder::open(&url, &aws().await, Policy::within(Duration::ZERO)).unwrap();
    let stored = folder.list(".zip.part").await.unwrap();
    let tag = stored[0].tag.as_deref().unwrap().trim_matches('"');
    assert!(tag.ends_with("-2"), "{stored:?}");
    world.run().await.expect(0);
    let zip = world.get(NEW[0]).await;
    assert!(zip.len() > 9 << 20, "{} bytes", zip.len());
    assert_eq!(world.only_file("staff").await.users.len(), 9_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_cut_where_it_is_asked_for() {
    let mut world = World::embedded();
    world.set("PATRONS_PER_FILE", "2");
    world.add_many(STAFF, "S", 5).await;
    // Three rows and two patrons: one file, whose name bears no number.
    world.add(STUDENTS, &[(NAME, "A")]).await;
    world.add(STUDENTS, &[(NAME, "S00001")]).await;
    world.add(STUDENTS, &[(NAME, "B")]).await;
    world.run().await.expect(0);
    assert_eq!(world.stored().await, NEW);
    let zips = world.read(&NEW.map(str::to_owned)).await;
    let base = "staff_2024-02-29_00.00.00";
    let numbered = [1, 2, 3].map(|i| format!("{base}_{i}.xml"));
    assert_eq!(names(&zips[0]), numbered);
    let patrons: Vec<usize> = zips[0].iter().map(|file| file.users.len()).collect();
    assert_eq!(patrons, [2, 2, 1]);
    assert_eq!(names(&zips[1]), ["student_2024-02-29_00.00.00.xml"]);
    assert_eq!(zips[1][0].users.len(), 2);
    let mail = &world.mails()[0];
    assert!(
        mail.contains("student, skipped: 1 name already used"),
        "{mail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_alma_takes_in_a_zip_are_several_zips() {
    let mut world = World::embedded_to_s3().await;
    old_files(&world).await;
    world.set("PATRONS_PER_FILE", "1");
    world.add_many(STAFF, "S", 101).await;
    world.run().await.expect(0);
    let zips = world.zips("staff").await;
    let expected = [1, 2, 3].map(|i| format!("patronload/staff_2024-02-29_00.00.00_{i}.zip"));
    assert_eq!(zips, expected);
    let files = world.read(&zips).await;
    let numbers: Vec<usize> = files.iter().map(Vec::len).collect();
    assert_eq!(numbers, [50, 50, 1]);
    assert_eq!(names(&files[2]), ["staff_2024-02-29_00.00.00_101.xml"]);
    // The next run has one, and takes all three away.
    world.program.settings.remove("PATRONS_PER_FILE");
    world.run().await.expect(0);
    assert_eq!(world.zips("staff").await, [NEW[0]]);
    assert_eq!(world.only_file("staff").await.users.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_zips_than_alma_takes_are_refused_before_anything_is_changed() {
    let mut world = World::embedded();
    world.put("patronload/staff_old.zip", b"old").await;
    world.set("PATRONS_PER_FILE", "1");
    let many = "INSERT INTO LIBRARY_EMPLOYEE (KRB_NAME_UPPERCASE)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) SELECT 'N' || i FROM n;";
    world.in_warehouse(many).await;
    let ended = world.run().await.expect(3);
    ended.says("cutting the patrons into more than 20 zips");
    assert_eq!(world.stored().await, ["patronload/staff_old.zip"]);
}

/// Where a run is killed, in the order of its steps; the second of a step is that of the student
/// file. `copied` is between the two halves of a renaming.
const STEPS: [(&str, u32); 12] = [
    ("cleared", 1),
    ("staff stored", 1),
    ("student stored", 1),
    ("fenced", 1),
    ("listed", 1),
    ("looked", 1),
    ("removed", 1),
    ("copied", 1),
    ("renamed", 1),
    ("copied", 2),
    ("renamed", 2),
    ("reported", 1),
];

fn interrupted(world: &World, room: &str, times: u32, by: &str) -> Command {
    let at = format!("{room}:{times}");
    world.program.interrupted(&at, by, &["run", "patronload"])
}

/// Killed at every step: there are never two zips of one kind, and the next run brings all into
/// order.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_there_are_never_two_of_one_kind() {
    for to_s3 in [false, true] {
        for (room, times) in STEPS {
            let mut world = match to_s3 {
                true => World::embedded_to_s3().await,
                false => World::embedded(),
            };
            two_patrons(&mut world).await;
            let others = old_files(&world).await;
            let output = interrupted(&world, room, times, "kill")
                .output()
                .await
                .unwrap();
            assert_eq!(output.status.code(), None, "{room}: it was not killed");
            world.program.searched(output);
            let changed = ["removed", "copied", "renamed", "reported"].contains(&room);
            for (kind, old) in [
                ("staff", "patronload/staff_old.zip"),
                ("student", "patronload/student_old.zip"),
            ] {
                let zips = world.zips(kind).await;
                assert!(zips.len() <= 1, "{room} {times}: {zips:?}");
                if !changed {
                    assert_eq!(zips, [old], "{room}: the old ones stay until the change");
                }
            }
            // Later, so that the names are others.
            world.set("AS_OF", "2024-03-01T00:00:00Z");
            world.run().await.expect(0);
            let new = NEW.map(|name| name.replace("02-29", "03-01"));
            assert_eq!(
                world.stored().await,
                [&*new[0], &*new[1], others[0], others[1]],
                "{room} {times}"
            );
            assert_eq!(world.users("staff").await.len(), 1);
            assert_eq!(world.users("student").await.len(), 1);
        }
    }
}

/// Of two runs at once one delivers; the other ends with 5 and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_at_once_one_delivers() {
    for room in [
        "cleared",
        "staff stored",
        "student stored",
        "fenced",
        "listed",
        "looked",
        "removed",
        "copied",
        "renamed",
    ] {
        let mut world = World::embedded_to_s3().await;
        two_patrons(&mut world).await;
        let others = old_files(&world).await;
        let mut first = interrupted(&world, room, 1, "pause").spawn().unwrap();
        paused(&mut first).await;
        world.set("AS_OF", "2024-03-01T00:00:00Z");
        world.run().await.expect(0);
        first.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        let ended = world
            .program
            .searched(first.wait_with_output().await.unwrap());
        if room == "cleared" {
            // It had made nothing yet: it has simply run after the other one.
            ended.expect(0);
            assert_eq!(world.zips("staff").await, [NEW[0]], "{room}");
        } else {
            ended
                .expect(5)
                .says("another run has removed or replaced it");
            assert_eq!(
                world.zips("staff").await,
                ["patronload/staff_2024-03-01_00.00.00.zip"],
                "{room}"
            );
        }
        assert_eq!(world.zips("student").await.len(), 1, "{room}");
        let stored = world.stored().await;
        assert_eq!(stored.len(), 2 + others.len(), "{room}: {stored:?}");
    }
}

/// The run that began later has removed the other one's parts. That one must not remove its parts in
/// return before it finds out: nobody would deliver.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_overtaken_leaves_the_other_one_alone() {
    for mut world in [World::embedded(), World::embedded_to_s3().await] {
        two_patrons(&mut world).await;
        old_files(&world).await;
        let mut first = interrupted(&world, "student stored", 1, "pause")
            .spawn()
            .unwrap();
        paused(&mut first).await;
        world.set("AS_OF", "2024-03-01T00:00:00Z");
        let mut second = interrupted(&world, "student stored", 1, "pause")
            .spawn()
            .unwrap();
        paused(&mut second).await;
        for (mut run, code) in [(first, 5), (second, 0)] {
            run.stdin.take().unwrap().write_all(b"\n").await.unwrap();
            let output = run.wait_with_output().await.unwrap();
            world.program.searched(output).expect(code);
        }
        for kind in ["staff", "student"] {
            let name = format!("patronload/{kind}_2024-03-01_00.00.00.zip");
            assert_eq!(world.zips(kind).await, [name]);
        }
    }
}

/// P7: a stop before the change leaves everything as it was; one during it brings it to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_before_the_change_or_after_it() {
    for (room, changed) in [
        ("cleared", false),
        ("student stored", false),
        ("fenced", true),
        ("renamed", true),
    ] {
        for to_s3 in [false, true] {
            let mut world = match to_s3 {
                true => World::embedded_to_s3().await,
                false => World::embedded(),
            };
            two_patrons(&mut world).await;
            let others = old_files(&world).await;
            let before = world.stored().await;
            let mut child = interrupted(&world, room, 1, "pause").spawn().unwrap();
            paused(&mut child).await;
            let ended = world.program.searched(stopped(child).await).expect(0);
            if room == "student stored" {
                ended.says("0 delivered, 2 skipped, 0 set aside; staff: 1 not delivered");
            }
            let place = format!("{room}, to S3: {to_s3}");
            let after = match changed {
                false => before,
                true => [NEW[0], NEW[1], others[0], others[1]]
                    .map(str::to_owned)
                    .to_vec(),
            };
            assert_eq!(world.stored().await, after, "{place}");
        }
    }
}

/// What goes wrong while a zip is on its way is told, and the old files stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_leaves_the_old_files() {
    let mut world = World::embedded_to_s3().await;
    two_patrons(&mut world).await;
    old_files(&world).await;
    let before = world.stored().await;
    let bucket = world.program.settings["S3_BUCKET_NAME"].clone();
    world.set("S3_BUCKET_NAME", "no-such-bucket-anywhere");
    let ended = world.run().await.expect(3);
    ended.says("NoSuchBucket");
    assert!(world.mails()[0].contains("PROD Patronload FAILED 2024-02-29"));
    world.set("S3_BUCKET_NAME", &bucket);
    world.in_warehouse("DROP TABLE LIBRARY_STUDENT").await;
    world.run().await.expect(3).says("LIBRARY_STUDENT");
    assert_eq!(
        world.stored().await,
        before,
        "the staff's part is gone, too"
    );
}
