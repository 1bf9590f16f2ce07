//! A data warehouse, a place for zips and a mailbox of one test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use rusqlite::Connection;
use serde::Deserialize;
use tempfile::TempDir;
use tokio_postgres::NoTls;
use watershed::connectors::aws::{Aws, AwsSettings};
use watershed::connectors::objects::Object;
use watershed::privacy::Secret;
use watershed::retry::Policy;

use crate::program::{Ended, Program, files};
use crate::world::{http, server};

pub const TABLES: &str = "CREATE TABLE LIBRARY_EMPLOYEE (MIT_ID varchar(200), EMAIL_ADDRESS varchar(200), KRB_NAME_UPPERCASE varchar(200), \
    LIBRARY_ID varchar(200), PREFERRED_FIRST_NAME varchar(200), PREFERRED_MIDDLE_NAME varchar(200), PREFERRED_LAST_NAME varchar(200), \
    LEGAL_FIRST_NAME varchar(200), LEGAL_MIDDLE_NAME varchar(200), LEGAL_LAST_NAME varchar(200), OFFICE_ADDRESS varchar(4000), \
    OFFICE_PHONE varchar(200), APPOINTMENT_END_DATE date, LIBRARY_PERSON_TYPE_CODE varchar(200), LIBRARY_PERSON_TYPE varchar(200), \
    ORG_UNIT_ID varchar(200), ORG_UNIT_TITLE varchar(200), POSITION_TITLE varchar(200), DIRECTORY_TITLE varchar(200));
CREATE TABLE LIBRARY_STUDENT (MIT_ID varchar(200), EMAIL_ADDRESS varchar(200), KRB_NAME_UPPERCASE varchar(200), LIBRARY_ID varchar(200), \
    PREFERRED_FIRST_NAME varchar(200), PREFERRED_MIDDLE_NAME varchar(200), PREFERRED_LAST_NAME varchar(200), LEGAL_FIRST_NAME varchar(200), \
    LEGAL_MIDDLE_NAME varchar(200), LEGAL_LAST_NAME varchar(200), TERM_STREET1 varchar(200), TERM_STREET2 varchar(200), \
    TERM_CITY varchar(200), TERM_STATE varchar(200), TERM_ZIP varchar(200), TERM_PHONE1 varchar(200), TERM_PHONE2 varchar(200), \
    OFFICE_PHONE varchar(200), STUDENT_YEAR varchar(200), HOME_DEPARTMENT varchar(200));";

pub const STAFF: &str = "LIBRARY_EMPLOYEE";
pub const STUDENTS: &str = "LIBRARY_STUDENT";

pub struct World {
    pub program: Program,
    warehouse: Warehouse,
    /// A bucket, or a folder outside of the one that is searched for personal values.
    output: Output,
    _folder: TempDir,
}

enum Warehouse {
    Sqlite,
    Postgres(String),
    Mariadb(String),
}

enum Output {
    Folder(TempDir),
    Bucket(String),
}

/// A file of a zip, as Python reads it.
#[derive(Debug, Deserialize)]
pub struct XmlFile {
    pub name: String,
    pub deflated: bool,
    pub canonical: String,
    pub bytes: String,
    pub users: Vec<User>,
}

/// Elements by their paths below `user`: texts and attributes.
pub type User = BTreeMap<String, Vec<(String, BTreeMap<String, String>)>>;

fn own_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("alma{}x{number}", std::process::id())
}

impl World {
    /// SQLite and folders.
    pub fn embedded() -> World {
        let output = TempDir::new().unwrap();
        let url = format!("file:{}/patronload", output.path().display());
        let mut world = World::over(Warehouse::Sqlite, Output::Folder(output));
        std::fs::create_dir(world.path("sources")).unwrap();
        world.set("DATA_WAREHOUSE_URL", "sqlite:sources/warehouse.db");
        world.set("OUTPUT_URL", &url);
        world.sqlite().execute_batch(TABLES).unwrap();
        world
    }

    /// PostgreSQL and S3.
    pub async fn postgres() -> World {
        let name = own_name();
        let server = server("WATERSHED_TEST_POSTGRES");
        let url = format!("{server}/{name}");
        in_postgres(
            &format!("{server}/postgres"),
            &format!("CREATE DATABASE {name}"),
        )
        .await;
        let mut world = World::over(Warehouse::Postgres(url.clone()), bucket(&name).await);
        world.set("DATA_WAREHOUSE_URL", &format!("{url}?sslmode=disable"));
        world.with_aws(&name);
        world.in_warehouse(TABLES).await;
        world
    }

    /// MariaDB and S3.
    pub async fn mariadb() -> World {
        let name = own_name();
        let server = server("WATERSHED_TEST_MYSQL");
        let url = format!("{server}/{name}");
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        in_mariadb(&server, &create).await;
        let mut world = World::over(Warehouse::Mariadb(url.clone()), bucket(&name).await);
        world.set("DATA_WAREHOUSE_URL", &url);
        world.with_aws(&name);
        world.in_warehouse(TABLES).await;
        world
    }

    /// SQLite and S3.
    pub async fn embedded_to_s3() -> World {
        let mut world = World::embedded();
        let name = own_name();
        world.output = bucket(&name).await;
        world.program.settings.remove("OUTPUT_URL");
        world.with_aws(&name);
        world
    }

    fn over(warehouse: Warehouse, output: Output) -> World {
        let folder = TempDir::new().unwrap();
        let mut settings = BTreeMap::new();
        for (name, text) in [
            ("WORKSPACE", "prod"),
            ("SES_SEND_FROM_EMAIL", "noreply@mit.example"),
            ("SES_RECIPIENT_EMAIL", "lib-alma-notifications@mit.example"),
            ("MAIL_URL", "file:mail"),
            ("DEAD_LETTERS_URL", "file:dead-letters"),
            ("AS_OF", "2024-02-29T00:00:00+00:00"),
            ("RETRY_SECONDS", "20"),
        ] {
            settings.insert(name.to_owned(), text.to_owned());
        }
        World {
            program: Program {
                folder: folder.path().to_owned(),
                settings,
                hidden: Vec::new(),
            },
            warehouse,
            output,
            _folder: folder,
        }
    }

    fn with_aws(&mut self, bucket: &str) {
        for (name, text) in [
            ("S3_BUCKET_NAME", bucket),
            ("S3_PREFIX", "patronload"),
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing-secret-key"),
            ("AWS_ENDPOINT_URL", &server("WATERSHED_TEST_AWS")),
        ] {
            self.set(name, text);
        }
        self.program.hidden.push("testing-secret-key".into());
    }

    pub fn set(&mut self, name: &str, text: &str) {
        self.program.settings.insert(name.into(), text.into());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.folder.join(name)
    }

    pub fn sqlite(&self) -> Connection {
        Connection::open(self.path("sources/warehouse.db")).unwrap()
    }

    pub async fn in_warehouse(&self, sql: &str) {
        match &self.warehouse {
            Warehouse::Sqlite => self.sqlite().execute_batch(sql).expect(sql),
            Warehouse::Postgres(url) => in_postgres(url, sql).await,
            Warehouse::Mariadb(url) => in_mariadb(url, sql).await,
        }
    }

    /// Adds a patron with these columns, and NULL in all others. They must not come to light.
    pub async fn add(&mut self, table: &str, values: &[(&str, &str)]) {
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let texts = values.iter().map(|(name, text)| {
            let telling = text.len() > 6 && !text.trim().is_empty();
            let personal = !matches!(*name, "ORG_UNIT_ID" | "HOME_DEPARTMENT" | "STUDENT_YEAR");
            if telling && personal {
                self.program.hidden.push((*text).to_owned());
            }
            format!("'{}'", text.replace('\'', "''"))
        });
        let texts: Vec<String> = texts.collect();
        let sql = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            names.join(", "),
            texts.join(", ")
        );
        self.in_warehouse(&sql).await;
    }

    /// Adds as many patrons as that, whose accounts begin like this.
    pub async fn add_many(&mut self, table: &str, start: &str, number: u32) {
        for i in 0..number {
            self.add(table, &[("KRB_NAME_UPPERCASE", &format!("{start}{i:05}"))])
                .await;
        }
    }

    pub async fn run(&self) -> Ended {
        self.program.run(&["run", "patronload"]).await
    }

    fn object(&self, aws: &Aws, bucket: &str, key: &str) -> Object {
        let policy = Policy::within(Duration::from_secs(10));
        Object::open(&format!("s3://{bucket}/{key}"), aws, policy).unwrap()
    }

    /// Keys below the bucket, or files below the output's folder, in order.
    pub async fn stored(&self) -> Vec<String> {
        let mut keys: Vec<String> = match &self.output {
            Output::Folder(folder) => {
                let name = |path: PathBuf| {
                    path.strip_prefix(folder.path())
                        .unwrap()
                        .display()
                        .to_string()
                };
                files(folder.path()).into_iter().map(name).collect()
            }
            Output::Bucket(bucket) => {
                let endpoint = server("WATERSHED_TEST_AWS");
                let list = http(&endpoint, "GET", &format!("/{bucket}?list-type=2"), &[], "").await;
                let keys = list.split("<Key>").skip(1);
                keys.map(|rest| rest.split("</Key>").next().unwrap().to_owned())
                    .collect()
            }
        };
        keys.sort();
        keys
    }

    /// The zips of a kind among them; never two, if nobody asked for several.
    pub async fn zips(&self, kind: &str) -> Vec<String> {
        let start = format!("patronload/{kind}_");
        let mut zips = self.stored().await;
        zips.retain(|key| key.starts_with(&start) && key.ends_with(".zip"));
        zips
    }

    pub async fn put(&self, key: &str, bytes: &[u8]) {
        match &self.output {
            Output::Folder(folder) => {
                let path = folder.path().join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            Output::Bucket(bucket) => {
                let object = self.object(&aws().await, bucket, key);
                object.write(bytes.to_vec().into()).await.unwrap();
            }
        }
    }

    pub async fn get(&self, key: &str) -> Vec<u8> {
        match &self.output {
            Output::Folder(folder) => std::fs::read(folder.path().join(key)).unwrap(),
            Output::Bucket(bucket) => {
                let object = self.object(&aws().await, bucket, key);
                object.read().await.unwrap().expect(key).0.to_vec()
            }
        }
    }

    /// The files of these zips, zip after zip.
    pub async fn read(&self, keys: &[String]) -> Vec<Vec<XmlFile>> {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(server("WATERSHED_TEST_PYTHON"));
        command.arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/patronload/read_zips.py"
        ));
        for (i, key) in keys.iter().enumerate() {
            let path = folder.path().join(i.to_string());
            std::fs::write(&path, self.get(key).await).unwrap();
            command.arg(path);
        }
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
    }

    /// The only zip of a kind, and its only file.
    pub async fn only_file(&self, kind: &str) -> XmlFile {
        let zips = self.zips(kind).await;
        assert_eq!(zips.len(), 1, "{zips:?}");
        let mut files = self.read(&zips).await.remove(0);
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    /// Patrons of a kind by their primary ids.
    pub async fn users(&self, kind: &str) -> BTreeMap<String, User> {
        let users = self.only_file(kind).await.users;
        let number = users.len();
        let named = users
            .into_iter()
            .map(|user| (user["primary_id"][0].0.clone(), user));
        let named: BTreeMap<String, User> = named.collect();
        assert_eq!(named.len(), number, "primary ids are unique");
        named
    }

    /// Mails so far, in the order in which they were sent.
    pub fn mails(&self) -> Vec<String> {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        files(&self.path("mail")).into_iter().map(read).collect()
    }
}

async fn in_postgres(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.expect(sql);
    drop(client);
    connection.await.unwrap().unwrap();
}

async fn in_mariadb(url: &str, sql: &str) {
    let mut connection = Conn::new(Opts::from_url(url).unwrap()).await.unwrap();
    connection.query_drop(sql).await.expect(sql);
    connection.disconnect().await.unwrap();
}

async fn bucket(name: &str) -> Output {
    http(
        &server("WATERSHED_TEST_AWS"),
        "PUT",
        &format!("/{name}"),
        &[],
        "",
    )
    .await;
    Output::Bucket(name.to_owned())
}

pub async fn aws() -> Aws {
    Aws::new(AwsSettings {
        region: "us-east-1".into(),
        keys: Some((Secret::new("testing"), Secret::new("testing-secret-key"))),
        endpoints: BTreeMap::from([(String::new(), server("WATERSHED_TEST_AWS"))]),
        ..AwsSettings::default()
    })
    .await
}

/// Writes a test once and runs it on SQLite, PostgreSQL and MariaDB.
macro_rules! in_every_warehouse {
    ($(async fn $name:ident($world:ident) $body:block)*) => {
        mod embedded {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::embedded()).await })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::postgres().await).await })*
        }
        mod mariadb {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(World::mariadb().await).await })*
        }
        $(async fn $name(mut $world: World) {
            let _ = &mut $world;
            $body
        })*
    };
}
pub(crate) use in_every_warehouse;

impl World {
    /// Lines of all dead letters.
    pub fn dead_letters(&self) -> Vec<serde_json::Value> {
        let texts = files(&self.path("dead-letters")).into_iter();
        let texts: String = texts
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        texts
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
