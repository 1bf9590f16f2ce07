//! Folders of large files: in a bucket of S3, in a local folder, and in memory.

use std::os::unix::fs::PermissionsExt as _;

use watershed::connectors::objects::{Folder, PART_BYTES, Stored};
use watershed::error::Remedy;

use crate::support::{aws, environment, policy, unique};

/// A bucket of the test's own, by its name, and a folder in it.
async fn in_s3(prefix: &str) -> (String, Folder) {
    let bucket = unique("folder");
    let folder = folder_of(&bucket, prefix).await;
    http(reqwest::Method::PUT, &bucket, "").await;
    (bucket, folder)
}

async fn folder_of(bucket: &str, prefix: &str) -> Folder {
    let aws = aws(&environment("WATERSHED_TEST_AWS")).await;
    Folder::open(&format!("s3://{bucket}/{prefix}"), &aws, policy()).unwrap()
}

/// A request of S3, as anybody may make it here.
async fn http(method: reqwest::Method, path: &str, body: &str) -> String {
    let endpoint = environment("WATERSHED_TEST_AWS");
    let request = reqwest::Client::new().request(method, format!("{endpoint}/{path}"));
    let answer = request.body(body.to_owned()).send().await.unwrap();
    answer.error_for_status().unwrap().text().await.unwrap()
}

async fn put(folder: &Folder, name: &str, bytes: &[u8]) -> Stored {
    let mut upload = folder.upload(name);
    for part in bytes.chunks(PART_BYTES) {
        upload.write(part.to_vec().into()).await.unwrap();
    }
    upload.finish().await.unwrap()
}

async fn names(folder: &Folder, ending: &str) -> Vec<String> {
    let listed = folder.list(ending).await.unwrap();
    let mut names: Vec<String> = listed.into_iter().map(|stored| stored.name).collect();
    names.sort();
    names
}

/// What every folder keeps.
async fn contract(folder: &Folder) {
    assert_eq!(names(folder, "").await, [""; 0]);
    put(folder, "a.zip", b"one").await;
    put(folder, "below/b.zip", b"two").await;
    put(folder, "c.zip.imported", b"three").await;
    put(folder, "empty.zip", b"").await;
    assert_eq!(
        names(folder, ".zip").await,
        ["a.zip", "below/b.zip", "empty.zip"]
    );

    let replaced = put(folder, "a.zip", b"another").await;
    assert_eq!(folder.find("a.zip").await.unwrap(), Some(replaced));
    assert_eq!(folder.find("absent.zip").await.unwrap(), None);

    folder.rename("a.zip", "below/b.zip").await.unwrap();
    assert_eq!(names(folder, ".zip").await, ["below/b.zip", "empty.zip"]);
    let error = folder.rename("absent.zip", "d.zip").await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::FixAccess, "{error:?}");

    let gone = ["empty.zip", "absent.zip"].map(str::to_owned);
    folder.remove(&gone).await.unwrap();
    folder.remove(&[]).await.unwrap();
    assert_eq!(names(folder, "").await, ["below/b.zip", "c.zip.imported"]);

    // Whatever stands in a name.
    let odd = ["a~1 [copy].zip", "p%25.zip", "x#?*.zip", "ü \"{|}^.zip"].map(str::to_owned);
    for name in &odd {
        put(folder, name, b"odd").await;
        assert!(folder.find(name).await.unwrap().is_some(), "{name}");
    }
    let mut listed = names(folder, ".zip").await;
    listed.retain(|name| name != "below/b.zip");
    assert_eq!(listed, odd);
    folder.rename(&odd[0], &odd[1]).await.unwrap();
    folder.remove(&odd).await.unwrap();
    assert_eq!(names(folder, "").await, ["below/b.zip", "c.zip.imported"]);

    // Of two that write under one name, the later one is there, and whole.
    let (mut one, mut other) = (folder.upload("same.zip"), folder.upload("same.zip"));
    one.write(vec![1; PART_BYTES].into()).await.unwrap();
    other.write(vec![2; PART_BYTES].into()).await.unwrap();
    one.write(vec![1; 7].into()).await.unwrap();
    let one = one.finish().await.unwrap();
    let other = other.finish().await.unwrap();
    assert_ne!(one, other);
    assert_eq!(folder.find("same.zip").await.unwrap(), Some(other));
    folder.remove(&["same.zip".to_owned()]).await.unwrap();

    let mut abandoned = folder.upload("abandoned.zip");
    for _ in 0..3 {
        abandoned.write(vec![7; PART_BYTES].into()).await.unwrap();
    }
    abandoned.abandon().await;
    assert_eq!(folder.end_unfinished("").await.unwrap(), 0);
    assert_eq!(names(folder, "").await, ["below/b.zip", "c.zip.imported"]);
}

#[tokio::test]
async fn memory_keeps_the_contract_of_a_folder() {
    contract(&Folder::in_memory("patronload")).await;
}

#[tokio::test]
async fn a_local_folder_keeps_the_contract_and_is_its_owners_alone() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file:{}/not/yet", place.path().display());
    let folder = Folder::open(&url, &aws("http://127.0.0.1:9").await, policy()).unwrap();
    contract(&folder).await;
    let file = place.path().join("not/yet/below/b.zip");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(file).unwrap(), b"another");
}

/// What lies behind a link is not cleared with the folder.
#[tokio::test]
async fn a_link_leads_out_of_a_local_folder() {
    let place = tempfile::tempdir().unwrap();
    let (inside, outside) = (place.path().join("inside"), place.path().join("outside"));
    for path in [&inside, &outside] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(outside.join("theirs.zip"), b"theirs").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    std::os::unix::fs::symlink(place.path().join("nowhere"), inside.join("broken.zip")).unwrap();
    let url = format!("file:{}", inside.display());
    let folder = Folder::open(&url, &aws("http://127.0.0.1:9").await, policy()).unwrap();
    assert_eq!(names(&folder, ".zip").await, ["broken.zip"]);
    // The folder itself may be one.
    let url = format!("file:{}/link", inside.display());
    let folder = Folder::open(&url, &aws("http://127.0.0.1:9").await, policy()).unwrap();
    assert_eq!(names(&folder, ".zip").await, ["theirs.zip"]);
}

#[tokio::test]
async fn s3_keeps_the_contract_of_a_folder() {
    let (_, folder) = in_s3("a/patronload/").await;
    contract(&folder).await;
}

#[tokio::test]
async fn a_large_file_arrives_whole_in_parts() {
    let (bucket, folder) = in_s3("patronload").await;
    let bytes: Vec<u8> = (0..3 * PART_BYTES + 7).map(|i| (i % 251) as u8).collect();
    let stored = put(&folder, "large.zip", &bytes).await;
    // S3 names the number of parts in the tag.
    assert!(
        stored
            .tag
            .as_ref()
            .is_some_and(|tag| tag.trim_matches('"').ends_with("-4")),
        "{stored:?}"
    );
    let endpoint = environment("WATERSHED_TEST_AWS");
    let url = format!("{endpoint}/{bucket}/patronload/large.zip");
    let there = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    assert!(there == bytes, "{} bytes are there", there.len());
}

#[tokio::test]
async fn all_pages_of_a_long_list_are_read_and_a_sibling_is_none_of_it() {
    let (bucket, folder) = in_s3("patronload").await;
    let sibling = folder_of(&bucket, "patronload2").await;
    put(&sibling, "other.zip", b"other").await;
    for i in 0..2_500 {
        put(&folder, &format!("old_{i}.zip"), b"old").await;
    }
    let all = names(&folder, ".zip").await;
    assert_eq!(all.len(), 2_500);
    folder.remove(&all).await.unwrap();
    assert_eq!(names(&folder, "").await, [""; 0]);
    assert_eq!(names(&sibling, "").await, ["other.zip"]);
}

#[tokio::test]
async fn unfinished_uploads_are_ended_below_the_prefix_alone() {
    let (bucket, folder) = in_s3("patronload").await;
    for key in [
        "patronload/a.zip.part",
        "patronload/b.zip.part",
        "patronload/b.tar",
        "patronload2/c.zip.part",
    ] {
        http(
            reqwest::Method::POST,
            &format!("{bucket}/{key}?uploads"),
            "",
        )
        .await;
    }
    assert_eq!(folder.end_unfinished(".zip.part").await.unwrap(), 2);
    let left = http(reqwest::Method::GET, &format!("{bucket}?uploads"), "").await;
    assert_eq!(left.matches("<UploadId>").count(), 2, "{left}");
    assert!(
        left.contains("patronload/b.tar") && left.contains("patronload2/c.zip.part"),
        "{left}"
    );
}

#[tokio::test]
async fn a_whole_bucket_is_no_folder() {
    let aws = aws("http://127.0.0.1:9").await;
    for url in [
        "s3://bucket",
        "s3://bucket/",
        "s3:///prefix",
        "file:",
        "patrons",
    ] {
        let error = Folder::open(url, &aws, policy()).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixSettings, "{url}");
    }
}
